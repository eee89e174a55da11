/**
 * The key that this browser has for a room's calls. It comes with a link or is pasted, and is remembered until somebody forgets it. A link
 * with another key than the one that is known replaces nothing by itself: whoever sent it could be anybody.
 */
import { Store } from '../../ui/store';
import { keyIn, newKey, withoutKey } from './callKey';

const PLACE = 'buildspaces.callKeys';

export interface Known {
  key: string | null;
  /** Another one, that a link brought. */
  offered: string | null;
}

type Kept = Pick<Storage, 'getItem' | 'setItem'>;

const NOTHING: Known = { key: null, offered: null };

export class CallKeys {
  readonly known: Store<Known>;

  constructor(
    readonly room: string,
    private readonly storage: Kept,
  ) {
    this.known = new Store(read(storage)[room] ?? NOTHING);
  }

  get key(): string | null {
    return this.known.get().key;
  }

  take(key: string): void {
    this.keep({ key, offered: null });
  }

  make(): string {
    const key = newKey();
    this.take(key);
    return key;
  }

  /** What a link brought. */
  offer(offered: string): void {
    const { key } = this.known.get();
    if (key === null || key === offered) this.take(offered);
    else this.keep({ key, offered });
  }

  decline(): void {
    this.keep({ key: this.key, offered: null });
  }

  forget(): void {
    this.keep(NOTHING);
  }

  private keep(known: Known): void {
    this.known.set(known);
    try {
      const { [this.room]: _, ...others } = read(this.storage);
      this.storage.setItem(
        PLACE,
        JSON.stringify(known.key === null ? others : { ...others, [this.room]: known }),
      );
    } catch {
      // Storage is full or forbidden: the key then lives as long as the page.
    }
  }
}

/** Keeps the key of a link, and takes it out of the address at once, so that it is neither shown nor copied with it. */
export function takeCallKey(
  room: string | null,
  at: Pick<Location, 'pathname' | 'hash'>,
  history: Pick<History, 'replaceState'>,
  keys: (room: string) => CallKeys,
): void {
  const key = keyIn(at.hash);
  if (room === null || key === null) return;
  history.replaceState(null, '', at.pathname + withoutKey(at.hash));
  keys(room).offer(key);
}

const pages = new Map<string, CallKeys>();

/** One for each room, in all of the page. */
export function callKeys(room: string): CallKeys {
  const keys = pages.get(room) ?? new CallKeys(room, localStorage);
  pages.set(room, keys);
  return keys;
}

function read(storage: Pick<Storage, 'getItem'>): Record<string, Known> {
  try {
    const all = JSON.parse(storage.getItem(PLACE) ?? '{}') as Record<string, Partial<Known>>;
    const text = (value: unknown) => (typeof value === 'string' && keyIn(`key=${value}`)) || null;
    const known = ({ key, offered }: Partial<Known>): Known => ({ key: text(key), offered: text(offered) });
    return Object.fromEntries(Object.entries(all).map(([room, value]) => [room, known(value)]));
  } catch {
    return {};
  }
}
