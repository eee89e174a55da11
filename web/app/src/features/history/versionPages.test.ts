import { describe, expect, it } from 'vitest';
import { ApiError } from '../../api/client';
import type { Version, Versions } from '../../api/types';
import { PAGE, type Past, VersionPages } from './versionPages';

/** A document with `count` sessions of one update each. */
function past(count: number) {
  const asked: (number | undefined)[] = [];
  const texts: number[] = [];
  const world = { count, fails: false };
  const versions = async (limit: number, before?: number): Promise<Versions> => {
    asked.push(before);
    await Promise.resolve();
    if (world.fails) throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
    const all = Array.from({ length: world.count }, (_, i): Version => {
      const seq = world.count - i;
      return { kind: 'session', seq, first: seq, from: seq, at: seq, name: null, authors: [] };
    });
    const page = all.filter((v) => v.seq < (before ?? Number.POSITIVE_INFINITY)).slice(0, limit);
    return { epoch: 0, seq: world.count, versions: page, authors: [] };
  };
  const text = async (seq: number) => {
    texts.push(seq);
    if (world.fails) throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
    return `text ${seq}`;
  };
  return { world, asked, texts, past: { versions, text } satisfies Past };
}

describe('VersionPages', () => {
  it('reads page by page to the end', async () => {
    const { past: source } = past(PAGE * 2 + 5);
    const pages = new VersionPages(source);
    await pages.refresh();
    expect(pages.get().listed).toMatchObject({ more: true, seq: PAGE * 2 + 5 });
    while (pages.get().listed?.more) await pages.older();
    const seqs = pages.get().listed?.versions.map((v) => v.seq) ?? [];
    expect(seqs).toEqual(Array.from({ length: PAGE * 2 + 5 }, (_, i) => PAGE * 2 + 5 - i));
  });

  it('asks once more, not many times, for what changed while it asked', async () => {
    const { past: source, asked, world } = past(3);
    const pages = new VersionPages(source);
    const first = pages.refresh();
    world.count = 4;
    for (let i = 0; i < 5; i++) void pages.refresh();
    await first;
    await new Promise((done) => setTimeout(done));
    expect(asked).toHaveLength(2);
    expect(pages.get().listed?.seq).toBe(4);
  });

  it('keeps what it knows when a question fails, and says why', async () => {
    const { past: source, world } = past(3);
    const pages = new VersionPages(source);
    await pages.refresh();
    world.fails = true;
    await pages.refresh();
    expect(pages.get()).toMatchObject({ busy: false, problem: 'The server cannot be reached.' });
    expect(pages.get().listed?.versions).toHaveLength(3);
    await expect(pages.text(2)).rejects.toThrow();
    world.fails = false;
    await pages.refresh();
    expect(pages.get().problem).toBeNull();
    expect(await pages.text(2)).toBe('text 2');
  });

  it('asks for a text once', async () => {
    const { past: source, texts } = past(3);
    const pages = new VersionPages(source);
    await pages.refresh();
    expect(await Promise.all([pages.text(1), pages.text(1)])).toEqual(['text 1', 'text 1']);
    expect(texts).toEqual([1]);
  });
});
