/** What stands on the tile of somebody whose sound or picture cannot be decrypted here. */
import { LockKeyhole } from 'lucide-react';
import { useStore } from '../../ui/store';
import type { Tile } from '../media/mediaModel';
import { trackOf } from '../media/mediaModel';
import { useRoom } from '../room/roomContext';
import './e2ee.css';

/** A person's tile stands for their voice, too. */
export function useUnreadable({ participant, source }: Tile): boolean {
  const unreadable = useStore(useRoom().session.call.unreadable);
  const own = trackOf(participant, source);
  const voice = source === 'camera' ? trackOf(participant, 'microphone') : null;
  return [own, voice].some((track) => track !== null && !track.muted && unreadable.has(track.id));
}

export function UnreadableNote() {
  return (
    <span className="tile-note" role="status" data-testid="unreadable">
      <LockKeyhole size={14} aria-hidden />
      Cannot be decrypted: another key
    </span>
  );
}
