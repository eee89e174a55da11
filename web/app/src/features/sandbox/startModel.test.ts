import { describe, expect, it } from 'vitest';
import { doneWords, phaseWords, readStart, sinceWords } from './startModel';

const ABOUT = { files: 812, setup: ['onCreateCommand', 'postCreateCommand'] };

describe('a start', () => {
  it('is read as the server tells it', () => {
    const done = [{ phase: 'files', took: 42 }];
    expect(readStart('connecting', { since: 7, files: 3, done })).toEqual({
      phase: 'connecting',
      since: 7,
      done,
    });
    expect(readStart('connecting', undefined)).toEqual({ phase: 'connecting', since: null, done: [] });
    expect(readStart('files', { since: 'x', done: [null, {}, { phase: 'files' }, 7] })?.done).toEqual([]);
    expect(readStart('files', { done: [{ phase: 'praying', took: 3 }] })?.done).toEqual([]);
    for (const nothing of ['idle', 'ready', 'off', 'praying', undefined, 7])
      expect(readStart(nothing, { since: 7 })).toBeNull();
  });

  it('is said in words, with what is known', () => {
    const words = (phase: string, about = ABOUT) => phaseWords({ phase, since: null, done: [] }, about);
    expect(words('files')).toBe('Bringing 812 files up to date');
    expect(words('files', { files: 1, setup: [] })).toBe('Bringing 1 file up to date');
    expect(words('pulling_image')).toBe('Pulling the image');
    expect(words('creating_container')).toBe('Creating the container');
    expect(words('connecting')).toBe('Container started, connecting');
    expect(words('setting_up')).toBe('Running onCreateCommand, postCreateCommand');
    expect(words('setting_up', { files: 1, setup: [] })).toBe('Setting up the sandbox');
    expect(doneWords({ phase: 'creating_container', took: 480 })).toBe('Container 480 ms');
    expect(doneWords({ phase: 'setting_up', took: 61_000 })).toBe('Set-up 1 min 1 s');
  });

  it('counts whole seconds', () => {
    const start = { phase: 'files', since: 1000, done: [] };
    expect([500, 1999, 2000, 9400].map((now) => sinceWords(start, now))).toEqual([null, null, '1 s', '8 s']);
    expect(sinceWords({ ...start, since: null }, 9000)).toBeNull();
  });
});
