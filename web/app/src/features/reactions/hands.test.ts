import { expect, test } from 'vitest';
import { Awareness } from 'y-protocols/awareness';
import * as Y from 'yjs';
import { Store } from '../../ui/store';
import type { Participant } from '../media/mediaModel';
import { Hands } from './hands';
import { handsUp, queue, queueWords } from './handsModel';

const participant = (id: string, person: string) =>
  ({ id, person: { id: person, name: person, color: '' }, tracks: [] }) as unknown as Participant;

const stamped = (person: string, hand: unknown) => ({ user: { id: person, name: person, color: '' }, hand });

test('who raised a hand first is first, by the word of the server on who it is', () => {
  const states = new Map<number, Record<string, unknown>>([
    [1, stamped('eve', { participant: 'p3', since: 30 })],
    [2, stamped('ada', { participant: 'p1', since: 10 })],
    // For somebody else, from nobody, and what is no hand.
    [3, stamped('eve', { participant: 'p2', since: 1 })],
    [4, { hand: { participant: 'p2', since: 1 } }],
    [5, stamped('eve', { participant: 'p3', since: 'now' })],
    [6, stamped('eve', { participant: 'p3', since: Number.NaN })],
    // This page's own.
    [9, { hand: { participant: 'p2', since: 20 } }],
  ]);
  const people = [participant('p1', 'ada'), participant('p2', 'bob'), participant('p3', 'eve')];
  const waiting = queue(handsUp(states, 9, 'bob'), people);
  expect(waiting.map(({ id }) => id)).toEqual(['p1', 'p2', 'p3']);
  expect(queueWords(waiting, 'p2')).toBe('Ada, then you, then eve want to speak.');
  expect(queueWords(waiting.slice(0, 1), 'p2')).toBe('Ada wants to speak.');
  expect(queueWords(waiting.slice(1, 2), 'p2')).toBe('You want to speak.');
  expect(queueWords([], 'p2')).toBe('');
  expect(queue(handsUp(states, 9, 'bob'), people.slice(0, 1))).toHaveLength(1);
});

test('a hand stays up until it is taken down or its page leaves, also when that joins anew', () => {
  const awareness = new Awareness(new Y.Doc());
  const part = new Store<{ phase: string; me: string | null }>({ phase: 'out', me: null });
  const hands = new Hands(awareness, () => 'ada', part);
  const up = () => hands.up.get().map(({ participant }) => participant);
  hands.raise();
  expect(up()).toEqual([]);
  part.set({ phase: 'in', me: 'p1' });
  hands.raise();
  expect(up()).toEqual(['p1']);
  const since = hands.up.get()[0]?.since;
  part.set({ phase: 'joining', me: null });
  part.set({ phase: 'in', me: 'p7' });
  expect(up()).toEqual(['p7']);
  expect(hands.up.get()[0]?.since).toBe(since);
  expect(hands.lower()).toBe(true);
  expect(up()).toEqual([]);
  expect(hands.lower()).toBe(false);
  hands.raise();
  part.set({ phase: 'out', me: null });
  expect(up()).toEqual([]);
});
