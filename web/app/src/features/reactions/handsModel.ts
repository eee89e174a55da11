/** Who wants to speak in a call, in the order in which they said so. Pure. */
import type { Participant } from '../media/mediaModel';
import { readUser, type States } from '../presence/people';

/** As a window says it in its presence. */
export interface Raised {
  /** At whose tile it is to stand. */
  participant: string;
  /** When, by that page's clock, in milliseconds since 1970. */
  since: number;
}

/** Whose it is by the server's word. */
export interface Hand extends Raised {
  person: string;
}

export function readRaised(value: unknown): Raised | null {
  const raised = value as Partial<Raised> | null | undefined;
  return typeof raised?.participant === 'string' && Number.isFinite(raised.since) ? (raised as Raised) : null;
}

/** All that are up. `ownClient` is this window's client id; its state is stamped only for others, so `me` stands in. */
export function handsUp(states: States, ownClient: number, me: string | null): Hand[] {
  const hands = [...states].flatMap(([client, state]): Hand[] => {
    const raised = readRaised(state.hand);
    const person = client === ownClient ? me : readUser(state.user)?.id;
    return raised && person ? [{ participant: raised.participant, since: raised.since, person }] : [];
  });
  return hands.sort((a, b) => a.since - b.since || a.participant.localeCompare(b.participant));
}

export function sameHands(one: readonly Hand[], other: readonly Hand[]): boolean {
  const isSame = (a: Hand, b: Hand | undefined) =>
    a.participant === b?.participant && a.since === b.since && a.person === b.person;
  return one.length === other.length && one.every((hand, at) => isSame(hand, other[at]));
}

/** Participants whose hand is up, in order. Nobody raises a hand for somebody else. */
export function queue(hands: readonly Hand[], participants: readonly Participant[]): Participant[] {
  const found = hands.flatMap(
    (hand) => participants.find((one) => one.id === hand.participant && one.person.id === hand.person) ?? [],
  );
  return [...new Set(found)];
}

/** A sentence about who wants to speak, or nothing. */
export function queueWords(waiting: readonly Participant[], me: string | null): string {
  const names = waiting.map(({ id, person }) => (id === me ? 'you' : person.name));
  const one = names[0];
  if (one === undefined) return '';
  const words =
    names.length === 1 ? `${one} ${one === 'you' ? 'want' : 'wants'}` : `${names.join(', then ')} want`;
  return `${words.charAt(0).toUpperCase()}${words.slice(1)} to speak.`;
}
