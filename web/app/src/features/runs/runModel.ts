/** Reads the `runs:main` document: the runs newest first, the last lines of their logs, and the sandbox's state. Pure. */
import type { Run, RunState, Sandbox } from '../../api/types';

const STATES: readonly string[] = [
  'queued',
  'running',
  'passed',
  'failed',
  'cancelled',
  'interrupted',
  'error',
  'superseded',
] satisfies RunState[];

const ABSENT = {
  command: null,
  started_at: null,
  finished_at: null,
  exit_code: null,
  message: null,
  content_hash: null,
  image: null,
} satisfies Partial<Run>;

export function readRuns(values: Record<string, unknown>): Run[] {
  return Object.values(values)
    .filter((value): value is Run => {
      const run = value as Run | null;
      return typeof run?.id === 'string' && STATES.includes(run.state) && typeof run.queued_at === 'number';
    })
    .map((run) => ({ ...ABSENT, ...run }))
    .sort((a, b) => b.queued_at - a.queued_at || (a.id < b.id ? 1 : -1));
}

export function readSandbox(value: unknown): Sandbox {
  const sandbox = value as Sandbox | null | undefined;
  return typeof sandbox?.state === 'string' ? sandbox : { state: 'unknown', message: null, hint: null };
}

/** A log is one string; a list of lines is understood too. */
export function readLog(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.join('\n');
  return null;
}

export function isOver(state: RunState): boolean {
  return state !== 'queued' && state !== 'running';
}

/** Runs that newer text overtook say nothing about the code; they are hidden unless asked for. */
export function shownRuns(runs: readonly Run[], withSuperseded: boolean): Run[] {
  return runs.filter((run) => withSuperseded || run.state !== 'superseded');
}
