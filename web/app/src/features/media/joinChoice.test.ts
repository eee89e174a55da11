import { expect, it } from 'vitest';
import { FIRST_CHOICE, readChoice } from './joinChoice';

const DEVICES = [
  { kind: 'audioinput', deviceId: 'headset' },
  { kind: 'videoinput', deviceId: 'webcam' },
] as const;

it('remembers what was on, and of devices those that are here', () => {
  const choice = { microphone: 'headset', camera: 'gone', speaks: true, shows: false };
  expect(readChoice(JSON.stringify(choice), DEVICES)).toEqual({ ...choice, camera: null });
  // Before the browser may name any.
  expect(readChoice(JSON.stringify(choice), []).microphone).toBe(null);
});

it('begins muted where nothing is remembered that it understands', () => {
  for (const text of [null, '', 'null', '7', '{"speaks":"yes","camera":{}}', 'nonsense'])
    expect(readChoice(text, DEVICES), String(text)).toEqual(FIRST_CHOICE);
});
