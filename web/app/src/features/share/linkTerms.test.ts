import { describe, expect, it } from 'vitest';
import { addressWords, lifetime, linkWords, type Unit } from './linkTerms';

describe('the time a link holds', () => {
  it.each<[string, Unit, number]>([
    ['1', 'hours', 3600],
    ['8', 'hours', 28_800],
    ['366', 'days', 31_622_400],
  ])('%s %s', (count, unit, seconds) => {
    expect(lifetime(count, unit)).toEqual({ seconds });
  });

  it.each<[string, Unit, RegExp]>([
    ['', 'hours', /whole number of hours/],
    ['0', 'days', /1 or more/],
    ['1.5', 'days', /whole number/],
    ['x', 'days', /whole number/],
    ['367', 'days', /at most 366 days/],
  ])('refuses %j %s', (count, unit, words) => {
    expect(lifetime(count, unit)).toEqual({ problem: expect.stringMatching(words) });
  });
});

describe('words', () => {
  const asked = { role: 'viewer' as const, name: 'Grace', seconds: 3600 };
  it('say whom a link lets in, as what, and until when', () => {
    expect(linkWords({ expires: 3_600_000 }, asked, 0)).toMatch(
      /^It lets Grace in as viewer until .*1970.*\.$/,
    );
    expect(linkWords({ expires: null }, { ...asked, name: '' }, 0)).toBe('It lets one guest in as viewer.');
  });

  it("say that a link ends with its maker's own access", () => {
    expect(linkWords({ expires: 600_000 }, asked, 0)).toContain('when your own access ends');
    expect(linkWords({ expires: 3_599_000 }, asked, 0)).not.toContain('your own');
  });

  it('are honest about the plain address', () => {
    expect(addressWords({ open: true })).toMatch(/join under any name and edit/);
    expect(addressWords({ open: false })).toMatch(/lets nobody in/);
  });
});
