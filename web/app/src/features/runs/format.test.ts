import { describe, expect, it } from 'vitest';
import type { Run } from '../../api/types';
import { ago, bytes, duration, elapsed, reason } from './format';
import { isOver, readLog, readRuns, readSandbox, shownRuns } from './runModel';

const run = (change: Partial<Run> = {}): Run => ({
  id: 'r1',
  rule: 'tests',
  rule_name: 'Tests',
  skill: 'test.run',
  trigger: 'text',
  state: 'passed',
  command: 'python3 -m unittest',
  requested_by: 'p1',
  requested_by_name: 'Ada',
  queued_at: 1000,
  started_at: 2000,
  finished_at: 5400,
  exit_code: 0,
  message: null,
  content_hash: null,
  image: null,
  rev: 3,
  ...change,
});

describe('reason', () => {
  it.each<[Partial<Run>, string | undefined, string]>([
    [{}, 'p1', 'After your edit'],
    [{}, 'p2', "After Ada's edit"],
    [{ requested_by_name: 'Ines' }, undefined, "After Ines' edit"],
    [{ requested_by: 'system', requested_by_name: 'BuildSpaces' }, 'p1', 'After an edit'],
    [{ trigger: 'intent' }, 'p1', 'You asked for it'],
    [{ trigger: 'intent' }, 'p2', 'Ada asked for it'],
    [{ trigger: 'sandbox', requested_by: 'system' }, 'p1', 'For the new sandbox'],
  ])('%j for %s', (change, me, words) => {
    expect(reason(run(change), me)).toBe(words);
  });
});

describe('durations', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1000, '1.0 s'],
    [3449, '3.4 s'],
    [59_999, '59.9 s'],
    [61_000, '1 min 1 s'],
    [3_720_000, '1 h 2 min'],
  ])('%d ms is %s', (ms, words) => {
    expect(duration(ms)).toBe(words);
  });

  it('shows whole seconds while running', () => {
    expect(duration(420, true)).toBe('0 s');
    expect(duration(5900, true)).toBe('5 s');
  });

  it('counts from the start, and never below zero when clocks differ', () => {
    expect(elapsed(run(), 9999)).toBe(3400);
    expect(elapsed(run({ finished_at: null }), 4000)).toBe(2000);
    expect(elapsed(run({ finished_at: null }), 1000)).toBe(0);
    expect(elapsed(run({ started_at: null }), 9999)).toBeNull();
  });

  it('says how long ago', () => {
    expect(ago(100_000, 130_000)).toBe('just now');
    expect(ago(0, 240_000)).toBe('4 min ago');
  });
});

describe('sizes', () => {
  it.each([
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1536, '1.5 KB'],
    [104_857_600, '100 MB'],
  ])('%d is %s', (size, words) => {
    expect(bytes(size)).toBe(words);
  });
});

describe('the runs document', () => {
  it('is read newest first, without what is not a run', () => {
    const runs = readRuns({
      a: run({ id: 'a' }),
      b: run({ id: 'b', queued_at: 2000 }),
      c: { id: 'c' },
      d: 1,
    });
    expect(runs.map((r) => r.id)).toEqual(['b', 'a']);
  });

  it('fills in what a queued run does not have yet', () => {
    const { started_at, exit_code, ...queued } = run({ state: 'queued' });
    expect([started_at, exit_code]).toEqual([2000, 0]);
    expect(readRuns({ queued })[0]).toMatchObject({ started_at: null, exit_code: null });
  });

  it('hides superseded runs unless asked', () => {
    const runs = [run(), run({ id: 'r2', state: 'superseded' })];
    expect(shownRuns(runs, false)).toHaveLength(1);
    expect(shownRuns(runs, true)).toHaveLength(2);
  });

  it('knows of no sandbox where nothing is told', () => {
    expect(readSandbox(undefined).state).toBe('unknown');
    expect(readSandbox({ state: 'ready' }).state).toBe('ready');
  });

  it('reads logs and knows which states are final', () => {
    expect(readLog('a\nb')).toBe('a\nb');
    expect(readLog(['a', 'b'])).toBe('a\nb');
    expect(readLog(undefined)).toBeNull();
    expect(isOver('running')).toBe(false);
    expect(isOver('interrupted')).toBe(true);
  });
});
