/** Where the large picture of a call stands and which it is: the rules of the pane that one can dock. Pure. */
import type { Size } from '../../ui/windowSize';
import { type Layer, type Tile, trackOf } from './mediaModel';

/** Beside or below the editor, over everything, or over the editor (`stage`). */
export type Place = 'left' | 'right' | 'bottom' | 'floating' | 'stage';

const PLACES: readonly Place[] = ['left', 'right', 'bottom', 'floating', 'stage'];

/** Where a floating pane is, in CSS pixels of the window. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What a browser remembers of a room. */
export interface Layout {
  place: Place;
  /** `null` until the pane has been moved. */
  box: Box | null;
}

export const DEFAULT_LAYOUT: Layout = { place: 'stage', box: null };

/** In windows narrower or lower than this nothing docks: what is large covers everything but the call. `dock.css` has the same. */
const NARROW = 800;
const LOW = 500;

/** The least that is left of an editor beside the pane and below it, and of the pane. */
export const LEAST_WIDTH = 240;
export const LEAST_HEIGHT = 120;

const LEAST_BOX: Size = { width: 260, height: 180 };

/** What an older page remembered, or nobody: whatever is not understood is as at first. */
export function readLayout(text: string | null): Layout {
  try {
    const value = JSON.parse(text ?? 'null') as Partial<Layout> | null;
    const place = PLACES.find((place) => place === value?.place) ?? DEFAULT_LAYOUT.place;
    const { x, y, width, height } = value?.box ?? {};
    const isBox = [x, y, width, height].every((part) => Number.isFinite(part));
    return { place, box: isBox ? ({ x, y, width, height } as Box) : null };
  } catch {
    return DEFAULT_LAYOUT;
  }
}

/** The places for which a window has room; `centre` is what editor and docked pane share. */
export function placesIn(window: Size, centre: Size): Place[] {
  if (window.width < NARROW || window.height < LOW) return ['stage'];
  return PLACES.filter((place) => {
    if (place === 'left' || place === 'right') return centre.width >= 2 * LEAST_WIDTH;
    return place !== 'bottom' || centre.height >= 2 * LEAST_HEIGHT;
  });
}

/** Where a floating pane stands at first: over the lower right corner of the editor, so that one sees where one types. */
export function firstBox(window: Size): Box {
  const width = Math.round(Math.max(LEAST_BOX.width, Math.min(560, window.width * 0.4)));
  const height = Math.round((width * 9) / 16) + 38;
  return fitBox({ x: window.width - width - 240, y: window.height - height - 24, width, height }, window);
}

/** Within the window, whatever has become of that. */
export function fitBox(box: Box, window: Size): Box {
  const clamp = (value: number, least: number, most: number) =>
    Math.round(Math.max(least, Math.min(value, most)));
  const width = clamp(box.width, Math.min(LEAST_BOX.width, window.width), window.width);
  const height = clamp(box.height, Math.min(LEAST_BOX.height, window.height), window.height);
  return {
    x: clamp(box.x, 0, window.width - width),
    y: clamp(box.y, 0, window.height - height),
    width,
    height,
  };
}

/** Screens of others: one's own shown large would show itself. */
export function screensOf(tiles: readonly Tile[]): Tile[] {
  return tiles.filter((tile) => tile.source === 'screen' && !tile.self);
}

/**
 * Which picture is large after the call has changed; `before` are the screens that there were. A screen that somebody begins to share is
 * what everybody is to look at, but nobody's screen is put in place of another that is looked at.
 */
export function nextChosen(
  tiles: readonly Tile[],
  before: readonly string[],
  chosen: string | null,
): string | null {
  const screens = screensOf(tiles).map(({ key }) => key);
  const begun = screens.filter((key) => !before.includes(key)).at(-1) ?? null;
  const tile = tiles.find(({ key }) => key === chosen);
  if (tile?.source === 'screen') return tile.key;
  if (begun !== null) return begun;
  // A screen that ends gives its place to another that was open beside it.
  if (chosen !== null && before.includes(chosen)) return screens[0] ?? null;
  const camera = tile && trackOf(tile.participant, 'camera');
  return tile && camera && !camera.muted ? tile.key : null;
}

/** Pixels of a camera's layers across, the smallest first. */
const WIDTHS: [number, Layer][] = [
  [320, 'low'],
  [640, 'middle'],
];

/** The layer for a picture that is shown so many pixels wide. A little too small is better than twice the bits. */
export function layerFor(pixels: number): Layer {
  return WIDTHS.find(([width]) => pixels <= width * 1.25)?.[1] ?? 'high';
}
