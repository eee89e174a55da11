/** Reactions and raised hands as they are shown on tiles, and said. */
import { Hand } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import type { Participant } from '../media/mediaModel';
import { useRoom } from '../room/roomContext';
import { possessive } from '../runs/format';
import { queue, queueWords } from './handsModel';
import { reactionWords, shownAt } from './reactionModel';
import './reactions.css';

export function ReactionOnTile({ participant }: { participant: Participant }) {
  const shown = shownAt(useStore(useRoom().session.reactions.shown), participant);
  if (!shown) return null;
  const { emoji, id } = shown.reaction;
  return (
    // Another one begins anew. It is said by `ReactionsSaid`.
    <span
      key={shown.at}
      className="tile-reaction emoji"
      data-testid="tile-reaction"
      data-reaction={id}
      aria-hidden
    >
      {emoji}
    </span>
  );
}

/** To screen readers no more often than this. */
const CALM_MS = 1500;

export function ReactionsSaid() {
  const { call, media, reactions } = useRoom().session;
  const shown = useStore(reactions.shown);
  const participants = useStore(media.participants);
  const { me } = useStore(call.state);
  const words = useCalm(reactionWords(shown, participants, me));
  return (
    <p className="visually-hidden" role="status" data-testid="reactions-said">
      {words}
    </p>
  );
}

/** Whose turn it is, where somebody waits for theirs. */
export function SpeakerQueue() {
  const { call, hands, media } = useRoom().session;
  const waiting = queue(useStore(hands.up), useStore(media.participants));
  const words = useCalm(queueWords(waiting, useStore(call.state).me));
  return (
    <p className="call-line" role="status" data-testid="speaker-queue" hidden={words === ''}>
      <Hand size={13} aria-hidden />
      <span>{words}</span>
    </p>
  );
}

/** Whoever's hand it is takes it down by it; a moderator everybody's. */
export function HandOnTile({ participant, self }: { participant: Participant; self: boolean }) {
  const { call, hands, media } = useRoom().session;
  const moderator = useMay('moderate');
  const waiting = queue(useStore(hands.up), useStore(media.participants));
  const at = waiting.indexOf(participant);
  if (at < 0) return null;
  const words = waiting.length > 1 ? `hand raised, number ${at + 1}` : 'hand raised';
  const hand = (
    <>
      <Hand size={12} aria-hidden />
      {waiting.length > 1 && at + 1}
    </>
  );
  if (!self && !moderator)
    return (
      <span className="tile-hand" role="img" aria-label={words} title={words} data-testid="tile-hand">
        {hand}
      </span>
    );
  const action = `Lower ${self ? 'your' : possessive(participant.person.name)} hand`;
  return (
    <Tip text={action}>
      <button
        type="button"
        className="tile-hand"
        data-testid="tile-hand"
        aria-label={`${action} (${words})`}
        onClick={() => (self ? hands.lower() : call.lowerHand(participant.id))}
      >
        {hand}
      </button>
    </Tip>
  );
}

/** The latest of what changes too often to be told each time. */
function useCalm(value: string): string {
  const [calm, setCalm] = useState(value);
  const last = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    const timer = setTimeout(
      () => {
        last.current = performance.now();
        setCalm(value);
      },
      Math.max(0, last.current + CALM_MS - performance.now()),
    );
    return () => clearTimeout(timer);
  }, [value]);
  return calm;
}
