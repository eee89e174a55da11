/** Runs in words: states, durations, reasons, times. Pure. */
import type { Run, RunState } from '../../api/types';

const STATE_WORDS: Record<RunState, string> = {
  queued: 'Queued',
  running: 'Running',
  passed: 'Passed',
  failed: 'Failed',
  cancelled: 'Cancelled',
  interrupted: 'Interrupted',
  error: 'Could not run',
  superseded: 'Superseded',
};

export function stateWord(state: RunState): string {
  return STATE_WORDS[state];
}

/** The id under which the server itself acts, when it cannot say whose edit it was. */
const SYSTEM = 'system';

/** Why the run exists. `me` is this person's id. */
export function reason(run: Run, me: string | undefined): string {
  const mine = run.requested_by === me;
  if (run.trigger === 'sandbox') return 'For the new sandbox';
  if (run.trigger === 'intent') return mine ? 'You asked for it' : `${run.requested_by_name} asked for it`;
  if (run.requested_by === SYSTEM) return 'After an edit';
  return mine ? 'After your edit' : `After ${possessive(run.requested_by_name)} edit`;
}

export function possessive(name: string): string {
  return name.endsWith('s') ? `${name}'` : `${name}'s`;
}

/** How long a run took, or has been running at `now`; `null` before it starts. Clocks may differ, so never below zero. */
export function elapsed(run: Run, now: number): number | null {
  if (run.started_at === null) return null;
  return Math.max(0, (run.finished_at ?? now) - run.started_at);
}

/** `whole` leaves tenths of seconds out: they only flicker while a run is under way. */
export function duration(ms: number, whole = false): string {
  if (ms < 1000 && !whole) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60)
    return whole ? `${Math.floor(seconds)} s` : `${(Math.floor(seconds * 10) / 10).toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `just now`, `4 min ago`, then a time of day or a date. */
export function ago(then: number, now: number): string {
  const minutes = Math.floor((now - then) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const date = new Date(then);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (date.toDateString() === new Date(now).toDateString()) return `at ${time}`;
  return `${date.toLocaleDateString([], { day: 'numeric', month: 'short' })}, ${time}`;
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} ${size === 1 ? 'byte' : 'bytes'}`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let value = size;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
