import { expect, test } from 'vitest';
import type { CallRecordingNow, Participant } from './mediaModel';
import { missingWords, mustAsk, recordedWords } from './recordingWords';

const person = (id: string, name = id) => ({ id, name, color: '#000000' });
const participant = (id: string, name = id): Participant => ({
  id,
  person: person(`${id}-person`, name),
  kind: 'person',
  tracks: [],
  away: false,
  speaks: true,
  quality: null,
});
const recording: CallRecordingNow = { by: person('p1', 'Ada'), started_at: 0, agreed: ['a'] };

test('it says who records, and asks who did not agree', () => {
  expect(recordedWords(recording, 'p2')).toBe('Ada is recording this call.');
  expect(recordedWords(recording, 'p1')).toBe('You are recording this call.');
  expect([mustAsk(recording, 'a'), mustAsk(recording, 'b')]).toEqual([false, true]);
  expect([mustAsk(recording, null), mustAsk(null, 'b')]).toEqual([false, false]);
});

test('who is not in it is named', () => {
  const [a, b, c] = [participant('a', 'Ada'), participant('b', 'Bob'), participant('c', 'Cy')];
  expect(missingWords(recording, [a], 'a')).toBeNull();
  expect(missingWords(recording, [a, b], 'a')).toBe('Bob has not agreed and is not in it.');
  expect(missingWords(recording, [a, b], 'b')).toBeNull();
  expect(missingWords(recording, [a, b, c], 'a')).toBe('Bob and Cy have not agreed and are not in it.');
  const viewer = { ...participant('v', 'Vera'), speaks: false };
  expect(missingWords(recording, [a, viewer], 'a')).toBeNull();
  const many = ['d', 'e', 'f', 'g'].map((id) => participant(id));
  expect(missingWords(recording, many, 'a')).toBe('4 people have not agreed and are not in it.');
});
