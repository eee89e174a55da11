/** How much of the room's page the docked pane of a call takes, and the line by which that is changed. The pane itself is `screenPane.tsx`. */
import type { ReactNode } from 'react';
import { type PaneSize, Splitter, usePaneSize } from '../../ui/splitter';
import { useStore } from '../../ui/store';
import { useWindowSize } from '../../ui/windowSize';
import type { RoomSession } from '../room/roomSession';
import { LEAST_HEIGHT, LEAST_WIDTH, type Place, placesIn } from './dockModel';

export interface Docked {
  /** Where the pane stands when it is open, and where it could. */
  place: Place;
  places: Place[];
  left: number;
  right: number;
  bottom: number;
  divider: ReactNode;
}

/** `taken` is what stands around editor and pane, in pixels. */
export function useDocked(
  { dock, room }: RoomSession,
  taken: { left: number; right: number; top: number; bottom: number },
): Docked {
  const window = useWindowSize();
  const layout = useStore(dock.layout);
  const chosen = useStore(dock.chosen);
  const popped = useStore(dock.popped);
  const width = window.width - taken.left - taken.right;
  const height = window.height - taken.top - taken.bottom;
  const name = (side: string) => `dock-${side}.${room.id}`;
  const half = Math.round(width / 2);
  const left = usePaneSize(name('left'), half, LEAST_WIDTH, () => width - LEAST_WIDTH);
  const right = usePaneSize(name('right'), half, LEAST_WIDTH, () => width - LEAST_WIDTH);
  const bottom = usePaneSize(
    name('bottom'),
    Math.round(height / 2),
    LEAST_HEIGHT,
    () => height - LEAST_HEIGHT,
  );
  const places = placesIn(window, { width, height });
  const place = places.includes(layout.place) ? layout.place : 'stage';
  const at = chosen !== null && popped === null ? place : null;
  const size = (side: Place, pane: PaneSize) => (at === side ? pane.size : 0);
  const words = 'Size of the shared screen';
  return {
    place,
    places,
    left: size('left', left),
    right: size('right', right),
    bottom: size('bottom', bottom),
    divider:
      at === 'left' ? (
        <div className="split-column" style={{ left: taken.left + left.size, bottom: taken.bottom }}>
          <Splitter label={words} pane={left} edge="right" />
        </div>
      ) : at === 'right' ? (
        <div className="split-column" style={{ right: taken.right + right.size, bottom: taken.bottom }}>
          <Splitter label={words} pane={right} edge="left" />
        </div>
      ) : at === 'bottom' ? (
        <div
          className="split-row"
          style={{ bottom: taken.bottom + bottom.size, left: taken.left, right: taken.right }}
        >
          <Splitter label={words} pane={bottom} edge="top" />
        </div>
      ) : null,
  };
}
