/** The room's runs: whether they are possible, the runs, and the one that is looked at. */
import { CircleSlash2, Play, Power, TriangleAlert, X } from 'lucide-react';
import { type ReactNode, useState } from 'react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { DevcontainerButton } from '../devcontainer/devcontainerButton';
import { RecordingsButton } from '../recordings/recordingsButton';
import { useRoom } from '../room/roomContext';
import { readStart } from '../sandbox/startModel';
import { StartPhases } from '../sandbox/startPhases';
import { RunDetail } from './runDetail';
import { RunList } from './runList';
import { isOver, shownRuns } from './runModel';
import './runs.css';
import { useStartRun } from './useStartRun';

export function RunsPanel(props: { tabs: ReactNode; visible: boolean }) {
  const { session } = useRoom();
  const all = useStore(session.runs);
  const sandbox = useStore(session.sandbox);
  const connection = useStore(session.connection);
  const loaded = useStore(session.treeLoaded);
  const me = useStore(session.sessions)?.person.id;
  const mayRun = useMay('run');
  const start = useStartRun();
  const [withSuperseded, setWithSuperseded] = useState(false);
  const [chosen, setChosen] = useState<string | null>(null);

  const runs = shownRuns(all, withSuperseded);
  const hidden = all.length - shownRuns(all, false).length;
  // What runs now is more telling than what waits behind it.
  const selected =
    runs.find((run) => run.id === chosen) ?? runs.find((run) => run.state === 'running') ?? runs[0];
  const off = sandbox.state === 'off';
  const away = connection.kind === 'reconnecting' || connection.kind === 'offline';
  const starting = readStart(sandbox.state, sandbox.start);
  const waits = runs.some((run) => !isOver(run.state));
  const whyNot = off
    ? 'Runs are off on this server.'
    : away
      ? 'The server cannot be reached right now.'
      : loaded
        ? null
        : 'The room is loading.';

  return (
    <section
      className="runs-panel"
      id="lower-runs"
      role="tabpanel"
      aria-label="Runs"
      data-testid="runs"
      hidden={!props.visible}
    >
      <header className="panel-head">
        {props.tabs}
        {starting && waits && <StartPhases start={starting} testId="sandbox-phase" />}
        <span className="panel-tools">
          <RecordingsButton testId="recordings-beside-runs" />
          <DevcontainerButton />
          {hidden > 0 && (
            <button
              type="button"
              className="button"
              data-size="small"
              data-kind="quiet"
              data-testid="show-superseded"
              aria-pressed={withSuperseded}
              onClick={() => setWithSuperseded((on) => !on)}
            >
              <CircleSlash2 size={13} />
              {withSuperseded ? 'Hide' : 'Show'} superseded ({hidden})
            </button>
          )}
          {mayRun && (
            <Tip text={whyNot ?? 'Run the tests on the present text (Ctrl+Enter)'}>
              <button
                type="button"
                className="button"
                data-size="small"
                data-kind="primary"
                data-testid="run-now"
                // Not `disabled`: the reason in the tooltip must be reachable.
                aria-disabled={start.busy || whyNot !== null}
                onClick={() => {
                  if (whyNot !== null) return;
                  setChosen(null);
                  start.start();
                }}
              >
                <Play size={13} /> Run now
              </button>
            </Tip>
          )}
        </span>
      </header>
      {off && (
        <div className="notice sandbox-banner" role="status" data-testid="sandbox-banner" data-state="off">
          <Power size={14} aria-hidden />
          <p>
            <strong>Runs are off.</strong> {sandbox.message}
            {sandbox.hint && <span className="sandbox-hint">{sandbox.hint}</span>}
          </p>
        </div>
      )}
      {start.problem && (
        <div className="notice sandbox-banner" data-tone="bad" role="alert" data-testid="run-problem">
          <TriangleAlert size={14} aria-hidden />
          <p>{start.problem}</p>
          <button
            type="button"
            className="icon-button"
            data-size="small"
            aria-label="Dismiss"
            onClick={start.dismiss}
          >
            <X size={13} />
          </button>
        </div>
      )}
      {selected ? (
        <div className="runs-body">
          <RunList runs={runs} selected={selected.id} me={me} onSelect={setChosen} />
          <RunDetail key={selected.id} run={selected} sandbox={sandbox} me={me} />
        </div>
      ) : (
        <p className="runs-empty">
          {!loaded
            ? 'Loading the runs…'
            : off
              ? `${mayRun ? 'You can go on editing together; tests' : 'Tests'} run as soon as runs are on.`
              : mayRun
                ? 'No runs yet. Change a file and its tests run by themselves, or press Run now.'
                : 'No runs yet. When somebody changes a file its tests run, and you see the result here.'}
        </p>
      )}
    </section>
  );
}
