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

/**
 * Asks the editor area to open files. The area loads after the rest of the page, so requests wait until it is there.
 */
export class Opener {
  /** The file in front, if any. */
  readonly active = new Store<string | null>(null);
  private waiting: OpenRequest[] = [];
  private handler: ((request: OpenRequest) => void) | null = null;

  open(request: OpenRequest): void {
    if (this.handler) this.handler(request);
    else this.waiting.push(request);
  }

  handle(handler: (request: OpenRequest) => void): () => void {
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
