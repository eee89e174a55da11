/** Reads an asciicast (version 2), and lays it out for somebody who watches it. Pure. */

/** Nobody waits longer than this for something to happen. */
export const LONGEST_GAP_MS = 2000;

export interface Size {
  cols: number;
  rows: number;
}

/** At `at` milliseconds of the replay this is written, or the screen becomes so large. */
export type Moment = { at: number } & ({ text: string } | { size: Size });

export interface Replay {
  size: Size;
  moments: readonly Moment[];
  /** Milliseconds. */
  length: number;
}

/** Sizes that an emulator can take; a file says whatever it says. */
const MAX_CELLS = 1000;

/** `null` if it is none. Lines that cannot be read, as the last one of a file that was cut off, are passed over. */
export function readCast(text: string): Replay | null {
  const [first, ...rest] = text.split('\n');
  const header = parse(first ?? '') as { version?: unknown; width?: unknown; height?: unknown } | null;
  const size = header?.version === 2 ? sizeOf(header.width, header.height) : null;
  if (!size) return null;
  const moments: Moment[] = [];
  let seconds = 0;
  let at = 0;
  for (const line of rest) {
    const event = parse(line);
    if (!Array.isArray(event)) continue;
    const [when, kind, data] = event as unknown[];
    if (typeof when !== 'number' || typeof data !== 'string') continue;
    const happened = kind === 'o' ? { text: data } : kind === 'r' ? resized(data) : null;
    if (!happened) continue;
    at += Math.min(Math.max(0, when - seconds) * 1000, LONGEST_GAP_MS);
    seconds = Math.max(seconds, when);
    moments.push({ at, ...happened });
  }
  return { size, moments, length: at };
}

function resized(data: string): { size: Size } | null {
  const [cols, rows] = data.split('x').map(Number);
  const size = sizeOf(cols, rows);
  return size && { size };
}

function sizeOf(cols: unknown, rows: unknown): Size | null {
  const fits = (count: unknown): count is number =>
    Number.isInteger(count) && (count as number) > 0 && (count as number) <= MAX_CELLS;
  return fits(cols) && fits(rows) ? { cols, rows } : null;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** `1:05`, or `1:02:05`. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (count: number) => String(count).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}
