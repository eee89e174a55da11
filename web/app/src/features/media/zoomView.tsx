/** The picture in its pane, which can be larger than that, and the buttons for how large it is. */

import { ZoomIn, ZoomOut } from 'lucide-react';
import type { KeyboardEvent, PointerEvent } from 'react';
import { drag } from '../../ui/drag';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { type Tile, trackOf } from './mediaModel';
import { usePicture } from './tileView';
import type { ZoomHandle } from './useZoom';
import { VideoView } from './videoView';
import { zoomWords } from './zoomModel';

const COMING = 'The picture is on its way…';

/** Takes the keyboard, so that what is larger than the pane can be scrolled with it; a mouse drags. */
export function Viewport(props: {
  tile: Tile;
  words: string;
  zoom: ZoomHandle;
  onElement: (element: HTMLElement | null) => void;
}) {
  const { tile, zoom } = props;
  const picture = usePicture(tile);
  const words = useWords(tile);
  const whole = zoom.zoom === null;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '+' || event.key === '=') zoom.in();
    else if (event.key === '-') zoom.out();
    else if (event.key === '0') zoom.set(null);
    else if (event.key === '1') zoom.set(1);
    else return;
    event.preventDefault();
  };
  const onPointerDown = (event: PointerEvent<HTMLElement>) => {
    // A finger scrolls by itself.
    if (whole || event.pointerType !== 'mouse') return;
    const pane = event.currentTarget;
    const { scrollLeft, scrollTop } = pane;
    drag(event, (x, y) => pane.scrollTo({ left: scrollLeft - x, top: scrollTop - y, behavior: 'instant' }));
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: no element is a picture that one scrolls.
    <div
      ref={props.onElement}
      className="dock-view"
      role="group"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by keys.
      tabIndex={0}
      aria-label={`${props.words}: plus and minus change its size, 0 fits it in, arrow keys move it`}
      data-testid="dock-view"
      data-zoom={zoom.zoom ?? 'fit'}
      onKeyDown={onKeyDown}
      onPointerDown={onPointerDown}
      onDoubleClick={() => zoom.set(whole ? 1 : null)}
    >
      {picture ? (
        <div className="dock-picture" style={zoom.style}>
          {/* Behind the picture, once that is there. */}
          <p className="dock-words" aria-hidden>
            {COMING}
          </p>
          <VideoView track={picture} whole />
        </div>
      ) : (
        <p className="dock-words">{words}</p>
      )}
    </div>
  );
}

/** Why there is no picture. */
function useWords(tile: Tile): string {
  const { call } = useRoom().session;
  const { paused, undecodable } = useStore(call.held);
  const unreadable = useStore(call.unreadable);
  const track = trackOf(tile.participant, tile.source)?.id ?? '';
  if (unreadable.has(track))
    return 'This picture cannot be decrypted here: whoever sends it has another key. Compare the keys behind the lock.';
  if (undecodable.has(track))
    return 'This device cannot show this picture: its browser has no decoder for it.';
  return paused.has(track) ? 'Paused, because your connection is slow.' : COMING;
}

export function ZoomButtons({ zoom }: { zoom: ZoomHandle }) {
  const whole = zoom.zoom === null;
  return (
    <>
      <button
        type="button"
        className="dock-button"
        data-testid="zoom-out"
        aria-label="Smaller"
        title="Smaller (−)"
        onClick={zoom.out}
      >
        <ZoomOut size={14} />
      </button>
      <button
        type="button"
        className="dock-button dock-zoom"
        data-testid="zoom"
        title={whole ? 'Show at 100 % (1)' : 'Fit into the pane (0)'}
        onClick={() => zoom.set(whole ? 1 : null)}
      >
        {zoomWords(zoom.zoom)}
      </button>
      <button
        type="button"
        className="dock-button"
        data-testid="zoom-in"
        aria-label="Larger"
        title="Larger (+)"
        onClick={zoom.in}
      >
        <ZoomIn size={14} />
      </button>
    </>
  );
}
