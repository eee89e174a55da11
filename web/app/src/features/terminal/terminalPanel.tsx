/** The room's shared terminals: which there are, the one in front, and who has its keyboard. */
import { Box, Loader, Plus, Power, RotateCw, SquareTerminal, TriangleAlert, X } from 'lucide-react';
import { type ReactNode, Suspense, useCallback, useEffect, useRef, useState } from 'react';
import type { Terminal } from '../../api/types';
import { lazily } from '../../ui/lazily';
import { Store, useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useAttempt } from '../../ui/useAttempt';
import { useMay } from '../access/useAccess';
import { DevcontainerButton } from '../devcontainer/devcontainerButton';
import { RecordingsButton } from '../recordings/recordingsButton';
import { useRoom } from '../room/roomContext';
import { readStart } from '../sandbox/startModel';
import { StartPhases } from '../sandbox/startPhases';
import { KeyboardBar } from './keyboardBar';
import { NewSandbox } from './newSandbox';
import './terminal.css';
import type { TerminalLink, TerminalLinkState } from './terminalLink';
import type { Status } from './terminalModel';

const TerminalScreen = lazily('The terminal', () => import('./terminalScreen'));

const NO_STATUS = new Store<Status | null>(null);
const NO_STATE = new Store<TerminalLinkState>('connecting');

export function TerminalPanel(props: { tabs: ReactNode; visible: boolean }) {
  const { session } = useRoom();
  const terminals = useStore(session.terminals);
  const sandbox = useStore(session.sandbox);
  const connection = useStore(session.connection);
  const [chosen, setChosen] = useState<string | null>(null);
  const { busy, problem, setProblem, attempt } = useAttempt();
  const [focus, setFocus] = useState(0);
  const [ending, setEnding] = useState(false);
  const [links, setLinks] = useState<ReadonlyMap<string, TerminalLink>>(new Map());
  // What was in front once stays connected: changing between terminals must not cost the keyboard.
  const seen = useRef(new Set<string>());

  const front = terminals.find((terminal) => terminal.id === chosen) ?? terminals.at(-1) ?? null;
  if (front && props.visible) seen.current.add(front.id);
  const link = front ? links.get(front.id) : undefined;
  const status = useStore(link?.status ?? NO_STATUS);
  const state = useStore(link?.state ?? NO_STATE);
  const off = sandbox.state === 'off';
  const away = connection.kind === 'reconnecting' || connection.kind === 'offline';
  const mayOpen = useMay('terminal');
  const whyNot = off
    ? 'Terminals need the sandbox, which is off on this server.'
    : away
      ? 'The server cannot be reached right now.'
      : null;

  const onLink = useCallback((id: string, next: TerminalLink | null) => {
    setLinks((before) => {
      const after = new Map(before);
      if (next) after.set(id, next);
      else after.delete(id);
      return after;
    });
  }, []);
  const focusIt = useCallback(() => setFocus((count) => count + 1), []);
  const open = () =>
    attempt(async () => {
      if (whyNot !== null) return;
      const terminal = await session.api.openTerminal(session.room.id);
      setChosen(terminal.id);
      focusIt();
    });
  const close = (terminal: Terminal) =>
    attempt(() => session.api.closeTerminal(session.room.id, terminal.id));
  const openAgain = (terminal: Terminal) =>
    attempt(async () => {
      const next = await session.api.openTerminal(session.room.id);
      setChosen(next.id);
      focusIt();
      await session.api.closeTerminal(session.room.id, terminal.id);
    });
  const frontId = front?.id ?? null;
  useEffect(() => {
    // What is looked at stays in front when somebody opens another one.
    if (props.visible && frontId !== null) setChosen(frontId);
  }, [props.visible, frontId]);
  useEffect(() => {
    for (const id of seen.current)
      if (!terminals.some((terminal) => terminal.id === id)) seen.current.delete(id);
  }, [terminals]);

  const opener = (kind: 'primary' | 'quiet', text: string) => (
    <Tip text={whyNot ?? 'Open a terminal that everybody in this room sees'}>
      <button
        type="button"
        className="button"
        data-size="small"
        data-kind={kind}
        data-testid="open-terminal"
        // Not `disabled`: the reason in the tooltip must be reachable.
        aria-disabled={busy || whyNot !== null}
        onClick={open}
      >
        <Plus size={13} /> {text}
      </button>
    </Tip>
  );

  return (
    <section
      className="terminal-panel"
      id="lower-terminal"
      role="tabpanel"
      aria-label="Terminal"
      data-testid="terminal-panel"
      hidden={!props.visible}
    >
      <header className="panel-head">
        {props.tabs}
        {terminals.length > 0 && (
          <div className="terminal-list" role="tablist" aria-label="Terminals">
            {terminals.map((terminal) => (
              <TerminalTab
                key={terminal.id}
                terminal={terminal}
                selected={terminal === front}
                closable={mayOpen}
                onSelect={() => {
                  setChosen(terminal.id);
                  focusIt();
                }}
                onClose={() => close(terminal)}
              />
            ))}
          </div>
        )}
        {terminals.length > 0 && mayOpen && opener('quiet', 'New')}
        {link && status && state === 'online' && status.state === 'running' && (
          <KeyboardBar link={link} status={status} onTake={focusIt} />
        )}
        <span className="panel-tools">
          <DevcontainerButton />
          <RecordingsButton />
          {mayOpen && whyNot === null && (
            <Tip text="End this room's sandbox with all that runs in it, and begin a new one">
              <button
                type="button"
                className="icon-button"
                data-size="small"
                data-testid="new-sandbox"
                aria-label="Begin a new sandbox"
                onClick={() => setEnding(true)}
              >
                <Box size={13} />
              </button>
            </Tip>
          )}
        </span>
      </header>
      {ending && <NewSandbox onClose={() => setEnding(false)} />}
      {off && (
        <div className="notice sandbox-banner" role="status" data-testid="terminal-off">
          <Power size={14} aria-hidden />
          <p>
            <strong>Terminals are off.</strong> {sandbox.message}
            {sandbox.hint && <span className="sandbox-hint">{sandbox.hint}</span>}
          </p>
        </div>
      )}
      {problem && (
        <div className="notice sandbox-banner" data-tone="bad" role="alert" data-testid="terminal-problem">
          <TriangleAlert size={14} aria-hidden />
          <p>{problem}</p>
          <button
            type="button"
            className="icon-button"
            data-size="small"
            aria-label="Dismiss"
            onClick={() => setProblem(null)}
          >
            <X size={13} />
          </button>
        </div>
      )}
      {front ? (
        <div className="terminal-body">
          <Suspense fallback={<div className="terminal-screen" />}>
            {terminals
              .filter((terminal) => seen.current.has(terminal.id))
              .map((terminal) => (
                <TerminalScreen
                  key={terminal.id}
                  id={terminal.id}
                  label={`Terminal ${terminal.number}`}
                  visible={props.visible && terminal === front}
                  focus={focus}
                  onLink={onLink}
                />
              ))}
          </Suspense>
          <Condition
            terminal={front}
            state={state}
            status={status}
            mayOpen={mayOpen && whyNot === null}
            busy={busy}
            onOpenAgain={() => openAgain(front)}
          />
        </div>
      ) : (
        <div className="terminal-empty">
          <SquareTerminal size={26} strokeWidth={1.4} aria-hidden />
          <p>
            {off
              ? 'You can go on editing together; terminals open as soon as the sandbox is on.'
              : 'No terminal is open. Everybody in this room sees what happens in one; one person at a time types.'}
            {!off && !mayOpen && ' You may watch; somebody who may edit has to open one.'}
          </p>
          {!off && mayOpen && opener('primary', 'Open a terminal')}
        </div>
      )}
    </section>
  );
}

function TerminalTab(props: {
  terminal: Terminal;
  selected: boolean;
  closable: boolean;
  onSelect: () => void;
  onClose: () => void;
}) {
  const { terminal, selected } = props;
  const name = `Terminal ${terminal.number}`;
  return (
    <span className="terminal-tab" data-selected={selected || undefined} data-state={terminal.state}>
      <button
        type="button"
        role="tab"
        aria-selected={selected}
        data-testid="terminal-tab"
        data-terminal={terminal.id}
        data-state={terminal.state}
        title={`${name}, opened by ${terminal.opened_by_name}`}
        onClick={props.onSelect}
      >
        <SquareTerminal size={13} aria-hidden /> {terminal.number}
        {terminal.state === 'ended' && <span className="terminal-ended">ended</span>}
        {terminal.recorded && (
          <span
            className="rec-mark"
            data-testid="terminal-recorded"
            title="What this terminal shows is recorded"
          >
            <span aria-hidden>REC</span>
            <span className="visually-hidden">, recorded</span>
          </span>
        )}
      </button>
      {props.closable && (
        <button
          type="button"
          className="icon-button"
          data-size="small"
          data-testid="close-terminal"
          aria-label={`Close ${name}`}
          title={terminal.state === 'ended' ? `Close ${name}` : `Close ${name} and end what runs in it`}
          onClick={props.onClose}
        >
          <X size={12} />
        </button>
      )}
    </span>
  );
}

/** What stands over a terminal that does not simply run. */
function Condition(props: {
  terminal: Terminal;
  state: TerminalLinkState;
  status: Status | null;
  mayOpen: boolean;
  busy: boolean;
  onOpenAgain: () => void;
}) {
  const { terminal, state, status } = props;
  const ended = status?.state === 'ended' || terminal.state === 'ended' || state === 'gone';
  if (ended)
    return (
      <div className="terminal-bar" data-testid="terminal-ended" role="status">
        <p>{status?.message ?? terminal.message ?? 'This terminal is gone.'}</p>
        {props.mayOpen && (
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="open-again"
            disabled={props.busy}
            onClick={props.onOpenAgain}
          >
            <RotateCw size={13} /> Open again
          </button>
        )}
      </div>
    );
  const start = status?.state === 'starting' ? readStart(status.phase, status) : null;
  if (state !== 'away' && start)
    return (
      <div className="terminal-bar" data-testid="terminal-waiting">
        <StartPhases start={start} testId="terminal-start" />
      </div>
    );
  const waiting =
    state === 'away'
      ? 'The connection is lost. Coming back…'
      : status === null
        ? 'Connecting…'
        : status.state === 'starting'
          ? 'Starting a shell…'
          : null;
  if (waiting === null) return null;
  return (
    <div className="terminal-bar" data-testid="terminal-waiting" role="status">
      <Loader size={13} className="spin" aria-hidden />
      <p>{waiting}</p>
    </div>
  );
}
