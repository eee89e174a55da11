/** A file's live session, for as long as a view of it is on screen. */
import { useEffect, useState } from 'react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import type { FileSession } from './fileSessions';

/** `null` until it is there. It becomes another one when the file is opened anew. */
export function useHeldFile(id: string | null): FileSession | null {
  const { session } = useRoom();
  const open = useStore(session.files.open);
  const [held, setHeld] = useState<string | null>(null);
  useEffect(() => {
    if (id === null) return;
    session.files.hold(id);
    setHeld(id);
    return () => {
      setHeld(null);
      session.files.release(id);
    };
  }, [id, session]);
  return held === null ? null : (open.find((file) => file.node === held) ?? null);
}
