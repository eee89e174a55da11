/** "Run now" as one action for the button and the shortcut, with what it is doing and why it was refused. */
import { useCallback } from 'react';
import { sentence } from '../../api/client';
import { Store, useStore } from '../../ui/store';
import { may } from '../access/access';
import { useRoom } from '../room/roomContext';

interface Start {
  busy: boolean;
  problem: string | null;
}

/** Shared by every place that can start a run: there is one room in a page. */
const state = new Store<Start>({ busy: false, problem: null });

export function useStartRun() {
  const { session } = useRoom();
  const { busy, problem } = useStore(state);
  const start = useCallback(async () => {
    if (state.get().busy || session.sandbox.get().state === 'off') return;
    if (!may(session.access.get(), 'run')) return;
    state.set({ busy: true, problem: null });
    try {
      await session.api.startRun(session.room.id);
      state.set({ busy: false, problem: null });
    } catch (error) {
      state.set({ busy: false, problem: sentence(error) });
    }
  }, [session]);
  const dismiss = useCallback(() => state.set({ busy: false, problem: null }), []);
  return { start: () => void start(), busy, problem, dismiss };
}
