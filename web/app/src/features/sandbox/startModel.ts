/** A sandbox's start in words: what is being done, for how long, and how long what came before took. Pure. */
import { duration } from '../runs/format';

export interface Start {
  phase: string;
  /** Unix milliseconds; `null` where the server does not say. */
  since: number | null;
  /** Phases before this one, and how long they took in milliseconds. */
  done: readonly { phase: string; took: number }[];
}

/** What is known besides, to say it better. */
export interface About {
  /** Texts of the workspace. */
  files: number | null;
  /** Keys of the devcontainer.json whose commands are run first. */
  setup: readonly string[];
}

/** `null` where nobody waits for anything. Phases that this page does not know are passed over in `done`. */
export function readStart(phase: unknown, value: unknown): Start | null {
  if (typeof phase !== 'string' || !(phase in NAMES)) return null;
  const { since, done } = (value ?? {}) as { since?: unknown; done?: unknown };
  const list: unknown[] = Array.isArray(done) ? done : [];
  return {
    phase,
    since: typeof since === 'number' ? since : null,
    done: list.filter((item): item is Start['done'][number] => {
      const one = item as { phase?: unknown; took?: unknown } | null;
      return typeof one?.phase === 'string' && one.phase in NAMES && typeof one.took === 'number';
    }),
  };
}

const NAMES: Record<string, string> = {
  files: 'Files',
  pulling_image: 'Image',
  creating_container: 'Container',
  connecting: 'Connection',
  setting_up: 'Set-up',
};

/** What is over: `Container 480 ms`. */
export function doneWords(done: Start['done'][number]): string {
  return `${NAMES[done.phase]} ${duration(done.took)}`;
}

/** What is being done. */
export function phaseWords(start: Start, about: About): string {
  switch (start.phase) {
    case 'files':
      if (about.files === null) return 'Bringing the files up to date';
      return `Bringing ${about.files} ${about.files === 1 ? 'file' : 'files'} up to date`;
    case 'pulling_image':
      return 'Pulling the image';
    case 'creating_container':
      return 'Creating the container';
    case 'connecting':
      return 'Container started, connecting';
    default:
      return about.setup.length > 0 ? `Running ${about.setup.join(', ')}` : 'Setting up the sandbox';
  }
}

/** Whole seconds, from the first on: less only flickers. Clocks may differ, so never below zero. */
export function sinceWords(start: Start, now: number): string | null {
  if (start.since === null || now - start.since < 1000) return null;
  return duration(now - start.since, true);
}
