/** The line between two panes: drag it, or focus it and use the arrow keys. The size is kept in local storage. */
import { type KeyboardEvent, type PointerEvent, useState } from 'react';

const KEY_STEP = 24;

export function usePaneSize(name: string, initial: number, min: number, max: () => number) {
  const key = `buildspaces.pane.${name}`;
  const clamp = (value: number) => Math.round(Math.max(min, Math.min(value, max())));
  const [size, setSize] = useState(() => {
    const kept = Number(localStorage.getItem(key));
    return clamp(Number.isFinite(kept) && kept > 0 ? kept : initial);
  });
  const resize = (value: number) => {
    const next = clamp(value);
    setSize(next);
    localStorage.setItem(key, String(next));
  };
  return { size, resize, min, max };
}

export type PaneSize = ReturnType<typeof usePaneSize>;

export function Splitter(props: {
  label: string;
  pane: PaneSize;
  /** `column`: the pane is left of the line. `row`: the pane is below the line. */
  direction: 'column' | 'row';
}) {
  const { pane, direction } = props;
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    event.preventDefault();
    const start = direction === 'column' ? event.clientX : event.clientY;
    const sign = direction === 'column' ? 1 : -1;
    const from = pane.size;
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const move = (e: globalThis.PointerEvent) =>
      pane.resize(from + sign * ((direction === 'column' ? e.clientX : e.clientY) - start));
    const up = () => target.removeEventListener('pointermove', move);
    target.addEventListener('pointermove', move);
    target.addEventListener('lostpointercapture', up, { once: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const grow = direction === 'column' ? 'ArrowRight' : 'ArrowUp';
    const shrink = direction === 'column' ? 'ArrowLeft' : 'ArrowDown';
    if (event.key === grow) pane.resize(pane.size + KEY_STEP);
    else if (event.key === shrink) pane.resize(pane.size - KEY_STEP);
    else return;
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: an <hr> cannot be dragged; this is the ARIA window splitter.
    <div
      className="splitter"
      data-direction={direction}
      role="separator"
      tabIndex={0}
      aria-label={props.label}
      aria-orientation={direction === 'column' ? 'vertical' : 'horizontal'}
      aria-valuenow={pane.size}
      aria-valuemin={pane.min}
      aria-valuemax={pane.max()}
      onPointerDown={onPointerDown}
      onKeyDown={onKeyDown}
    />
  );
}
