import { describe, expect, it } from 'vitest';
import { nameProblem } from './names';

describe('nameProblem', () => {
  it.each(['main.py', '.env', 'a b', 'наука.txt', '😀', 'x'.repeat(255)])('accepts %j', (name) => {
    expect(nameProblem(name, ['other'])).toBeNull();
  });

  it.each([
    ['', 'Type a name'],
    [' a', 'space'],
    ['..', 'not a name'],
    ['a/b', 'slash'],
    ['a\\b', 'slash'],
    ['a\u0007', 'control'],
    ['a\u202egnp.exe', 'direction'],
    ['é'.repeat(200), 'too long'],
    ['Main.py', 'already "main.py"'],
  ])('refuses %j', (name, words) => {
    expect(nameProblem(name, ['main.py'])).toContain(words);
  });
});
