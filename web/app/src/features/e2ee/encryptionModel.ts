/** What somebody can do about a room's encrypted calls. Pure. */
import type { RoomSession } from '../room/roomSession';
import { withKey } from './callKey';

/**
 * How the room's calls stand to this page. A page that has a key does not take the server's word that calls are not encrypted: that is a
 * `contradiction`, and the person decides.
 */
export type Standing = 'off' | 'contradiction' | 'unsupported' | 'keyless' | 'offered' | 'ready';

export interface Facts {
  /** What the server says. */
  encrypted: boolean;
  canSeal: boolean;
  key: string | null;
  /** Another key, of a link. */
  offered: string | null;
}

export function standingOf({ encrypted, canSeal, key, offered }: Facts): Standing {
  if (!encrypted) return key === null ? 'off' : 'contradiction';
  if (!canSeal) return 'unsupported';
  if (key === null) return 'keyless';
  return offered === null ? 'ready' : 'offered';
}

export function mayJoin(standing: Standing): boolean {
  return standing === 'off' || standing === 'contradiction' || standing === 'ready';
}

/** A link into the room, with the key where calls are encrypted: whoever follows it can take part. */
export function withKeyOf(session: Pick<RoomSession, 'media' | 'callKeys'>, url: string): string {
  const { key } = session.callKeys;
  return key !== null && session.media.encrypted.get() ? withKey(url, key) : url;
}
