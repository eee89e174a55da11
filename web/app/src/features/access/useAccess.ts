/** What this person may do in the room, as views ask it. */
import type { Access, Capability } from '../../api/types';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { may } from './access';

export function useAccess(): Access {
  return useStore(useRoom().session.access);
}

export function useMay(capability: Capability): boolean {
  return may(useAccess(), capability);
}
