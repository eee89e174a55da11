/** One run: what was executed, for whom, how it ended, and its log as it grows. */
import { Ban, ScrollText } from 'lucide-react';
import { useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Run, Sandbox } from '../../api/types';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import { readStart } from '../sandbox/startModel';
import { StartPhases } from '../sandbox/startPhases';
import { duration, elapsed, reason } from './format';
import { FullLogDialog } from './fullLogDialog';
import { LogView } from './logView';
import { isOver } from './runModel';
import { RunStateMark } from './runState';
import { useNow } from './useNow';

export function RunDetail(props: { run: Run; sandbox: Sandbox; me: string | undefined }) {
  const { run, sandbox } = props;
  const { session } = useRoom();
  const mayRun = useMay('run');
  const over = isOver(run.state);
  const now = useNow(over ? null : 1000);
  const took = elapsed(run, now);
  const log = useLog(run);
  const [full, setFull] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [asked, setAsked] = useState(false);

  const cancel = async () => {
    setAsked(true);
    setProblem(null);
    try {
      await session.api.cancelRun(session.room.id, run.id);
    } catch (error) {
      setAsked(false);
      setProblem(sentence(error));
    }
  };
  const starting = over ? null : readStart(sandbox.state, sandbox.start);
  const message = problem ?? run.message;

  return (
    <section
      className="run-detail"
      aria-label="Selected run"
      data-testid="run-detail"
      data-run={run.id}
      data-state={run.state}
    >
      <header className="run-detail-head">
        <RunStateMark state={run.state} />
        <span className="run-facts">
          {took !== null && <span>{duration(took, !over)}</span>}
          {run.exit_code !== null && <span data-testid="run-exit">exit code {run.exit_code}</span>}
          <span>{run.rule_name}</span>
          <span>{reason(run, props.me)}</span>
        </span>
        <span className="panel-tools">
          {!over && mayRun && (
            <button
              type="button"
              className="button"
              data-size="small"
              data-testid="run-cancel"
              disabled={asked}
              onClick={cancel}
            >
              <Ban size={13} /> {asked ? 'Cancelling…' : 'Cancel'}
            </button>
          )}
          <button
            type="button"
            className="button"
            data-size="small"
            data-kind="quiet"
            data-testid="run-full-log"
            disabled={run.started_at === null}
            onClick={() => setFull(true)}
          >
            <ScrollText size={13} /> Full log
          </button>
        </span>
      </header>
      {run.command && (
        <p className="run-command" data-testid="run-command">
          <span aria-hidden>$ </span>
          {run.command}
        </p>
      )}
      {message && (
        <p
          className="run-message"
          data-tone={problem ? 'bad' : run.state}
          role={problem ? 'alert' : undefined}
        >
          {message}
        </p>
      )}
      {log ? (
        <LogView text={log} label="Log, last lines" testId="run-log" />
      ) : (
        <p className="run-waiting" data-testid="run-log-state">
          {starting ? <StartPhases start={starting} testId="run-start" /> : waitingWords(run)}
        </p>
      )}
      {full && <FullLogDialog run={run} onClose={() => setFull(false)} />}
    </section>
  );
}

function waitingWords(run: Run): string {
  if (run.state === 'queued') return 'Waiting for its turn.';
  if (run.state === 'running') return 'Started. No output yet.';
  return run.started_at === null ? 'It never started, so there is no log.' : 'The program wrote nothing.';
}

/** The live tail; for a run whose tail the room no longer carries, the kept log. */
function useLog(run: Run): string | null {
  const { session } = useRoom();
  const [log, setLog] = useState<string | null>(null);
  const over = isOver(run.state);
  const started = run.started_at !== null;
  useEffect(() => {
    setLog(null);
    let left = false;
    let tail: string | null = null;
    const stop = session.watchLog(run.id, (text) => {
      tail = text;
      if (text !== null) setLog(text);
    });
    if (tail === null && over && started)
      session.api.log(session.room.id, run.id).then(
        (text) => !left && tail === null && setLog(text),
        // The full log's dialog says why; here the absence of a log is enough.
        () => undefined,
      );
    return () => {
      left = true;
      stop();
    };
  }, [session, run.id, over, started]);
  return log;
}
