import { expect, test } from 'vitest';
import { colourOf, freeColour, initials, inkOn, peopleOf, readGuest } from './people';
import { findFile, nameOf } from './rooms';

test('whatever others say of themselves, they have a name and a colour', () => {
  for (const state of [
    null,
    1,
    'x',
    {},
    { user: null },
    { user: { name: 7, color: 'red' } },
    { user: { color: '#12345' } },
  ])
    expect(readGuest(3, state)).toEqual({ client: 3, name: 'Guest', colour: colourOf(3), id: null });
  expect(readGuest(3, { user: { id: 'u', name: ` ${'n'.repeat(99)}`, color: '#AABBCC' } })).toEqual({
    client: 3,
    name: 'n'.repeat(40),
    colour: '#AABBCC',
    id: 'u',
  });
});

test('somebody with two windows is there once, guests are there each', () => {
  const user = { id: 'ada', name: 'Ada' };
  const states = new Map<number, unknown>([
    [1, { user }],
    [2, { user }],
    [3, { user: { name: 'Guest' } }],
    [4, { user: { name: 'Guest' } }],
    [5, null],
  ]);
  expect(peopleOf(states).map(({ name }) => name)).toEqual(['Ada', 'Guest', 'Guest']);
});

test('colours differ while there are some, and names are readable on them', () => {
  expect(freeColour(colourOf(0), [])).toBe(colourOf(0));
  expect(freeColour(colourOf(0), [colourOf(0), colourOf(1)])).toBe(colourOf(2));
  expect(inkOn('#ffff00')).toBe('#000');
  for (let number = 0; number < 8; number++) expect(inkOn(colourOf(number))).toBe('#fff');
  expect(['ada lovelace', 'Bo', '', '😀 x y'].map(initials)).toEqual(['AL', 'B', '?', '😀Y']);
});

test('a file is found by its whole path', () => {
  const nodes = {
    f: { id: 'f', parent: null, name: 'notes', kind: 'folder' },
    a: { id: 'a', parent: 'f', name: 'new.md', kind: 'text' },
    b: { id: 'b', parent: null, name: 'new.md', kind: 'text' },
    loop: { id: 'loop', parent: 'loop', name: 'x', kind: 'text' },
  };
  expect(findFile(nodes, 'notes/new.md')).toBe('a');
  expect(findFile(nodes, '/new.md')).toBe('b');
  for (const path of ['', 'notes', 'other/new.md', 'new.md/new.md', 'x', 'x/x'])
    expect(findFile(nodes, path)).toBeNull();
  expect([nameOf('', 'plain doc'), nameOf('room', 'file:1'), nameOf('room', 'a/b.py')]).toEqual([
    'plain doc',
    'room/file:1',
    null,
  ]);
});
