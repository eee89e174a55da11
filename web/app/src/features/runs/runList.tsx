/** The room's runs, newest first, as a list with one selection and arrow keys. */
import type { KeyboardEvent } from 'react';
import type { Run } from '../../api/types';
import { ago, duration, elapsed, reason } from './format';
import { isOver } from './runModel';
import { RunStateMark } from './runState';
import { useNow } from './useNow';

export function RunList(props: {
  runs: readonly Run[];
  selected: string | null;
  me: string | undefined;
  onSelect: (run: string) => void;
}) {
  const { runs, selected } = props;
  const now = useNow(runs.some((run) => !isOver(run.state)) ? 1000 : 20_000);
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const index = runs.findIndex((run) => run.id === selected);
    const next = runs[Math.max(0, Math.min(runs.length - 1, index + step))];
    if (!next) return;
    props.onSelect(next.id);
    document.getElementById(`run-${next.id}`)?.focus();
  };
  return (
    <div className="run-list" role="listbox" aria-label="Runs" onKeyDown={onKeyDown}>
      {runs.map((run) => {
        const took = elapsed(run, now);
        return (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles the arrow keys, which select.
          <div
            key={run.id}
            id={`run-${run.id}`}
            role="option"
            className="run-item"
            data-testid="run-item"
            data-run={run.id}
            data-state={run.state}
            aria-selected={run.id === selected}
            tabIndex={run.id === selected ? 0 : -1}
            onClick={() => props.onSelect(run.id)}
          >
            <RunStateMark state={run.state} />
            <span className="run-duration" data-testid="run-duration">
              {took === null ? '' : duration(took, !isOver(run.state))}
            </span>
            <span className="run-reason">{reason(run, props.me)}</span>
            <time className="run-when" dateTime={new Date(run.queued_at).toISOString()}>
              {ago(run.queued_at, now)}
            </time>
          </div>
        );
      })}
    </div>
  );
}
