import { beforeEach, describe, expect, it } from 'vitest';
import { clearBytes, Frames, type Kind } from './frames';
import type { Bytes } from './sframe';

const secret = (seed: number): Bytes => new Uint8Array(32).fill(seed);
const KEYFRAME: Bytes = new Uint8Array([0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 50, 51, 52]);
const DELTA: Bytes = new Uint8Array([0x11, 2, 3, 4, 5]);
const SOUND: Bytes = new Uint8Array([0xfc, 7, 8, 9]);

let now = 0;
let told: [string, boolean][] = [];
const side = (seed: number | null) => {
  const frames = new Frames(
    (track, isReadable) => told.push([track, isReadable]),
    () => now,
  );
  if (seed !== null) frames.setSecret(secret(seed));
  frames.setLines(new Map([['0', 'ada/camera']]));
  return frames;
};
beforeEach(() => {
  now = 0;
  told = [];
});

/** Sends and receives so many frames, 100 ms each, and returns how many arrived. */
async function carry(from: Frames, to: Frames, times: number, kind: Kind = 'audio', frame = SOUND) {
  let arrived = 0;
  for (let nth = 0; nth < times; nth += 1) {
    now += 100;
    const sealed = await from.seal(kind, frame);
    if (sealed && (await to.open('0', kind, sealed))) arrived += 1;
  }
  return arrived;
}

describe('frames of a call', () => {
  it('keep what the network reads, and nothing else', async () => {
    const ada = side(1);
    for (const [kind, frame, clear] of [
      ['video', KEYFRAME, 10],
      ['video', DELTA, 1],
      ['audio', SOUND, 0],
    ] as const) {
      expect(clearBytes(kind, frame)).toBe(clear);
      const sealed = await ada.seal(kind, frame);
      expect(sealed?.slice(0, clear)).toEqual(frame.slice(0, clear));
      expect(sealed && clearBytes(kind, sealed)).toBe(clear);
      expect(String(sealed)).not.toContain(String(frame.slice(clear)));
    }
  });

  it('are not sent without a key, and not passed on as they came', async () => {
    expect(await side(null).seal('audio', SOUND)).toBe(null);
    const bob = side(1);
    expect(await bob.open('0', 'audio', SOUND)).toBe(null);
    expect(await bob.open('0', 'video', KEYFRAME)).toBe(null);
  });

  it('of another key are dropped, which is said after a while and until the right key is there', async () => {
    const [ada, bob] = [side(1), side(2)];
    expect(await carry(ada, bob, 9)).toBe(0);
    expect(told).toEqual([]);
    expect(await carry(ada, bob, 10)).toBe(0);
    expect(told).toEqual([['ada/camera', false]]);
    bob.setSecret(secret(1));
    expect(await carry(ada, bob, 5)).toBe(5);
    expect(told).toEqual([
      ['ada/camera', false],
      ['ada/camera', true],
    ]);
    // Whoever takes another key is another sender, and both are read.
    ada.setSecret(secret(1));
    expect(await carry(ada, bob, 5)).toBe(5);
  });

  it('that one fails among others says nothing', async () => {
    const [ada, bob] = [side(1), side(1)];
    for (let nth = 0; nth < 40; nth += 1) {
      await carry(ada, bob, 1);
      await bob.open('0', 'audio', SOUND);
    }
    expect(told).toEqual([]);
  });

  it('of a picture ask for a keyframe where some are missing before', async () => {
    const [ada, bob] = [side(1), side(2)];
    await carry(ada, bob, 12, 'video', DELTA);
    bob.setSecret(secret(1));
    const open = async (frame: Bytes) => bob.open('0', 'video', (await ada.seal('video', frame)) ?? frame);
    expect(await open(DELTA)).toEqual({ frame: DELTA, wantsKeyframe: true });
    expect(await open(DELTA)).toEqual({ frame: DELTA, wantsKeyframe: false });
    await bob.open('0', 'video', DELTA);
    expect(await open(KEYFRAME)).toEqual({ frame: KEYFRAME, wantsKeyframe: false });
  });

  it('are said again not to be readable as long as they are not, by track, also on another line', async () => {
    const [ada, bob] = [side(1), side(2)];
    await carry(ada, bob, 25);
    expect(told).toEqual([
      ['ada/camera', false],
      ['ada/camera', false],
    ]);
    // The line carries somebody else, who can be read.
    bob.setLines(new Map([['0', 'eve/camera']]));
    await carry(side(2), bob, 5);
    expect(told).toHaveLength(2);
    bob.setLines(new Map([['0', 'ada/camera']]));
    await carry(side(2), bob, 5);
    expect(told.slice(2)).toEqual([['ada/camera', true]]);
  });
});
