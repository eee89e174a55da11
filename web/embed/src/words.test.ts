import { expect, test } from 'vitest';
import { describe, type Situation } from './words';

const here: Situation = {
  state: 'saved',
  reason: '',
  unsaved: 0,
  isHere: true,
  mayEdit: true,
  isKept: true,
  missing: null,
  isRefused: false,
};

test.each<[Partial<Situation>, string, string]>([
  [{}, 'saved', 'Saved'],
  [{ state: 'synced', unsaved: 2 }, 'saving', 'Saving…'],
  [{ mayEdit: false }, 'reading', 'Read only'],
  [{ state: 'connecting', isHere: false }, 'loading', 'Loading…'],
  [{ state: 'connecting' }, 'loading', 'Connecting…'],
  [{ state: 'offline' }, 'offline', 'No connection'],
  [{ state: 'offline', unsaved: 1 }, 'offline', 'No connection: 1 edit kept on this device'],
  [
    { state: 'offline', unsaved: 2, isKept: false },
    'offline',
    'No connection: 2 edits kept in this page until it is closed',
  ],
  [{ state: 'denied' }, 'denied', 'No access'],
  [{ missing: 'a.py' }, 'missing', 'Not there'],
  [{ isRefused: true, state: 'synced' }, 'refused', 'Not saved'],
])('%j is %s', (change, mood, text) => {
  expect(describe({ ...here, ...change })).toMatchObject({ mood, text });
});

test('what the server says of a refusal is a sentence', () => {
  const { message } = describe({ ...here, state: 'denied', reason: 'the lesson is over' });
  expect(message).toBe('You have no access to this document. The lesson is over.');
});
