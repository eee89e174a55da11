/**
 * Who is in the room, from the awareness states of `tree:main`. The server stamps `user` into every state it passes on, so
 * a name here is the server's word. One person may have several windows. Pure.
 */
import type { Person } from '../../api/types';
import { safeColor } from '../../ui/color';

/** Whom the server stamped into a state. */
export interface Stamped extends Person {
  kind: 'person' | 'agent';
}

export interface PersonHere extends Stamped {
  self: boolean;
  /** One per window, in order of client id: the open file's node id, if any. */
  windows: { client: number; doc: string | null }[];
}

export type States = ReadonlyMap<number, Record<string, unknown>>;

/** `ownClient` is this window's client id; its state is stamped only for others, so `me` stands in. */
export function peopleHere(states: States, ownClient: number, me: Person & Partial<Stamped>): PersonHere[] {
  const people = new Map<string, PersonHere>();
  const own = { kind: 'person' as const, ...me, color: safeColor(me.color), self: true, windows: [] };
  people.set(me.id, own);
  for (const [client, state] of [...states].sort(([a], [b]) => a - b)) {
    const user = client === ownClient ? own : readUser(state.user);
    if (!user) continue;
    const person = people.get(user.id) ?? {
      ...user,
      color: safeColor(user.color),
      self: false,
      windows: [],
    };
    people.set(user.id, person);
    person.windows.push({ client, doc: typeof state.doc === 'string' ? state.doc : null });
  }
  return [...people.values()].sort((a, b) => Number(b.self) - Number(a.self) || a.name.localeCompare(b.name));
}

/** Others by the file they are in: node id -> people. */
export function othersByFile(people: readonly PersonHere[]): Map<string, PersonHere[]> {
  const files = new Map<string, PersonHere[]>();
  for (const person of people) {
    if (person.self) continue;
    for (const doc of new Set(person.windows.map((w) => w.doc)))
      if (doc !== null) files.set(doc, [...(files.get(doc) ?? []), person]);
  }
  return files;
}

/** The stamped person of a state, or `null` where there is none. */
export function readUser(value: unknown): Stamped | null {
  const user = value as Partial<Stamped> | null | undefined;
  return typeof user?.id === 'string' && typeof user.name === 'string'
    ? {
        id: user.id,
        name: user.name,
        color: safeColor(user.color),
        kind: user.kind === 'agent' ? 'agent' : 'person',
      }
    : null;
}
