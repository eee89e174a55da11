import { beforeEach, describe, expect, it } from 'vitest';
import { newKey, withKey } from './callKey';
import { CallKeys, takeCallKey } from './callKeys';

let kept: Map<string, string>;
const storage = {
  getItem: (name: string) => kept.get(name) ?? null,
  setItem: (name: string, value: string) => void kept.set(name, value),
};
const keys = (room: string) => new CallKeys(room, storage);
beforeEach(() => {
  kept = new Map();
});

describe('the keys that a browser has', () => {
  it('are remembered by room until they are forgotten', () => {
    const one = keys('a').make();
    const other = keys('b').make();
    expect([keys('a').key, keys('b').key, keys('c').key]).toEqual([one, other, null]);
    keys('a').forget();
    expect([keys('a').key, keys('b').key]).toEqual([null, other]);
  });

  it('live as long as the page where nothing can be kept', () => {
    const broken = {
      getItem: () => '{"a":{"key":"not one"},"b":7}',
      setItem: () => {
        throw new Error('full');
      },
    };
    const mine = new CallKeys('a', broken);
    expect(mine.key).toBe(null);
    expect(mine.key).not.toBe(mine.make());
    expect(mine.key).toHaveLength(43);
  });

  it('are not replaced by what a link brings, unless somebody says so', () => {
    const [mine, theirs] = [newKey(), newKey()];
    keys('a').offer(mine);
    expect(keys('a').known.get()).toEqual({ key: mine, offered: null });
    keys('a').offer(theirs);
    expect(keys('a').known.get()).toEqual({ key: mine, offered: theirs });
    keys('a').offer(mine);
    expect(keys('a').known.get().offered).toBe(null);
    keys('a').offer(theirs);
    keys('a').decline();
    expect(keys('a').known.get()).toEqual({ key: mine, offered: null });
  });

  it('are taken out of the address, and the token of a guest is left there', () => {
    const key = newKey();
    const shown: string[] = [];
    const history = { replaceState: (_: unknown, __: string, url: string) => shown.push(url) };
    const at = (hash: string) => ({ pathname: '/r/a', hash });
    takeCallKey('a', at(new URL(withKey('https://x.example/r/a#token=t.t', key)).hash), history, keys);
    expect([shown, keys('a').key]).toEqual([['/r/a#token=t.t'], key]);
    takeCallKey('a', at('#token=t'), history, keys);
    takeCallKey('a', at('#key=nonsense'), history, keys);
    takeCallKey(null, at(`#key=${key}`), history, keys);
    expect(shown).toHaveLength(1);
  });
});
