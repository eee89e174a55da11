import { describe, expect, it } from 'vitest';
import {
  difference,
  dominantLineEnd,
  editsOfDelta,
  editsOfModel,
  LineEndMap,
  normalised,
  type OffsetEdit,
} from './lineEnds';

/** A generator with a seed, so that a failing case can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function apply(text: string, edits: readonly OffsetEdit[]): string {
  return [...edits].reverse().reduce((t, e) => t.slice(0, e.from) + e.text + t.slice(e.to), text);
}

describe('LineEndMap', () => {
  it('counts a CRLF as one character of the model', () => {
    const map = new LineEndMap('a\r\nb\r\nc');
    expect([0, 1, 3, 4, 6, 7].map((i) => map.toModel(i))).toEqual([0, 1, 2, 3, 4, 5]);
    expect([0, 1, 2, 3, 4, 5].map((i) => map.toText(i))).toEqual([0, 1, 3, 4, 6, 7]);
  });
});

describe('editsOfDelta', () => {
  it('merges a replacement into one edit and keeps distant ones apart', () => {
    const edits = editsOfDelta([
      { retain: 2 },
      { delete: 3 },
      { insert: 'x' },
      { retain: 4 },
      { insert: 'y' },
    ]);
    expect(edits).toEqual([
      { from: 2, to: 5, text: 'x' },
      { from: 9, to: 9, text: 'y' },
    ]);
  });
});

describe('editsOfModel', () => {
  it('gives the normalised text for random edits of texts with every kind of line end', () => {
    const parts = ['a', '\r', '\n', '\r\n', 'é', '😀', 'bb'];
    for (let seed = 1; seed <= 3000; seed++) {
      const next = random(seed);
      const piece = (most: number) =>
        Array.from({ length: next(most) }, () => parts[next(parts.length)]).join('');
      const before = piece(12);
      const edits: OffsetEdit[] = [];
      for (let at = next(3); at <= before.length; at += 1 + next(4)) {
        const to = Math.min(before.length, at + next(3));
        edits.push({ from: at, to, text: piece(3) });
        at = to;
      }
      const got = apply(normalised(before), editsOfModel(edits, before));
      expect(got, `seed ${seed}`).toBe(normalised(apply(before, edits)));
    }
  });
});

describe('dominantLineEnd', () => {
  it.each([
    ['', '\n'],
    ['a\nb', '\n'],
    ['a\r\nb\r\n', '\r\n'],
    ['a\r\nb\nc\n', '\n'],
  ])('of %j is %j', (text, expected) => {
    expect(dominantLineEnd(text)).toBe(expected);
  });
});

describe('difference', () => {
  it('finds the smallest single edit', () => {
    expect(difference('hello world', 'hello brave world')).toEqual({ from: 6, to: 6, text: 'brave ' });
    expect(difference('aaa', 'aa')).toEqual({ from: 2, to: 3, text: '' });
    expect(difference('same', 'same')).toBeNull();
  });
});
