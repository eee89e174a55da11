import { describe, expect, it } from 'vitest';
import type { Rule, Secret } from '../../api/types';
import {
  draftOf,
  givenOf,
  givenWords,
  historyWords,
  problemOf,
  ruleChanges,
  valueWords,
} from './secretModel';

const rule = (id: string, secrets: string[]): Rule => ({
  id,
  name: id,
  globs: ['**'],
  skill: 'test.run',
  enabled: true,
  secrets,
});

const secret: Secret = {
  name: 'TOKEN',
  given: { kind: 'header', host: 'api.example.com', header: 'X-Key', template: 'key {}' },
  skills: ['test.run'],
  set_by: 'p1',
  set_by_name: 'Ada',
  set_at: 1_000_000,
  used_at: null,
};

describe('a draft', () => {
  it('gives a new secret to every rule and leaves a replaced one where it was', () => {
    const rules = [rule('a', []), rule('b', ['TOKEN'])];
    expect([...draftOf(null, rules).rules]).toEqual(['a', 'b']);
    const draft = draftOf(secret, rules);
    expect([...draft.rules]).toEqual(['b']);
    expect(draft.value).toBe('');
    expect(givenOf(draft)).toEqual(secret.given);
    expect(givenOf({ ...draft, kind: 'file' })).toEqual({ kind: 'file' });
  });

  it('says what is missing before the server is asked', () => {
    const good = { ...draftOf(null, []), name: 'TOKEN', value: 'long enough' };
    expect(problemOf(good, [])).toBeNull();
    expect(problemOf({ ...good, name: '2ND' }, [])).toMatch(/name has letters/);
    expect(problemOf(good, ['TOKEN'])).toMatch(/already/);
    expect(problemOf({ ...good, value: 's h o r t' }, [])).toMatch(/8 characters/);
    expect(problemOf({ ...good, kind: 'header' }, [])).toMatch(/Which host/);
    const header = { ...good, kind: 'header' as const, host: 'a.example' };
    expect(problemOf({ ...header, template: 'Bearer' }, [])).toMatch(/\{\} once/);
    expect(problemOf(header, [])).toBeNull();
    const git = { ...good, kind: 'git' as const, url: 'https://git.example/team' };
    expect(problemOf({ ...git, url: 'git.example' }, [])).toMatch(/Which repositories/);
    expect(problemOf({ ...git, user: ' ' }, [])).toMatch(/a name beside the token/);
    expect(problemOf(git, [])).toBeNull();
    expect(givenOf(git)).toEqual({ kind: 'git', url: 'https://git.example/team', user: 'git' });
  });
});

it('a secret in words', () => {
  expect(givenWords('TOKEN', secret.given)).toBe('header X-Key to api.example.com');
  expect(givenWords('TOKEN', { kind: 'git', url: 'https://git.example' })).toBe('git at https://git.example');
  expect(valueWords('git', true)).toBe('New token or password');
  expect(givenWords('TOKEN', { kind: 'file' })).toBe('file /run/secrets/TOKEN');
  expect(historyWords(secret, 1_000_000 + 240_000)).toBe('Set by Ada 4 min ago, not used yet');
  expect(historyWords({ ...secret, used_at: 1_200_000 }, 1_240_000)).toBe(
    'Set by Ada 4 min ago, last used just now',
  );
});

it('only rules that change are changed', () => {
  const rules = [rule('a', ['OTHER']), rule('b', ['TOKEN', 'OTHER']), rule('c', ['TOKEN'])];
  expect(ruleChanges(rules, 'TOKEN', new Set(['a', 'c']))).toEqual([
    { rule: 'a', secrets: ['OTHER', 'TOKEN'] },
    { rule: 'b', secrets: ['OTHER'] },
  ]);
});
