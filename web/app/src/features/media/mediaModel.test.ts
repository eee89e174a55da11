import { describe, expect, it } from 'vitest';
import {
  activeEncodings,
  broughtUp,
  deviceWords,
  heldWords,
  NOTHING_HELD,
  type Participant,
  readMessage,
  type Source,
  sharingWords,
  tiles,
  tileWords,
  viewerWords,
  wants,
} from './mediaModel';

function participant(id: string, ...sources: Source[]): Participant {
  return {
    id,
    person: { id, name: id, color: '#000000' },
    kind: 'person',
    tracks: sources.map((source) => ({ id: `${id}/${source}`, source, muted: false })),
    away: false,
    speaks: true,
    quality: null,
  };
}

describe('a call', () => {
  it('shows screens first and oneself last', () => {
    const call = [
      participant('ada', 'camera'),
      participant('bob', 'microphone'),
      participant('eve', 'screen'),
    ];
    expect(tiles(call, 'ada').map((tile) => tile.key)).toEqual([
      'eve/screen',
      'bob/camera',
      'eve/camera',
      'ada/camera',
    ]);
  });

  it('wants pictures as large as they are shown, and sound always', () => {
    const call = [participant('ada', 'camera'), participant('bob', 'microphone', 'camera', 'screen')];
    const large = { track: 'bob/screen', layer: 'middle', apart: false } as const;
    expect([...wants(call, 'ada', large, false)]).toEqual([
      ['bob/camera', 'low'],
      ['bob/screen', 'middle'],
    ]);
    expect([...wants(call, 'ada', large, true)].map(([, layer]) => layer)).toEqual([null, null]);
  });

  it('goes on with what a window of its own shows while the page is hidden', () => {
    const call = [participant('ada'), participant('bob', 'camera', 'screen')];
    expect([...wants(call, 'ada', { track: 'bob/screen', layer: 'high', apart: true }, true)]).toEqual([
      ['bob/camera', null],
      ['bob/screen', 'high'],
    ]);
  });

  it('wants no picture that is scrolled out of sight, unless it is the large one', () => {
    const call = [participant('ada'), participant('bob', 'camera', 'screen'), participant('eve', 'camera')];
    const large = { track: 'bob/screen', layer: 'high', apart: false } as const;
    expect([...wants(call, 'ada', large, false, new Set(['bob/screen', 'bob/camera']))]).toEqual([
      ['bob/camera', null],
      ['bob/screen', 'high'],
      ['eve/camera', 'low'],
    ]);
  });

  it('says what a tile shows and who shares', () => {
    const all = tiles(
      [participant('ada', 'screen'), participant('bob', 'screen'), participant('eve')],
      'ada',
    );
    expect(all.map(tileWords)).toEqual(['Your screen', "bob's screen", 'bob', 'eve', 'You']);
    expect(sharingWords([])).toBe('');
    expect(sharingWords(all.slice(1, 2))).toBe('bob shares a screen.');
    expect(sharingWords(all.slice(0, 2))).toBe('ada and bob share their screens.');
  });

  it('says who watches', () => {
    const people = (...names: string[]) => names.map((name) => ({ id: name, name, color: '#000000' }));
    expect(viewerWords([])).toBeNull();
    expect(viewerWords(people('Eve', 'Eve'))).toBe('Eve watches and listens without taking part.');
    expect(viewerWords(people('Eve', 'Zoe'))).toBe('Eve and Zoe watch and listen without taking part.');
    expect(viewerWords(people('a', 'b', 'c', 'd'))).toBe('4 others watch and listen without taking part.');
  });

  it('sends no more of a picture than anybody shows', () => {
    expect(activeEncodings(3, 'middle')).toEqual([true, true, false]);
    expect(activeEncodings(3, null)).toEqual([false, false, false]);
    expect(activeEncodings(1, 'low')).toEqual([true]);
  });

  it('says what a slow connection does to the pictures', () => {
    expect(heldWords(NOTHING_HELD)).toBeNull();
    const reduced = new Set(['a']);
    expect(heldWords({ ...NOTHING_HELD, reduced })).toContain('One picture is less sharp');
    expect(heldWords({ ...NOTHING_HELD, reduced, paused: new Set(['b', 'c']) })).toContain(
      '2 pictures are paused',
    );
    // Of which no line is to blame.
    expect(heldWords({ ...NOTHING_HELD, undecodable: new Set(['a']) })).toBeNull();
  });

  it('reads what it knows and ignores the rest', () => {
    expect(readMessage('{"type":"speakers","participants":["a"]}')).toEqual({
      type: 'speakers',
      participants: ['a'],
    });
    for (const bad of ['', 'nonsense', '{"type":"from the future"}']) expect(readMessage(bad)).toBe(null);
  });

  it('says what to do about a device', () => {
    const error = (name: string) => new DOMException('', name);
    expect(deviceWords(error('NotAllowedError'), 'camera')).toContain('Allow it next to the address');
    expect(deviceWords(error('NotFoundError'), 'microphone')).toBe('There is no microphone here.');
    expect(deviceWords(error('NotReadableError'), 'camera')).toContain('another program');
    expect(deviceWords('x', 'screen')).toBe('The screen could not be shared.');
  });
});

describe('who is brought up', () => {
  const unseen = (...ids: string[]) => new Set(ids.map((id) => `${id}/camera`));

  it('is who speaks out of sight, the last before the others, and nobody moves who is seen', () => {
    const first = broughtUp([], ['eve'], unseen('eve', 'dan'));
    expect(first).toEqual(['eve/camera']);
    expect(broughtUp(first, ['eve'], unseen('dan'))).toBe(first);
    const second = broughtUp(first, ['dan', 'eve'], unseen('dan'));
    expect(second).toEqual(['dan/camera', 'eve/camera']);
    expect(broughtUp(second, ['eve'], unseen('eve'))).toEqual(['eve/camera', 'dan/camera']);
    expect(broughtUp(second, [], unseen('bob'))).toBe(second);
  });

  it('is no loop for a list that is scrolled down', () => {
    const up = broughtUp([], ['eve'], unseen('eve'));
    expect(broughtUp(up, ['eve'], unseen('eve'))).toBe(up);
  });
});
