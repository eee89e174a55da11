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
  /** How often the server did not take an edit: each time this person may have other rights than the page knows. */
  readonly refused = new Store(0);

  constructor(
    private readonly room: string,
    private readonly sessions: SessionStore,
  ) {}

  /** The file's session, held until `release`. */
  hold(node: string): FileSession {
    const file = this.find(node) ?? this.begin(node);
    file.holders += 1;
    this.open.set([...this.open.get().filter((other) => other !== file), file]);
    return file;
  }

  /** Begins anew with what the server has. What was typed here and not taken is gone. */
  reopen(node: string): void {
    const old = this.find(node);
    if (!old) return;
    const file = this.begin(node);
    file.holders = old.holders;
    this.open.set(this.open.get().map((other) => (other === old ? file : other)));
    old.destroy();
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

  private begin(node: string): FileSession {
    const file = new FileSession(node, `${this.room}/file:${node}`, this.sessions);
    let told: string | null = null;
    const stop = file.session.state.subscribe(() => {
      const { refused } = file.session.state.get();
      if (refused !== null && refused !== told) this.refused.set(this.refused.get() + 1);
      told = refused;
    });
    file.cleanups.push(stop);
    return file;
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
