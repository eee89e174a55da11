/** How large a picture is drawn in its pane, so that code on a shared screen can be read. Pure. */
import type { Size } from '../../ui/windowSize';

/** Pixels on screen for each of the picture; `null`: as large as the whole picture has room. */
export type Zoom = number | null;

const STEPS = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4];

/** At which zoom the whole picture fits; 1 before either size is known. */
export function fitting(picture: Size, pane: Size): number {
  const scale = Math.min(pane.width / picture.width, pane.height / picture.height);
  return Number.isFinite(scale) && scale > 0 ? scale : 1;
}

/** The next step that makes it larger; beyond the last there is none. */
export function zoomIn(zoom: Zoom, fit: number): Zoom {
  const now = zoom ?? fit;
  return STEPS.find((step) => step > now * 1.01) ?? zoom;
}

/** The next step that makes it smaller; what would be smaller than the pane fits into it. */
export function zoomOut(zoom: Zoom, fit: number): Zoom {
  if (zoom === null) return null;
  const next = STEPS.findLast((step) => step < zoom * 0.99) ?? 0;
  return next <= fit ? null : next;
}

/** Where to scroll, along one axis, so that what is at `at` in the pane stays there when the picture's extent changes. Smaller ones stand in the middle. */
export function scrollAfter(
  { scroll, at, pane }: { scroll: number; at: number; pane: number },
  before: number,
  after: number,
): number {
  const margin = (extent: number) => Math.max(0, (pane - extent) / 2);
  const part = (scroll + at - margin(before)) / before;
  return Math.max(0, part * after + margin(after) - at);
}

export function zoomWords(zoom: Zoom): string {
  return zoom === null ? 'Fit' : `${Math.round(zoom * 100)} %`;
}
