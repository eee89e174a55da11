/**
 * A guest link: `/r/<room>#token=<token>`. The token is taken out of the address at once, so that it is neither shown nor copied
 * with it, and kept for this tab, so that a reload stays in the room.
 */
const KEY = 'buildspaces.guest';

type Kept = Pick<Storage, 'getItem' | 'setItem'>;

/** The token that lets this tab into the room of its address, or `null`. */
export function takeGuestToken(
  room: string | null,
  at: Pick<Location, 'pathname' | 'hash'>,
  history: Pick<History, 'replaceState'>,
  storage: Kept,
): string | null {
  if (room === null) return null;
  const token = tokenIn(at.hash);
  if (token === null) return kept(room, storage);
  history.replaceState(null, '', at.pathname);
  try {
    storage.setItem(KEY, JSON.stringify({ room, token }));
  } catch {
    // Storage is full or forbidden: the token then lives as long as the page.
  }
  return token;
}

export function tokenIn(hash: string): string | null {
  return new URLSearchParams(hash.replace(/^#/, '')).get('token') || null;
}

function kept(room: string, storage: Kept): string | null {
  try {
    const value = JSON.parse(storage.getItem(KEY) ?? 'null') as { room?: unknown; token?: unknown } | null;
    return value?.room === room && typeof value.token === 'string' ? value.token : null;
  } catch {
    return null;
  }
}
