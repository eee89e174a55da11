import { describe, expect, it } from 'vitest';
import { asks, holds, keyboardWords, readTerminals, readText, type Status } from './terminalModel';

const STATUS: Status = {
  you: 'v1',
  state: 'running',
  phase: null,
  message: null,
  rows: 24,
  cols: 80,
  keyboard: { viewer: 'v1', person: 'ada', name: 'Ada' },
  asking: [],
  viewers: [],
  recorded: false,
  may_type: true,
  may_take: false,
  cut: 0,
};

describe('the list of terminals', () => {
  it('takes what the server writes and nothing else', () => {
    const terminal = { id: 't', number: 1, state: 'running', keyboard: 'Ada' };
    expect(readTerminals([terminal, null, {}, { id: 't', state: 'odd' }, 7])).toEqual([terminal]);
    expect(readTerminals(undefined)).toEqual([]);
    expect(readTerminals({ id: 't' })).toEqual([]);
  });
});

describe('texts', () => {
  it('are read if they are known', () => {
    expect(readText('{"type":"reset","offset":7,"bytes":3}')).toEqual({ type: 'reset', offset: 7, bytes: 3 });
    expect(readText('{"type":"news"}')).toBeNull();
    expect(readText('{')).toBeNull();
  });
});

describe('the keyboard', () => {
  it('is said in words that fit the reader', () => {
    const words = (keyboard: Status['keyboard'], me = 'ada') => keyboardWords({ ...STATUS, keyboard }, me);
    expect(words({ viewer: 'v1', person: 'ada', name: 'Ada' })).toBe('You have the keyboard');
    expect(words({ viewer: 'v2', person: 'ada', name: 'Ada' })).toBe(
      'You have the keyboard in another window',
    );
    expect(words({ viewer: 'v2', person: 'bo', name: 'Bo' })).toBe('Bo has the keyboard');
    expect(words({ viewer: null, person: 'bo', name: 'Bo' })).toBe('The keyboard is kept for Bo');
    expect(words({ viewer: null, person: 'ada', name: 'Ada' })).toBe('The keyboard is kept for you');
    expect(words(null)).toBe('Nobody has the keyboard');
  });

  it('is held only in a terminal that runs', () => {
    expect(holds(STATUS)).toBe(true);
    expect(holds({ ...STATUS, state: 'ended' })).toBe(false);
    expect(holds({ ...STATUS, you: 'v2' })).toBe(false);
    expect(holds(null)).toBe(false);
    expect(asks({ ...STATUS, asking: [{ viewer: 'v1', person: 'ada', name: 'Ada' }] })).toBe(true);
    expect(asks(STATUS)).toBe(false);
  });
});
