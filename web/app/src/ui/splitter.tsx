/** The line between two panes: drag it, or focus it and use the arrow keys. The size is kept in local storage. */
import { type KeyboardEvent, type PointerEvent, useState } from 'react';
import { useWindowSize } from './windowSize';

const KEY_STEP = 24;

/** A window that gets smaller makes the pane smaller, and gives it back what it takes when it gets larger again. */
export function usePaneSize(name: string, initial: number, min: number, max: () => number) {
  useWindowSize();
  const key = `buildspaces.pane.${name}`;
  const clamp = (value: number) => Math.round(Math.max(min, Math.min(value, max())));
  const [chosen, setChosen] = useState<number | null>(() => {
    const kept = Number(localStorage.getItem(key));
    return Number.isFinite(kept) && kept > 0 ? kept : null;
  });
  const resize = (value: number) => {
    const next = clamp(value);
    setChosen(next);
    localStorage.setItem(key, String(next));
  };
  return { size: clamp(chosen ?? initial), resize, min, max };
}

type Edge = 'left' | 'right' | 'top';

/** What makes the pane larger, and what smaller. */
const KEYS: Record<Edge, [string, string]> = {
  left: ['ArrowLeft', 'ArrowRight'],
  right: ['ArrowRight', 'ArrowLeft'],
  top: ['ArrowUp', 'ArrowDown'],
};

export type PaneSize = ReturnType<typeof usePaneSize>;

export function Splitter(props: {
  label: string;
  pane: PaneSize;
  /** At which edge of its pane the line is. */
  edge: Edge;
}) {
  const { pane, edge } = props;
  const isColumn = edge !== 'top';
  // Which way the line goes when the pane grows.
  const sign = edge === 'right' ? 1 : -1;
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    event.preventDefault();
    const start = isColumn ? event.clientX : event.clientY;
    const from = pane.size;
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const move = (e: globalThis.PointerEvent) =>
      pane.resize(from + sign * ((isColumn ? e.clientX : e.clientY) - start));
    const up = () => target.removeEventListener('pointermove', move);
    target.addEventListener('pointermove', move);
    target.addEventListener('lostpointercapture', up, { once: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [grow, shrink] = KEYS[edge];
    if (event.key === grow) pane.resize(pane.size + KEY_STEP);
    else if (event.key === shrink) pane.resize(pane.size - KEY_STEP);
    else if (event.key === 'Home') pane.resize(pane.min);
    else if (event.key === 'End') pane.resize(pane.max());
    else return;
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: an <hr> cannot be dragged; this is the ARIA window splitter.
    <div
      className="splitter"
      data-edge={edge}
      role="separator"
      tabIndex={0}
      aria-label={props.label}
      aria-orientation={isColumn ? 'vertical' : 'horizontal'}
      aria-valuenow={pane.size}
      aria-valuemin={pane.min}
      aria-valuemax={pane.max()}
      onPointerDown={onPointerDown}
      onKeyDown={onKeyDown}
    />
  );
}
