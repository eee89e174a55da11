/** The state of the connection, always in words, with a sign that is not colour alone. */
import { Check, CloudOff, Loader, RefreshCw, TriangleAlert, WifiOff } from 'lucide-react';
import { type Readable, useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import './connection.css';
import type { ConnectionKind, ConnectionView } from './connectionState';

const ICONS: Record<ConnectionKind, typeof Check> = {
  connecting: Loader,
  synced: Check,
  saving: Loader,
  saved: Check,
  reconnecting: RefreshCw,
  offline: WifiOff,
  reconnected: Check,
  gone: TriangleAlert,
};
const SPINNING: readonly ConnectionKind[] = ['connecting', 'saving', 'reconnecting'];

export function ConnectionBadge(props: { connection: Readable<ConnectionView> }) {
  const view = useStore(props.connection);
  const Icon = ICONS[view.kind] ?? CloudOff;
  return (
    <div role="status">
      <Tip text={view.detail}>
        {/* A button, so that its explanation can be reached by keyboard. */}
        <button
          type="button"
          className="connection"
          data-state={view.kind}
          data-unsaved={view.unsaved}
          data-testid="connection"
        >
          <Icon size={13} className={SPINNING.includes(view.kind) ? 'spin' : undefined} aria-hidden />
          <span>{view.text}</span>
        </button>
      </Tip>
    </div>
  );
}
