import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from 'y-protocols/awareness';
import * as Y from 'yjs';
import type { Participant } from '../media/mediaModel';
import { reactionWords, shownAt } from './reactionModel';
import { APART_MS, Reactions, SHOWN_MS } from './reactions';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A page of this person. Others hear what it says as the server passes it on, with its word on who says it. */
function page(person: string) {
  const awareness = new Awareness(new Y.Doc());
  awareness.setLocalState({ user: { id: person, name: person, color: '#000000' } });
  const reactions = new Reactions(awareness, () => person);
  const shown = () => reactions.shown.get().map((one) => `${one.person}: ${one.reaction.id}`);
  const hears = (other: { awareness: Awareness }) =>
    applyAwarenessUpdate(
      awareness,
      encodeAwarenessUpdate(other.awareness, [other.awareness.clientID]),
      'server',
    );
  const says = (reaction: unknown) => awareness.setLocalStateField('reaction', reaction);
  return { awareness, reactions, shown, hears, says };
}

const participant = (id: string, person: string) =>
  ({ id, person: { id: person, name: person, color: '' }, tracks: [] }) as unknown as Participant;

test('a reaction is shown here and there for a while', () => {
  const [ada, bob] = [page('ada'), page('bob')];
  bob.hears(ada);
  ada.reactions.react('p1', 'applause');
  bob.hears(ada);
  for (const one of [ada, bob]) expect(one.shown()).toEqual(['ada: applause']);
  vi.advanceTimersByTime(SHOWN_MS - 1);
  expect(bob.shown()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  for (const one of [ada, bob]) expect(one.shown()).toEqual([]);
  expect(ada.awareness.getLocalState()?.reaction).toBeNull();
});

test('the same again is news, and what is said again is not', () => {
  const [ada, bob] = [page('ada'), page('bob')];
  bob.hears(ada);
  ada.reactions.react('p1', 'heart');
  bob.hears(ada);
  const [first] = bob.reactions.shown.get();
  vi.advanceTimersByTime(1000);
  ada.awareness.setLocalStateField('doc', 'elsewhere');
  bob.hears(ada);
  expect(bob.reactions.shown.get()).toEqual([first]);
  ada.reactions.react('p1', 'heart');
  bob.hears(ada);
  expect(bob.reactions.shown.get()).not.toEqual([first]);
  vi.advanceTimersByTime(SHOWN_MS - 1);
  expect(bob.shown()).toEqual(['ada: heart']);
});

test('who comes later sees no old ones', () => {
  const ada = page('ada');
  ada.reactions.react('p1', 'heart');
  const late = page('late');
  late.hears(ada);
  expect(late.shown()).toEqual([]);
  // Nor after she was away.
  applyAwarenessUpdate(
    late.awareness,
    encodeAwarenessUpdate(ada.awareness, [ada.awareness.clientID]),
    'server',
  );
  expect(late.shown()).toEqual([]);
});

test('nobody floods: of several in a moment the last one counts, and others take no more', () => {
  const [ada, bob, eve] = [page('ada'), page('bob'), page('eve')];
  for (const other of [ada, eve]) bob.hears(other);
  ada.reactions.react('p1', 'applause');
  ada.reactions.react('p1', 'heart');
  ada.reactions.react('p1', 'laughter');
  bob.hears(ada);
  expect(bob.shown()).toEqual(['ada: applause']);
  vi.advanceTimersByTime(APART_MS);
  bob.hears(ada);
  expect(bob.shown()).toEqual(['ada: laughter']);
  let changes = 0;
  bob.reactions.shown.subscribe(() => {
    changes += 1;
  });
  for (let number = 0; number < 100; number++) {
    eve.says({ participant: 'p2', id: 'heart', number });
    bob.hears(eve);
  }
  expect(changes).toBe(1);
  for (let number = 0; number < 100; number++) {
    eve.says({ participant: `of nobody ${number}`, id: 'heart', number: 100 + number });
    bob.hears(eve);
  }
  expect(bob.shown()).toHaveLength(64);
});

test('what is no reaction is not shown', () => {
  const [bob, eve] = [page('bob'), page('eve')];
  bob.hears(eve);
  for (const said of [
    'heart',
    { participant: 'p2', id: '<b>', number: 1 },
    { participant: 7, id: 'heart', number: 2 },
    { participant: 'p2', id: 'heart' },
    { participant: 'p2', id: 'toString', number: 3 },
  ]) {
    eve.says(said);
    bob.hears(eve);
  }
  expect(bob.shown()).toEqual([]);
});

test('nobody reacts for somebody else', () => {
  const [bob, eve] = [page('bob'), page('eve')];
  bob.hears(eve);
  eve.says({ participant: 'p1', id: 'heart', number: 1 });
  bob.hears(eve);
  expect(shownAt(bob.reactions.shown.get(), participant('p1', 'ada'))).toBeNull();
  expect(shownAt(bob.reactions.shown.get(), participant('p1', 'eve'))?.reaction.id).toBe('heart');
});

test('reactions are said in one sentence for each', () => {
  const people = [participant('p1', 'ada'), participant('p2', 'bob'), participant('p3', 'eve')];
  const [ada, bob, eve] = [page('ada'), page('bob'), page('eve')];
  for (const other of [ada, eve]) bob.hears(other);
  expect(reactionWords(bob.reactions.shown.get(), people, 'p2')).toBe('');
  ada.reactions.react('p1', 'applause');
  bob.reactions.react('p2', 'thumbs-up');
  eve.reactions.react('p3', 'applause');
  for (const other of [ada, eve]) bob.hears(other);
  expect(reactionWords(bob.reactions.shown.get(), people, 'p2')).toBe(
    'ada and eve: applause. You: thumbs up.',
  );
});
