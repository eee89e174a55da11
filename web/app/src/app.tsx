/** Chooses the page for the address. The room is a chunk of its own, so that the start page stays small. */
import { Suspense } from 'react';
import { Lobby } from './features/lobby/lobby';
import { route } from './router';
import type { SessionStore } from './session/session';
import { ErrorBoundary } from './ui/errorBoundary';
import { lazily } from './ui/lazily';
import { useStore } from './ui/store';
import { Toasts } from './ui/toast';

const RoomPage = lazily('The room', () => import('./features/room/roomPage'));

export function App(props: { sessions: SessionStore }) {
  const at = useStore(route);
  return (
    <ErrorBoundary>
      {at.page === 'lobby' && <Lobby sessions={props.sessions} />}
      {at.page === 'room' && (
        <Suspense fallback={null}>
          <RoomPage key={at.room} id={at.room} sessions={props.sessions} />
        </Suspense>
      )}
      {at.page === 'unknown' && (
        <main className="page-center">
          <div className="failed-page">
            <h1>There is nothing at this address</h1>
            <p>Rooms are at addresses such as /r/abc123.</p>
            <a className="button" data-kind="primary" href="/">
              Go to the start page
            </a>
          </div>
        </main>
      )}
      <Toasts />
    </ErrorBoundary>
  );
}
