import { describe, expect, it } from 'vitest';
import { applied, differences } from './textDiff';

describe('differences', () => {
  it.each([
    ['', 'a'],
    ['a', ''],
    ['one\ntwo\nthree\n', 'one\nthree\n'],
    ['one\nthree\n', 'one\ntwo\nthree'],
    ['x = 1\r\ny = 2\r\n', 'x = 2\r\ny = 2\r\nz\r\n'],
    ['a', 'a\n'],
    ['\n\n', '\n'],
  ])('from %j to %j', (before, after) => {
    expect(applied(before, differences(before, after))).toBe(after);
  });

  it('leaves alone what is the same', () => {
    const before = 'def total():\n    return 1\n\n\ndef tax():\n    return 2\n';
    const after = 'def total():\n    return 10\n\n\ndef tax():\n    return 3\n';
    const edits = differences(before, after);
    expect(edits).toHaveLength(2);
    expect(edits.every((edit) => edit.to - edit.from <= 1 && edit.text.length <= 2)).toBe(true);
  });

  it('never cuts a character in two', () => {
    for (const [before, after] of [
      ['a😀b', 'a😁b'],
      ['😀😀', '😁😀'],
      ['😀', '\ud83d'],
      ['x😀\n', 'x😀😀\n'],
    ] as const) {
      const edits = differences(before, after);
      expect(applied(before, edits)).toBe(after);
      for (const { from, to } of edits)
        for (const at of [from, to])
          expect(before.codePointAt(at - 1) ?? 0, `${before} at ${at}`).toBeLessThan(0x10000);
    }
  });

  it('leads from any text to any other', () => {
    let seed = 7;
    const below = (bound: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % bound;
    };
    const words = ['a', 'b', 'if x:', '\n', '\n', '    ', '😀', '😁', '\r\n', 'return total'];
    const text = (length: number) => Array.from({ length }, () => words[below(words.length)]).join('');
    for (let round = 0; round < 300; round++) {
      const before = text(below(40));
      const cut = below(before.length + 1);
      const after = below(2)
        ? text(below(40))
        : before.slice(0, cut) + text(3) + before.slice(cut + below(6));
      const edits = differences(before, after);
      expect(applied(before, edits), JSON.stringify([before, after])).toBe(after);
      for (let i = 1; i < edits.length; i++)
        expect(edits[i]?.from).toBeGreaterThan(edits[i - 1]?.to ?? Number.POSITIVE_INFINITY);
    }
  });
});
