/** The lower part of a room: runs or terminals, behind two tabs. Both stay as they were while the other is in front. */
import { ListChecks, SquareTerminal } from 'lucide-react';
import { type KeyboardEvent, useState } from 'react';
import { useStore } from '../../ui/store';
import { RunsPanel } from '../runs/runsPanel';
import { TerminalPanel } from '../terminal/terminalPanel';
import { useRoom } from './roomContext';

const TABS = [
  { id: 'runs', label: 'Runs', icon: ListChecks },
  { id: 'terminal', label: 'Terminal', icon: SquareTerminal },
] as const;

type TabId = (typeof TABS)[number]['id'];

/** For this tab of the browser only, so that a reload shows what was in front. */
const KEY = 'buildspaces.lower';

export function LowerPanel() {
  const [front, setFront] = useState<TabId>(sessionStorage.getItem(KEY) === 'terminal' ? 'terminal' : 'runs');
  const choose = (id: TabId) => {
    sessionStorage.setItem(KEY, id);
    setFront(id);
  };
  const tabs = <Tabs front={front} onChoose={choose} />;
  return (
    <div className="lower-panel" data-testid="lower">
      <RunsPanel tabs={front === 'runs' && tabs} visible={front === 'runs'} />
      <TerminalPanel tabs={front === 'terminal' && tabs} visible={front === 'terminal'} />
    </div>
  );
}

function Tabs(props: { front: TabId; onChoose: (id: TabId) => void }) {
  const { session } = useRoom();
  const terminals = useStore(session.terminals).length;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    event.preventDefault();
    props.onChoose(props.front === 'runs' ? 'terminal' : 'runs');
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
          {tab.id === 'terminal' && terminals > 0 && <span className="lower-count">{terminals}</span>}
        </button>
      ))}
    </div>
  );
}
