/** True while nothing of the call gets through: what is shown of others is how they were. */
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';

export function useLost(): boolean {
  const { call, media } = useRoom().session;
  const { interrupted } = useStore(call.state);
  return useStore(media.state) !== 'online' || interrupted;
}
