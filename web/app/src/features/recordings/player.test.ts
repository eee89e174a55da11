import { describe, expect, it } from 'vitest';
import type { Replay } from './cast';
import { Player } from './player';

const REPLAY: Replay = {
  size: { cols: 80, rows: 24 },
  moments: [
    { at: 0, text: 'a' },
    { at: 100, text: 'b' },
    { at: 200, size: { cols: 40, rows: 10 } },
    { at: 300, text: 'c' },
  ],
  length: 300,
};

/** A player on a screen that notes what it is told. */
function played() {
  const told: string[] = [];
  const player = new Player(REPLAY, {
    reset: ({ cols, rows }) => told.push(`reset ${cols}x${rows}`),
    resize: ({ cols, rows }) => told.push(`${cols}x${rows}`),
    write: async (text) => {
      told.push(text);
    },
  });
  const settle = () => new Promise((done) => setTimeout(done));
  const take = async () => {
    await settle();
    return told.splice(0);
  };
  return { player, take };
}

describe('a player', () => {
  it('goes with the time, at its speed, and stops at the end', async () => {
    const { player, take } = played();
    player.toggle();
    player.tick(1000);
    expect(await take()).toEqual(['reset 80x24', 'a']);
    player.tick(1100);
    expect(await take()).toEqual(['b']);
    player.setSpeed(4);
    player.tick(1125);
    expect(await take()).toEqual(['40x10']);
    player.tick(2000);
    expect(await take()).toEqual(['c']);
    expect(player.state.get()).toEqual({ at: 300, playing: false, speed: 4 });
    player.toggle();
    player.tick(9000);
    expect(await take()).toEqual(['reset 80x24', 'a']);
    expect(player.state.get()).toEqual({ at: 0, playing: true, speed: 4 });
  });

  it('does not count the time in which it stands still', async () => {
    const { player } = played();
    player.toggle();
    player.tick(0);
    player.tick(50);
    player.toggle();
    player.tick(10_000);
    player.toggle();
    player.tick(20_000);
    player.tick(20_010);
    expect(player.state.get().at).toBe(60);
  });

  it('draws what is wanted in the end, and not what was in between', async () => {
    const { player, take } = played();
    player.seek(300);
    // While the first of it is being written:
    player.seek(0);
    player.seek(150);
    expect(await take()).toEqual(['reset 80x24', 'ab', '40x10', 'reset 80x24', 'ab']);
    player.seek(-5);
    expect(await take()).toEqual(['reset 80x24', 'a']);
    player.seek(1e9);
    expect(await take()).toEqual(['b', '40x10', 'c']);
    player.destroy();
    player.seek(0);
    expect(await take()).toEqual([]);
  });
});
