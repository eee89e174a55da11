/** What a link to a room that does not exist shows. */
import { DoorClosed } from 'lucide-react';
import { useEffect } from 'react';
import { forgetRoom } from '../../session/recentRooms';

export function RoomGone(props: { room: string }) {
  useEffect(() => forgetRoom(props.room), [props.room]);
  return (
    <main className="page-center" data-testid="room-not-found">
      <div className="page-message">
        <DoorClosed size={34} strokeWidth={1.3} aria-hidden />
        <h1>There is no room here</h1>
        <p>
          The link may have been cut when it was copied, or the room was removed. Ask for the link again, or
          begin a new room.
        </p>
        <a className="button" data-kind="primary" data-testid="back-to-lobby" href="/">
          Go to the start page
        </a>
      </div>
    </main>
  );
}
