/**
 * A file's versions as rows for people. The server lists versions that were named and sessions of edits; where a session ended in a
 * version that somebody named, both are one row. Pure.
 */
import type { Author, Version, Versions } from '../../api/types';

export interface Row {
  /** The same row as before, although a session that goes on has another number by then. */
  key: string;
  /** The number of the version. */
  seq: number;
  /** The number of the version before, to see what this one changed. */
  before: number;
  name: string | null;
  namedBy: string | null;
  /** When it was named or the session ended. */
  at: number;
  /** When the session began. */
  from: number | null;
  /** Ids of who wrote in it. */
  authors: readonly string[];
}

export interface Listed {
  epoch: number;
  /** The number of the present version. */
  seq: number;
  /** Newest first. */
  versions: readonly Version[];
  authors: ReadonlyMap<string, Author>;
  /** There are older ones. */
  more: boolean;
}

/** Newest first. */
export function rows(versions: readonly Version[]): Row[] {
  const made: Row[] = [];
  for (const version of versions) {
    const last = made[made.length - 1];
    const same = last?.seq === version.seq ? last : null;
    const row: Row = same ?? {
      key: '',
      seq: version.seq,
      before: -1,
      name: null,
      namedBy: null,
      at: version.at,
      from: null,
      authors: [],
    };
    if (version.kind === 'named') {
      row.name = version.name;
      row.namedBy = version.authors[0] ?? null;
      row.key = `named:${version.seq}`;
    } else {
      row.from = version.from;
      row.authors = version.authors;
      row.before = (version.first ?? version.seq) - 1;
      row.key ||= `session:${version.first}`;
    }
    if (!same) made.push(row);
  }
  // A name in the middle of a session has no beginning of its own: it is compared with what is listed before it.
  made.forEach((row, index) => {
    if (row.before < 0) row.before = made[index + 1]?.seq ?? 0;
  });
  return made;
}

/** What is known after a page arrived: the newest one, or, after `before`, one that goes on where the last ended. */
export function withPage(known: Listed | null, page: Versions, limit: number, older: boolean): Listed {
  const authors = new Map(known?.epoch === page.epoch ? known.authors : []);
  for (const author of page.authors) authors.set(author.id, author);
  const full = page.versions.length >= limit;
  const made = (versions: readonly Version[], more: boolean): Listed => ({
    epoch: page.epoch,
    seq: older && known ? known.seq : page.seq,
    versions,
    authors,
    more,
  });
  if (!known || known.epoch !== page.epoch) return made(page.versions, full);
  if (older) {
    const seen = new Set(known.versions.map(identity));
    return made([...known.versions, ...page.versions.filter((v) => !seen.has(identity(v)))], full);
  }
  // What is older than the fresh page stays; a session that went on is in the page under a newer number.
  const fresh = new Set(page.versions.map(identity));
  const oldest = page.versions[page.versions.length - 1]?.seq ?? 0;
  const kept = full ? known.versions.filter((v) => v.seq < oldest && !fresh.has(identity(v))) : [];
  return made([...page.versions, ...kept], kept.length > 0 ? known.more : full);
}

/** Where to go on: above the last number, because a name and a session can have the same one. */
export function nextBefore(known: Listed): number | undefined {
  const last = known.versions[known.versions.length - 1];
  return last && last.seq + 1;
}

function identity(version: Version): string {
  return version.kind === 'named' ? `named:${version.seq}` : `session:${version.first}`;
}

/** Whoever is meant by the ids; one the server does not name is still somebody. */
export function authorsOf(ids: readonly string[], authors: ReadonlyMap<string, Author>): Author[] {
  return ids.map((id) => authors.get(id) ?? { id, name: 'Somebody', color: '', kind: 'person' });
}

/** `Today`, `Yesterday` or the date: the heading above a day's versions. */
export function day(time: number, now: number): string {
  const date = new Date(time);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return 'Today';
  today.setDate(today.getDate() - 1);
  if (date.toDateString() === today.toDateString()) return 'Yesterday';
  const year = date.getFullYear() === new Date(now).getFullYear() ? undefined : 'numeric';
  return date.toLocaleDateString([], { day: 'numeric', month: 'long', year });
}

/** `14:02 – 14:31`, or one time where both are the same minute. */
export function span(row: Pick<Row, 'from' | 'at'>): string {
  const time = (at: number) => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const [from, to] = [time(row.from ?? row.at), time(row.at)];
  return from === to ? to : `${from} – ${to}`;
}

/** `Ada`, `Ada and Bo`, `Ada, Bo and 3 others`. */
export function people(names: readonly string[]): string {
  if (names.length <= 1) return names[0] ?? '';
  if (names.length > 3) return `${names.slice(0, 2).join(', ')} and ${names.length - 2} others`;
  return `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`;
}
