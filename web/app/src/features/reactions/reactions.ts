/**
 * Reactions go from page to page as presence of the room: nothing is stored, and the server says whose they are. Who comes later, or comes back,
 * is not shown old ones. It renders nothing.
 */

import { Store } from '../../ui/store';
import { readUser, type States } from '../presence/people';
import { REACTIONS, type ReactionId, readSaid, type Said, type Shown } from './reactionModel';

/** How long one is shown. */
export const SHOWN_MS = 4000;
/** Nobody's change faster than that, here or there: what flashes three times in a second can hurt. */
export const APART_MS = 500;
/** So many at once, whatever others send. */
const MOST = 64;

const FIELD = 'reaction';

export interface Changes {
  added: number[];
  updated: number[];
  removed: number[];
}

/** As y-protocols has it. */
export interface Awareness {
  readonly clientID: number;
  getStates(): States;
  setLocalStateField(field: string, value: unknown): void;
  on(event: 'change', listener: (changes: Changes) => void): void;
  off(event: 'change', listener: (changes: Changes) => void): void;
}

export class Reactions {
  readonly shown = new Store<readonly Shown[]>([]);
  /** Of each window, what was heard last. */
  private readonly heard = new Map<number, number | null>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private saying: ReturnType<typeof setTimeout> | null = null;
  private saidAt = Number.NEGATIVE_INFINITY;
  private number = 0;

  /** `me`: the id of this page's person. */
  constructor(
    private readonly awareness: Awareness,
    private readonly me: () => string | null,
  ) {
    for (const client of awareness.getStates().keys())
      this.heard.set(client, this.read(client)?.number ?? null);
    awareness.on('change', this.onChange);
  }

  destroy(): void {
    this.awareness.off('change', this.onChange);
    for (const timer of this.timers) clearTimeout(timer);
    if (this.saying) clearTimeout(this.saying);
  }

  /** At this page's own participant. Of several within a moment the last one counts. */
  react(participant: string, id: ReactionId): void {
    if (this.saying) clearTimeout(this.saying);
    const say = () => {
      this.saidAt = performance.now();
      this.number += 1;
      this.awareness.setLocalStateField(FIELD, { participant, id, number: this.number } satisfies Said);
      this.saying = setTimeout(() => this.awareness.setLocalStateField(FIELD, null), SHOWN_MS);
    };
    const wait = this.saidAt + APART_MS - performance.now();
    if (wait <= 0) say();
    else this.saying = setTimeout(say, wait);
  }

  private onChange = ({ added, updated, removed }: Changes): void => {
    for (const client of removed) this.heard.delete(client);
    for (const client of added) this.heard.set(client, this.read(client)?.number ?? null);
    for (const client of updated) {
      const said = this.read(client);
      if (!said || this.heard.get(client) === said.number) continue;
      this.heard.set(client, said.number);
      const { user } = this.awareness.getStates().get(client) ?? {};
      const person = client === this.awareness.clientID ? this.me() : readUser(user)?.id;
      if (person) this.show(person, said);
    }
  };

  private read(client: number): Said | null {
    return readSaid(this.awareness.getStates().get(client)?.[FIELD]);
  }

  private show(person: string, { participant, id }: Said): void {
    const reaction = REACTIONS.find((one) => one.id === id);
    const at = performance.now();
    const isSame = (one: Shown) => one.person === person && one.participant === participant;
    const before = this.shown.get().find(isSame);
    const others = this.shown.get().filter((one) => !isSame(one));
    if (!reaction || others.length >= MOST || (before && at - before.at < APART_MS)) return;
    const own = { person, participant, reaction, at };
    this.shown.set([...others, own]);
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      this.shown.set(this.shown.get().filter((one) => one !== own));
    }, SHOWN_MS);
    this.timers.add(timer);
  }
}
