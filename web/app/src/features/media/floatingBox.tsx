/** Moving and resizing a pane that floats: by keys here, by mouse where its head and its corner are. */
import { Move } from 'lucide-react';
import type { KeyboardEvent } from 'react';
import type { Box } from './dockModel';

const KEY_STEP = 24;

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-KEY_STEP, 0],
  ArrowRight: [KEY_STEP, 0],
  ArrowUp: [0, -KEY_STEP],
  ArrowDown: [0, KEY_STEP],
};

export const moved = (box: Box, x: number, y: number): Box => ({ ...box, x: box.x + x, y: box.y + y });
export const grown = (box: Box, x: number, y: number): Box => ({
  ...box,
  width: box.width + x,
  height: box.height + y,
});

export function MoveButton(props: { box: Box; onMove: (box: Box) => void }) {
  const words = 'Move with the arrow keys, resize with Shift and the arrow keys';
  const onKeyDown = (event: KeyboardEvent) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    props.onMove((event.shiftKey ? grown : moved)(props.box, ...step));
  };
  return (
    <button
      type="button"
      className="dock-button dock-move"
      data-testid="dock-move"
      aria-label={words}
      title={words}
      onKeyDown={onKeyDown}
    >
      <Move size={13} />
    </button>
  );
}
