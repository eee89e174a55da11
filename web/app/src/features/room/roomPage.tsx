/**
 * The page of `/r/<room>`: finds out whether the room exists, asks for a name if this browser has none, then enters.
 * Entering is `workbench.tsx`.
 */
import { Loader, ServerOff } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { Api, ApiError, sentence } from '../../api/client';
import type { Access, Room } from '../../api/types';
import { rememberRoom } from '../../session/recentRooms';
import type { SessionStore } from '../../session/session';
import { useStore } from '../../ui/store';
import { AccessEnded } from './accessEnded';
import { JoinGate } from './joinGate';
import './room.css';
import { RoomGone } from './roomGone';
import { Workbench } from './workbench';

/** While the server cannot be reached, it is asked again this often. */
const RETRY_MS = 2500;

type Found =
  | { is: 'looking' }
  /** `access` is `null` until there is a session to ask about. */
  | { is: 'here'; room: Room; access: Access | null }
  | { is: 'needs-name' }
  | { is: 'gone' }
  | { is: 'refused'; reason: string }
  | { is: 'failed'; problem: string };

export default function RoomPage(props: { id: string; sessions: SessionStore }) {
  const { id, sessions } = props;
  const me = useStore(sessions);
  const ended = useStore(sessions.ended);
  const [found, setFound] = useState<Found>({ is: 'looking' });

  const look = useCallback(async (): Promise<Found> => {
    try {
      if (sessions.guest !== null && sessions.current === null) await sessions.enter(sessions.guest);
      const api = new Api(sessions);
      const room = await api.room(id);
      return { is: 'here', room, access: sessions.current === null ? null : await api.access(id) };
    } catch (error) {
      const refused = error instanceof ApiError && (error.status === 401 || error.status === 403);
      const ended = sessions.ended.get() !== null || (refused && error.status === 403);
      if (refused && (sessions.guest !== null || ended)) return { is: 'refused', reason: sentence(error) };
      if (error instanceof ApiError && error.status === 404) return { is: 'gone' };
      if (error instanceof ApiError && error.status === 401) return { is: 'needs-name' };
      return { is: 'failed', problem: sentence(error) };
    }
  }, [id, sessions]);

  useEffect(() => {
    if (found.is !== 'looking' && found.is !== 'failed') return;
    let left = false;
    const timer = setTimeout(
      async () => {
        const result = await look();
        if (!left) setFound(result);
      },
      found.is === 'failed' ? RETRY_MS : 0,
    );
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [found, look]);

  const room = found.is === 'here' ? found.room : null;
  const access = found.is === 'here' ? found.access : null;
  useEffect(() => {
    if (room && me) rememberRoom(room, Date.now());
  }, [room, me]);

  if (found.is === 'refused') return <AccessEnded reason={found.reason} />;
  // Where the room is open already, the workbench says so, because it knows what was not saved.
  if (ended !== null && access === null) return <AccessEnded reason={ended} />;
  if (found.is === 'gone') return <RoomGone room={id} />;
  if (found.is === 'failed')
    return (
      <main className="page-center">
        <div className="page-message" role="status">
          <ServerOff size={34} strokeWidth={1.3} aria-hidden />
          <h1>The room cannot be opened right now</h1>
          <p>{found.problem}</p>
          <p className="page-retry">
            <Loader size={13} className="spin" aria-hidden /> Trying again by itself…
          </p>
        </div>
      </main>
    );
  if (me === null && found.is !== 'looking')
    return (
      <JoinGate
        title={room?.title ?? null}
        sessions={sessions}
        onJoined={() => setFound({ is: 'looking' })}
      />
    );
  if (!room || !access)
    return (
      <main className="page-center" role="status" aria-label="Opening the room">
        <Loader size={18} className="spin" aria-hidden />
      </main>
    );
  return <Workbench room={room} access={access} sessions={sessions} />;
}
