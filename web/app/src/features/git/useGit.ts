/**
 * What git says of the room, looked at again when something may have changed: the panel comes to the front, a file that is open here is
 * edited by anybody, files come or go, a run ends. Nothing is asked while the panel is not looked at, because asking starts the sandbox.
 */
import { useCallback, useEffect, useRef, useState } from 'react';
import { sentence } from '../../api/client';
import type { Repository } from '../../api/types';
import type { RoomSession } from '../room/roomSession';

/** How long edits may go on before git is asked. */
const QUIET_MS = 1200;

/** How often a repository that is on its way is asked about. */
const CLONING_MS = 1000;

export interface Git {
  /** `null` until it is known for the first time. */
  repository: Repository | null;
  problem: string | null;
  looking: boolean;
  look: () => void;
  /** What an action answered. */
  show: (repository: Repository) => void;
}

export function useGit(session: RoomSession, active: boolean): Git {
  const [repository, setRepository] = useState<Repository | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [looking, setLooking] = useState(false);
  const asked = useRef(0);

  const look = useCallback(async () => {
    const serial = ++asked.current;
    setLooking(true);
    try {
      const found = await session.api.repository(session.room.id);
      if (serial !== asked.current) return;
      setRepository(found);
      setProblem(null);
    } catch (error) {
      if (serial !== asked.current) return;
      setProblem(sentence(error));
    }
    setLooking(false);
  }, [session]);

  const show = useCallback((found: Repository) => {
    asked.current++;
    setRepository(found);
    setProblem(null);
    setLooking(false);
  }, []);

  useEffect(() => {
    if (active) void look();
  }, [active, look]);

  const cloning = repository?.state === 'cloning';
  useEffect(() => {
    if (!active || !cloning) return;
    const timer = setInterval(() => void look(), CLONING_MS);
    return () => clearInterval(timer);
  }, [active, cloning, look]);

  useEffect(() => {
    if (!active) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(() => void look(), QUIET_MS);
    };
    let files: (() => void)[] = [];
    const follow = () => {
      for (const stop of files) stop();
      files = session.files.open.get().map(({ session: { doc } }) => {
        doc.on('update', later);
        return () => doc.off('update', later);
      });
    };
    follow();
    const stops = [
      session.files.open.subscribe(follow),
      session.tree.subscribe(later),
      session.runs.subscribe(later),
    ];
    window.addEventListener('focus', later);
    return () => {
      clearTimeout(timer);
      window.removeEventListener('focus', later);
      for (const stop of [...files, ...stops]) stop();
    };
  }, [active, session, look]);

  return { repository, problem, looking, look: () => void look(), show };
}
