/** How large the window is, in CSS pixels. A page that is zoomed in has a small one. */
import { useSyncExternalStore } from 'react';

export interface Size {
  width: number;
  height: number;
}

let last: Size = { width: 0, height: 0 };

function read(): Size {
  const { innerWidth: width, innerHeight: height } = window;
  if (width !== last.width || height !== last.height) last = { width, height };
  return last;
}

function watch(changed: () => void): () => void {
  window.addEventListener('resize', changed);
  return () => window.removeEventListener('resize', changed);
}

export function useWindowSize(): Size {
  return useSyncExternalStore(watch, read);
}
