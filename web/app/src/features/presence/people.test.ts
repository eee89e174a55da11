import { describe, expect, it } from 'vitest';
import { initials, safeColor } from '../../ui/color';
import { othersByFile, peopleHere } from './people';

const ada = { id: 'p1', name: 'Ada', color: '#d6409f' };
const bo = { id: 'p2', name: 'Bo', color: '#0b84d8' };

describe('peopleHere', () => {
  it('puts this person first, even before the first state arrives', () => {
    expect(peopleHere(new Map(), 1, ada).map((p) => p.name)).toEqual(['Ada']);
  });

  it('shows a person once and keeps every window', () => {
    const states = new Map([
      [1, { doc: 'f1' }],
      [9, { user: bo, doc: 'f2' }],
      [5, { user: bo, doc: null }],
    ]);
    const people = peopleHere(states, 1, ada);
    expect(people.map((p) => [p.name, p.self])).toEqual([
      ['Ada', true],
      ['Bo', false],
    ]);
    expect(people[1]?.windows).toEqual([
      { client: 5, doc: null },
      { client: 9, doc: 'f2' },
    ]);
  });

  it('counts another window of mine as me', () => {
    const people = peopleHere(new Map([[2, { user: ada, doc: 'f1' }]]), 1, ada);
    expect(people).toHaveLength(1);
    expect(othersByFile(people).size).toBe(0);
  });

  it('ignores states the server has not stamped', () => {
    expect(peopleHere(new Map([[3, { doc: 'f1' }]]), 1, ada)).toHaveLength(1);
  });

  it('tells agents from people, by the word of the server', () => {
    const states = new Map([[3, { user: { ...bo, kind: 'agent' } }]]);
    expect(peopleHere(states, 1, ada).map((p) => p.kind)).toEqual(['person', 'agent']);
    expect(peopleHere(new Map([[3, { user: { ...bo, kind: 'admin' } }]]), 1, ada)[1]?.kind).toBe('person');
  });

  it('groups others by file', () => {
    const people = peopleHere(new Map([[3, { user: bo, doc: 'f1' }]]), 1, ada);
    expect(othersByFile(people).get('f1')?.[0]?.name).toBe('Bo');
  });
});

describe('what comes from outside', () => {
  it.each([
    ['#0b84d8', '#0b84d8'],
    ['hsl(210 80% 50%)', 'hsl(210 80% 50%)'],
    ['hsl(210, 80%, 50%)', 'hsl(210, 80%, 50%)'],
    ['red; } body { display: none', '#7a8194'],
    ['url(//x)', '#7a8194'],
    [7, '#7a8194'],
  ])('colour %j becomes %s', (color, safe) => {
    expect(safeColor(color)).toBe(safe);
  });

  it.each([
    ['Ada Lovelace', 'AL'],
    ['bo', 'B'],
    ['😀 smile', '😀S'],
    ['', '?'],
  ])('initials of %j are %s', (name, letters) => {
    expect(initials(name)).toBe(letters);
  });
});
