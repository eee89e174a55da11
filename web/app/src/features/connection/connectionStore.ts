/** Watches a room's documents and the browser's network and holds what they amount to. See `connectionState.ts`. */
import type { Access } from '../../api/types';
import { type Readable, Store } from '../../ui/store';
import { may } from '../access/access';
import { type ConnectionView, describe } from './connectionState';
import type { DocSession } from './docSession';

/** How long "Reconnected" stands before it becomes "Saved" or "Synced". */
const RETURNED_MS = 4000;

export class ConnectionStore extends Store<ConnectionView> {
  private files: readonly DocSession[] = [];
  private readonly unsubscribe = new Map<DocSession, () => void>();
  private readonly stopAccess: () => void;
  private returnedTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly room: readonly DocSession[],
    private readonly access: Readable<Access>,
  ) {
    super(
      describe({ room: [], files: [], browserOnline: navigator.onLine, mayEdit: true, justReturned: false }),
    );
    for (const doc of room) this.watch(doc);
    this.stopAccess = access.subscribe(this.update);
    window.addEventListener('online', this.update);
    window.addEventListener('offline', this.update);
    this.update();
  }

  setFiles(files: readonly DocSession[]): void {
    for (const doc of this.files) if (!files.includes(doc)) this.unwatch(doc);
    for (const doc of files) if (!this.files.includes(doc)) this.watch(doc);
    this.files = files;
    this.update();
  }

  destroy(): void {
    window.removeEventListener('online', this.update);
    window.removeEventListener('offline', this.update);
    for (const stop of this.unsubscribe.values()) stop();
    this.stopAccess();
    if (this.returnedTimer) clearTimeout(this.returnedTimer);
  }

  private watch(doc: DocSession): void {
    this.unsubscribe.set(doc, doc.state.subscribe(this.update));
  }

  private unwatch(doc: DocSession): void {
    this.unsubscribe.get(doc)?.();
    this.unsubscribe.delete(doc);
  }

  private update = (): void => {
    const before = this.get().kind;
    let view = this.describe();
    const wasAway = before === 'reconnecting' || before === 'offline';
    const back = view.kind === 'saving' || view.kind === 'saved' || view.kind === 'synced';
    if (wasAway && back) {
      if (this.returnedTimer) clearTimeout(this.returnedTimer);
      this.returnedTimer = setTimeout(() => {
        this.returnedTimer = null;
        this.update();
      }, RETURNED_MS);
      view = this.describe();
    }
    const same = view.text === this.get().text && view.kind === before && view.unsaved === this.get().unsaved;
    if (!same) this.set(view);
  };

  private describe(): ConnectionView {
    return describe({
      room: this.room.map((doc) => doc.state.get()),
      files: this.files.map((doc) => doc.state.get()),
      browserOnline: navigator.onLine,
      mayEdit: may(this.access.get(), 'edit_documents'),
      justReturned: this.returnedTimer !== null,
    });
  }
}
