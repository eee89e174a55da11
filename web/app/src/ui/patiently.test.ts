import { expect, test } from 'vitest';
import { patiently } from './patiently';

/** An attempt that fails so many times, and the pauses that were made meanwhile. */
function failing(times: number) {
  const pauses: number[] = [];
  let attempts = 0;
  const attempt = async () => {
    attempts += 1;
    if (attempts <= times) throw new Error(`attempt ${attempts}`);
    return 'here';
  };
  const run = patiently(attempt, async (ms) => {
    pauses.push(ms);
  });
  return { run, pauses, attempts: () => attempts };
}

test('what works at once is not tried again', async () => {
  const { run, pauses } = failing(0);
  expect(await run).toBe('here');
  expect(pauses).toEqual([]);
});

test('what fails is tried again after longer and longer', async () => {
  const { run, pauses } = failing(4);
  expect(await run).toBe('here');
  expect(pauses).toEqual([250, 500, 1000, 2000]);
});

test('what goes on failing is given up', async () => {
  const { run, pauses, attempts } = failing(100);
  await expect(run).rejects.toThrow('attempt 7');
  expect(attempts()).toBe(7);
  expect(pauses.reduce((sum, ms) => sum + ms)).toBe(15_750);
});
