import { describe, expect, it } from 'vitest';
import { type Facts, mayJoin, standingOf } from './encryptionModel';

describe('how a call stands to a page', () => {
  const facts: Facts = { encrypted: true, canSeal: true, key: 'mine', offered: null };
  it('is never that it sends in the clear without anybody saying so', () => {
    for (const [change, standing, may] of [
      [{}, 'ready', true],
      [{ key: null }, 'keyless', false],
      [{ canSeal: false }, 'unsupported', false],
      [{ canSeal: false, key: null }, 'unsupported', false],
      [{ offered: 'another' }, 'offered', false],
      [{ encrypted: false }, 'contradiction', true],
      [{ encrypted: false, canSeal: false }, 'contradiction', true],
      [{ encrypted: false, key: null }, 'off', true],
    ] as const) {
      expect(standingOf({ ...facts, ...change }), JSON.stringify(change)).toBe(standing);
      expect(mayJoin(standing), standing).toBe(may);
    }
  });
});
