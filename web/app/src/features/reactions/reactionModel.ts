/** What people can show in a call without saying it, and what of that stands in presence. Pure. */
import type { Participant } from '../media/mediaModel';

/** A page that is newer may have others, which are not shown here. */
export const REACTIONS = [
  { id: 'thumbs-up', emoji: '👍', words: 'thumbs up' },
  { id: 'applause', emoji: '👏', words: 'applause' },
  { id: 'heart', emoji: '❤️', words: 'a heart' },
  { id: 'laughter', emoji: '😂', words: 'laughter' },
  { id: 'party', emoji: '🎉', words: 'a party' },
  { id: 'thinking', emoji: '🤔', words: 'a thoughtful face' },
] as const;

export type Reaction = (typeof REACTIONS)[number];
export type ReactionId = Reaction['id'];

/** As a window says it in its presence. */
export interface Said {
  /** At whose tile it is to stand. */
  participant: string;
  id: ReactionId;
  /** Another one for each reaction of this window: the same twice is news. */
  number: number;
}

export function readSaid(value: unknown): Said | null {
  const said = value as Partial<Said> | null | undefined;
  const isKnown = REACTIONS.some(({ id }) => id === said?.id);
  return isKnown && typeof said?.participant === 'string' && typeof said.number === 'number'
    ? (said as Said)
    : null;
}

/** Who shows something now: which person by the server's word, at which participant by their own. */
export interface Shown {
  person: string;
  participant: string;
  reaction: Reaction;
  /** When it began, in milliseconds of some clock. */
  at: number;
}

/** What stands at a participant: nobody reacts for somebody else. */
export function shownAt(
  shown: readonly Shown[],
  { id, person }: { id: string; person: { id: string } },
): Shown | null {
  return shown.find((one) => one.participant === id && one.person === person.id) ?? null;
}

/** All of it as a sentence, or nothing. */
export function reactionWords(
  shown: readonly Shown[],
  participants: readonly Participant[],
  me: string | null,
): string {
  const names = new Map<string, string[]>();
  for (const participant of participants) {
    const words = shownAt(shown, participant)?.reaction.words;
    const name = participant.id === me ? 'You' : participant.person.name;
    if (words) names.set(words, [...(names.get(words) ?? []), name]);
  }
  const list = new Intl.ListFormat('en');
  return [...names].map(([words, who]) => `${list.format(who)}: ${words}.`).join(' ');
}
