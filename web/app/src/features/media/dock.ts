/** What one room's page shows large of a call, and where. The place is remembered in this browser, the picture is not. It renders nothing. */
import { Store } from '../../ui/store';
import { type Box, type Layout, type Place, readLayout } from './dockModel';
import type { Layer } from './mediaModel';

/** A window of its own: one that the page draws into, or the browser's for a video. */
export type Popped = { kind: 'document'; window: Window } | { kind: 'video' };

export class Dock {
  readonly layout: Store<Layout>;
  /** The tile that is shown large; `null`: none. */
  readonly chosen = new Store<string | null>(null);
  /** How large it is shown. */
  readonly layer = new Store<Layer>('high');
  readonly popped = new Store<Popped | null>(null);
  private readonly key: string;

  constructor(room: string) {
    this.key = `buildspaces.dock.${room}`;
    this.layout = new Store(readLayout(localStorage.getItem(this.key)));
  }

  put(place: Place): void {
    this.keep({ ...this.layout.get(), place });
    this.comeBack();
  }

  move(box: Box): void {
    this.keep({ ...this.layout.get(), box });
  }

  choose(tile: string | null): void {
    this.chosen.set(tile);
    if (tile === null) this.comeBack();
  }

  /** Out of the window of its own, if it is in one. */
  comeBack(): void {
    const popped = this.popped.get();
    if (popped === null) return;
    this.popped.set(null);
    if (popped.kind === 'document') popped.window.close();
    else if (document.pictureInPictureElement) void document.exitPictureInPicture().catch(() => undefined);
  }

  private keep(layout: Layout): void {
    this.layout.set(layout);
    try {
      localStorage.setItem(this.key, JSON.stringify(layout));
    } catch {
      // Without storage the place is not remembered; nothing else depends on it.
    }
  }
}
