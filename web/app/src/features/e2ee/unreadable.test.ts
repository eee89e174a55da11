import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Unreadable } from './unreadable';

const SHOWN = new Map([
  ['ada/camera', 'high'],
  ['bob/camera', 'low'],
]);
let unreadable: Unreadable;
let wanted: Map<string, string | null>[];
beforeEach(() => {
  vi.useFakeTimers();
  wanted = [];
  unreadable = new Unreadable(() => wanted.push(unreadable.without(SHOWN)));
});
afterEach(() => {
  vi.useRealTimers();
});

const all = (ada: string | null) => new Map(SHOWN as Map<string, string | null>).set('ada/camera', ada);

describe('a picture that cannot be read', () => {
  it('is not asked for, and now and then tried again', async () => {
    unreadable.mark('ada/camera', false);
    expect(wanted).toEqual([all(null)]);
    await vi.advanceTimersByTimeAsync(9_900);
    expect(wanted).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(wanted.at(-1)).toEqual(all('high'));
    expect([...unreadable.get()]).toEqual(['ada/camera']);
    unreadable.mark('ada/camera', false);
    expect(wanted.at(-1)).toEqual(all(null));
  });

  it('is asked for at once when its sender can be heard again, or the key is another', () => {
    unreadable.mark('ada/camera', false);
    unreadable.mark('ada/microphone', false);
    unreadable.mark('bob/microphone', true);
    expect(wanted.at(-1)).toEqual(all(null));
    unreadable.mark('ada/microphone', true);
    expect(wanted.at(-1)).toEqual(all('high'));
    expect([...unreadable.get()]).toEqual(['ada/camera']);
    unreadable.mark('ada/camera', false);
    unreadable.clear();
    expect(wanted.at(-1)).toEqual(all('high'));
    expect(unreadable.get().size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
