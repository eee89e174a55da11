/** The lower part of a room: runs, terminals or git, behind tabs. Each stays as it was while another is in front. */
import { GitBranch, ListChecks, SquareTerminal } from 'lucide-react';
import { type KeyboardEvent, useState } from 'react';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import { GitPanel } from '../git/gitPanel';
import { useGit } from '../git/useGit';
import { RunsPanel } from '../runs/runsPanel';
import { TerminalPanel } from '../terminal/terminalPanel';
import { useRoom } from './roomContext';

const TABS = [
  { id: 'runs', label: 'Runs', icon: ListChecks },
  { id: 'terminal', label: 'Terminal', icon: SquareTerminal },
  { id: 'changes', label: 'Changes', icon: GitBranch },
] as const;

type TabId = (typeof TABS)[number]['id'];

/** For this tab of the browser only, so that a reload shows what was in front. */
const KEY = 'buildspaces.lower';

export function LowerPanel() {
  const { session } = useRoom();
  const [front, setFront] = useState<TabId>(remembered);
  const off = useStore(session.sandbox).state === 'off';
  const may = useMay('git');
  const git = useGit(session, front === 'changes' && may && !off);
  const choose = (id: TabId) => {
    sessionStorage.setItem(KEY, id);
    setFront(id);
  };
  const changes = git.repository?.changes.length ?? 0;
  const tabs = <Tabs front={front} changes={changes} onChoose={choose} />;
  return (
    <div className="lower-panel" data-testid="lower">
      <RunsPanel tabs={front === 'runs' && tabs} visible={front === 'runs'} />
      <TerminalPanel tabs={front === 'terminal' && tabs} visible={front === 'terminal'} />
      <GitPanel tabs={front === 'changes' && tabs} visible={front === 'changes'} git={git} />
    </div>
  );
}

function remembered(): TabId {
  const kept = sessionStorage.getItem(KEY);
  return TABS.find((tab) => tab.id === kept)?.id ?? 'runs';
}

function Tabs(props: { front: TabId; changes: number; onChoose: (id: TabId) => void }) {
  const { session } = useRoom();
  const terminals = useStore(session.terminals).length;
  const counts: Record<TabId, number> = { runs: 0, terminal: terminals, changes: props.changes };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    event.preventDefault();
    const step = event.key === 'ArrowLeft' ? TABS.length - 1 : 1;
    const at = TABS.findIndex((tab) => tab.id === props.front);
    props.onChoose(TABS[(at + step) % TABS.length]?.id ?? 'runs');
    // The tabs move to the other panel's head.
    requestAnimationFrame(() =>
      document.querySelector<HTMLElement>('.lower-tabs [aria-selected="true"]')?.focus(),
    );
  };
  return (
    <div className="lower-tabs" role="tablist" aria-label="Lower panel" onKeyDown={onKeyDown}>
      {TABS.map((tab) => (
        <button
          key={tab.id}
          type="button"
          role="tab"
          aria-selected={props.front === tab.id}
          aria-controls={`lower-${tab.id}`}
          tabIndex={props.front === tab.id ? 0 : -1}
          data-testid={`lower-${tab.id}`}
          onClick={() => props.onChoose(tab.id)}
        >
          <tab.icon size={13} aria-hidden />
          {tab.label}
          {counts[tab.id] > 0 && <span className="lower-count">{counts[tab.id]}</span>}
        </button>
      ))}
    </div>
  );
}
