import { describe, expect, it } from 'vitest';
import type { BlameRange } from '../../api/types';
import { blamedText, fitted, groups } from './blame';

let offset = 0;
const range = (text: string, by: string | null, seq: number): BlameRange => {
  const made = { offset, text, by, at: by === null ? null : seq * 60_000, seq, client_of: null };
  offset += text.length;
  return made;
};
const authors = (lines: readonly ({ by: string } | null)[]) => lines.map((line) => line?.by ?? '-').join(' ');

describe('blame by line', () => {
  it('is the last who wrote in the line, and names all', () => {
    const { lines } = blamedText([
      range('one ', 'ada', 1),
      range('two', 'bo', 5),
      range('\nthree', 'ada', 1),
    ]);
    expect(authors(lines)).toBe('bo ada');
    expect(lines[0]?.everybody).toEqual(['bo', 'ada']);
  });

  it('does not call a line by who only split it, except where it is empty', () => {
    const { lines } = blamedText([range('one', 'ada', 1), range('\n\n', 'bo', 5), range('two', 'ada', 1)]);
    expect(authors(lines)).toBe('ada bo ada');
  });

  it('has one entry per line, whatever the line ends and however little the log knows', () => {
    const { text, lines } = blamedText([range('a\r\nb', 'ada', 1), range('\r\nc\r\n', null, 0)]);
    expect(text).toBe('a\nb\nc\n');
    expect(authors(lines)).toBe('ada ada - -');
    expect(blamedText([]).lines).toEqual([null]);
  });
});

describe('blame of a text that goes on', () => {
  const blamed = blamedText([range('one\n', 'ada', 1), range('two\n', 'bo', 2), range('three\n', 'cy', 3)]);
  it.each([
    ['the same', 'one\ntwo\nthree\n', 'ada bo cy -'],
    ['a line typed in the middle', 'one\nnew\ntwo\nthree\n', 'ada - bo cy -'],
    ['two lines at the top', 'x\ny\none\ntwo\nthree\n', '- - ada bo cy -'],
    ['a line gone', 'one\nthree\n', 'ada cy -'],
    ['a word in a line', 'one\ntwo and more\nthree\n', 'ada - cy -'],
    ['a line split off at its end', 'one\ntwo\n\nthree\n', 'ada bo - cy -'],
    ['everything gone', '', '-'],
    ['something else', 'x', '-'],
  ])('%s', (_name, text, expected) => {
    const lines = fitted(blamed, text);
    expect(authors(lines)).toBe(expected);
    expect(lines).toHaveLength(text.split('\n').length);
  });
});

describe('groups', () => {
  it('join neighbours of one author that read the same', () => {
    const { lines } = blamedText([
      range('a\nb\n', 'ada', 1),
      range('c\n', 'ada', 9),
      range('d\n', 'bo', 9),
      range('e\n', 'bo', 9),
    ]);
    const found = groups(lines, (blame) => String(blame.at));
    expect(found.map((g) => [g.from, g.to, g.blame.by])).toEqual([
      [1, 2, 'ada'],
      [3, 3, 'ada'],
      [4, 5, 'bo'],
    ]);
  });
});
