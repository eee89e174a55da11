/** Dragging with the pointer, for what has no element of its own in the browser. */
import type { PointerEvent } from 'react';

/** Tells how far the pointer has gone since it went down, until it goes up. Buttons keep their clicks. */
export function drag(event: PointerEvent<HTMLElement>, go: (x: number, y: number) => void): void {
  const button = event.target instanceof Element && event.target.closest('button:not(.dock-move)');
  if (event.button !== 0 || button) return;
  const target = event.currentTarget;
  const { clientX, clientY } = event;
  target.setPointerCapture(event.pointerId);
  const move = (event: globalThis.PointerEvent) => go(event.clientX - clientX, event.clientY - clientY);
  target.addEventListener('pointermove', move);
  target.addEventListener('lostpointercapture', () => target.removeEventListener('pointermove', move), {
    once: true,
  });
}
