/**
 * The file documents that are open in this page. A tab holds its file; a file without a tab stays for a while, so that coming
 * back to it is instant and its undo is still there. A file with unsaved edits is never let go.
 */
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { DocSession } from '../connection/docSession';

/** Files kept open without a tab; the one left longest ago goes first. */
const MAX_IDLE = 4;

export class FileSession {
  readonly session: DocSession;
  holders = 0;
  /** Runs when the file is let go; the editor puts its model here. */
  readonly cleanups: (() => void)[] = [];

  constructor(
    readonly node: string,
    name: string,
    sessions: SessionStore,
  ) {
    this.session = new DocSession(name, sessions);
  }

  destroy(): void {
    for (const cleanup of this.cleanups) cleanup();
    this.session.destroy();
  }
}

export class FileSessions {
  /** In order of last use, for `evict`. */
  readonly open = new Store<readonly FileSession[]>([]);

  constructor(
    private readonly room: string,
    private readonly sessions: SessionStore,
  ) {}

  /** The file's session, held until `release`. */
  hold(node: string): FileSession {
    const file = this.find(node) ?? new FileSession(node, `${this.room}/file:${node}`, this.sessions);
    file.holders += 1;
    this.open.set([...this.open.get().filter((other) => other !== file), file]);
    return file;
  }

  release(node: string): void {
    const file = this.find(node);
    if (!file) return;
    file.holders -= 1;
    if (file.holders === 0) file.session.awareness.setLocalStateField('sel', null);
    this.evict();
  }

  find(node: string): FileSession | undefined {
    return this.open.get().find((file) => file.node === node);
  }

  destroy(): void {
    for (const file of this.open.get()) file.destroy();
    this.open.set([]);
  }

  private evict(): void {
    const idle = this.open.get().filter((file) => file.holders === 0);
    const gone = idle.filter((file) => file.session.state.get().link === 'gone');
    const saved = idle.filter((file) => !gone.includes(file) && file.session.state.get().unsaved === 0);
    const surplus = saved.slice(0, Math.max(0, idle.length - gone.length - MAX_IDLE));
    const leaving = [...gone, ...surplus];
    if (leaving.length === 0) return;
    this.open.set(this.open.get().filter((file) => !leaving.includes(file)));
    for (const file of leaving) file.destroy();
  }
}
