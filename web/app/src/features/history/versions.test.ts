import { describe, expect, it } from 'vitest';
import type { Author, Version, Versions } from '../../api/types';
import { authorsOf, day, nextBefore, people, rows, span, withPage } from './versions';

const session = (first: number, seq: number, ...authors: string[]): Version => ({
  kind: 'session',
  seq,
  first,
  from: first * 1000,
  at: seq * 1000,
  name: null,
  authors,
});
const named = (seq: number, name: string, by = 'ada'): Version => ({
  kind: 'named',
  seq,
  name,
  at: seq * 1000 + 500,
  authors: [by],
  first: null,
  from: null,
});
const ada: Author = { id: 'ada', name: 'Ada', color: '#2563eb', kind: 'person' };
const page = (seq: number, versions: Version[], epoch = 0): Versions => ({
  epoch,
  seq,
  versions,
  authors: [ada],
});

describe('rows', () => {
  it('know what each version is compared with', () => {
    expect(rows([session(6, 9, 'bo'), session(1, 5, 'ada')]).map((r) => [r.seq, r.before])).toEqual([
      [9, 5],
      [5, 0],
    ]);
  });

  it('join a name and the session that led to it', () => {
    const [row, ...rest] = rows([named(5, 'first draft', 'bo'), session(1, 5, 'ada')]);
    expect(rest).toEqual([]);
    expect(row).toMatchObject({ seq: 5, before: 0, name: 'first draft', namedBy: 'bo', authors: ['ada'] });
  });

  it('compare a name without a session with what is listed before it', () => {
    expect(rows([named(7, 'x'), session(1, 5, 'ada')])[0]?.before).toBe(5);
    expect(rows([named(7, 'x')])[0]?.before).toBe(0);
  });

  it('keep their key while a session goes on', () => {
    expect(rows([session(6, 9)])[0]?.key).toBe(rows([session(6, 30)])[0]?.key);
  });
});

describe('pages', () => {
  it('go on where the last one ended, without losing a session that has the number of a name', () => {
    const first = withPage(null, page(9, [session(8, 9), named(7, 'x')]), 2, false);
    expect(first.more).toBe(true);
    expect(nextBefore(first)).toBe(8);
    const both = withPage(first, page(9, [named(7, 'x'), session(5, 7)]), 2, true);
    expect(both.versions.map((v) => [v.kind, v.seq])).toEqual([
      ['session', 9],
      ['named', 7],
      ['session', 7],
    ]);
    const all = withPage(both, page(9, [session(1, 4)]), 2, true);
    expect([all.versions.length, all.more]).toEqual([4, false]);
  });

  it('take fresh versions on top and keep older ones that are there', () => {
    const known = withPage(
      withPage(null, page(6, [session(5, 6), session(4, 4)]), 2, false),
      page(6, [session(3, 3)]),
      2,
      true,
    );
    const grown = withPage(known, page(12, [session(11, 12), session(5, 10)]), 2, false);
    expect(grown.seq).toBe(12);
    expect(grown.versions.map((v) => v.seq)).toEqual([12, 10, 4, 3]);
    expect(grown.more).toBe(false);
  });

  it('forget everything of a document whose history was replaced', () => {
    const known = withPage(null, page(9, [session(1, 9)]), 50, false);
    expect(withPage(known, page(2, [session(1, 2)], 1), 50, false).versions).toHaveLength(1);
  });
});

describe('words', () => {
  it('name who is known and do not drop who is not', () => {
    expect(authorsOf(['ada', 'x'], new Map([['ada', ada]])).map((a) => a.name)).toEqual(['Ada', 'Somebody']);
    expect(people([])).toBe('');
    expect(people(['Ada', 'Bo'])).toBe('Ada and Bo');
    expect(people(['Ada', 'Bo', 'Cy'])).toBe('Ada, Bo and Cy');
    expect(people(['Ada', 'Bo', 'Cy', 'Di'])).toBe('Ada, Bo and 2 others');
  });

  it('tell days apart', () => {
    const now = new Date(2026, 10, 25, 12).getTime();
    expect(day(now - 3_600_000, now)).toBe('Today');
    expect(day(now - 86_400_000, now)).toBe('Yesterday');
    expect(day(now - 3 * 86_400_000, now)).toMatch(/22/);
    expect(day(now - 400 * 86_400_000, now)).toMatch(/2025/);
  });

  it('show one time for a short session', () => {
    const at = new Date(2026, 10, 25, 14, 2).getTime();
    expect(span({ from: at, at: at + 1000 })).not.toContain('–');
    expect(span({ from: at, at: at + 1_740_000 })).toContain('–');
  });
});
