/** One picture of a call over the editors, as large as there is room. Escape closes it; the editors stay as they are below. */
import { X } from 'lucide-react';
import { useEffect } from 'react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { type Tile, trackOf } from './mediaModel';
import { usePicture } from './tileView';
import { VideoView } from './videoView';

export function Stage(props: { tile: Tile; onClose: () => void }) {
  const { tile, onClose } = props;
  const picture = usePicture(tile);
  const { paused } = useStore(useRoom().session.call.held);
  const isPaused = paused.has(trackOf(tile.participant, tile.source)?.id ?? '');
  useEffect(() => {
    const close = (event: KeyboardEvent) => {
      // In editor and terminal the key is theirs.
      const inside =
        event.target instanceof Element && event.target.closest('.centre, .terminal-screen, [role="dialog"]');
      if (event.key === 'Escape' && !inside) onClose();
    };
    window.addEventListener('keydown', close);
    return () => window.removeEventListener('keydown', close);
  }, [onClose]);
  const name = tile.participant.person.name;
  const words = tile.source === 'screen' ? `${name}'s screen` : name;
  if (!picture && !isPaused) return null;
  return (
    <section className="call-stage" aria-label={words} data-testid="stage">
      <header className="call-stage-head">
        <span>{words}</span>
        <button type="button" className="button" data-size="small" data-testid="unstage" onClick={onClose}>
          <X size={13} aria-hidden /> Back to the editor
        </button>
      </header>
      {picture ? (
        <VideoView track={picture} whole />
      ) : (
        <p className="call-stage-paused">Paused, because your connection is slow.</p>
      )}
    </section>
  );
}
