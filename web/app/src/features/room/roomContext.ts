/** What every view of a room shares: the live session and the way to open a file. */
import { createContext, useContext } from 'react';
import { Store } from '../../ui/store';
import type { RoomSession } from './roomSession';

export interface OpenRequest {
  node: string;
  /** Bring this person's caret into view once it is known. */
  follow?: string;
  /** Put the keyboard into the editor. */
  focus?: boolean;
  /** Its versions instead of its text. */
  history?: boolean;
}

/** What a program serves on this port. */
export interface PreviewRequest {
  preview: number;
}

export type Request = OpenRequest | PreviewRequest;

/**
 * Asks the editor area to open files and previews. The area loads after the rest of the page, so requests wait until it is there.
 */
export class Opener {
  /** The file in front, if any. */
  readonly active = new Store<string | null>(null);
  /** How often something was opened. */
  readonly opened = new Store(0);
  private waiting: Request[] = [];
  private handler: ((request: Request) => void) | null = null;

  open(request: Request): void {
    this.opened.set(this.opened.get() + 1);
    if (this.handler) this.handler(request);
    else this.waiting.push(request);
  }

  handle(handler: (request: Request) => void): () => void {
    this.handler = handler;
    for (const request of this.waiting.splice(0)) handler(request);
    return () => {
      if (this.handler === handler) this.handler = null;
    };
  }
}

export interface RoomUi {
  session: RoomSession;
  opener: Opener;
}

export const RoomContext = createContext<RoomUi | null>(null);

export function useRoom(): RoomUi {
  const room = useContext(RoomContext);
  if (!room) throw new Error('useRoom is called inside a room');
  return room;
}
