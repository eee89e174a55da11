/** The rooms this browser opened last, kept in local storage. The list is a convenience: the server knows nothing of it. */
import type { Room } from '../api/types';

const KEY = 'buildspaces.recent';
/** Older ones fall off the end. */
const MAX_RECENT = 8;

export interface RecentRoom {
  id: string;
  title: string;
  template: string;
  /** Unix milliseconds of this browser's clock. */
  openedAt: number;
}

type Storage_ = Pick<Storage, 'getItem' | 'setItem'>;

export function recentRooms(storage: Storage_ = localStorage): RecentRoom[] {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? '[]');
    return Array.isArray(value) ? value.filter(isRecent) : [];
  } catch {
    return [];
  }
}

export function rememberRoom(room: Room, now: number, storage: Storage_ = localStorage): void {
  const entry = { id: room.id, title: room.title, template: room.template, openedAt: now };
  write([entry, ...recentRooms(storage).filter((r) => r.id !== room.id)].slice(0, MAX_RECENT), storage);
}

export function forgetRoom(id: string, storage: Storage_ = localStorage): void {
  write(
    recentRooms(storage).filter((r) => r.id !== id),
    storage,
  );
}

function write(rooms: RecentRoom[], storage: Storage_): void {
  try {
    storage.setItem(KEY, JSON.stringify(rooms));
  } catch {
    // Without storage there is no list; nothing else depends on it.
  }
}

function isRecent(value: unknown): value is RecentRoom {
  const room = value as RecentRoom | null;
  return typeof room?.id === 'string' && typeof room.title === 'string' && typeof room.openedAt === 'number';
}
