/**
 * What this machine does for documents besides the server: a store keeps them, and other tabs of the same account are told at once what is written
 * here, with or without a connection.
 *
 * **Invariant:** whatever comes into a document, from here, from the server or from another tab, is appended to its store in the order in which it
 * came, so that nothing in the log builds on what is not there. Where that cannot be held (no room, cleared by the user) the whole document
 * is written as soon as it can be, or, if everything in it is saved, when it changes next; until then `isKept` is false.
 */
import type { RoomClient } from './client.js';
import { Core } from './core.js';
import type { Doc } from './document.js';
import type { Store } from './store.js';
import { channelOf } from './tabs.js';

/** A store that takes longer is not waited for: the document is fetched from the server as if there were none. */
const LOAD_MS = 5_000;

/** Most bytes of changes that wait to be written; past it the whole document is written instead. */
const MAX_WAITING_BYTES = 4 << 20;

/** After a failure the whole document is tried again this much later. */
const RETRY_MS = 10_000;

/** Results of `Core.restore`. */
const CHANGED = 1;
const MISSING = 2;

/** Why something is not kept. */
export type StorageCause = 'quota' | 'unavailable' | 'failed';

/** `isAway`: the server may not have it, and never get it from the tab that says it. `forgotten`: the document's log was deleted. */
type Said =
  | { kind: 'update'; document: string; update: Uint8Array; isAway: boolean }
  | { kind: 'want'; document: string; vector: Uint8Array; tab: string }
  | { kind: 'have'; document: string; update: Uint8Array; to: string; isAway: boolean }
  | { kind: 'forgotten'; document: string };

interface Record {
  doc: Doc;
  loading: Promise<void>;
  /** To be written, and whether there is something of ours in it. */
  queue: Uint8Array[];
  bytes: number;
  isOurs: boolean;
  isWriting: boolean;
  /** The log lacks something: the whole document has to be written. */
  isTorn: boolean;
  /** The log was deleted, and nothing is to be written before the document changes: whoever deleted it did not want it here. */
  isCleared: boolean;
  /** Nothing can be kept in this page at all. */
  isHopeless: boolean;
  /** What the log has and the document cannot take yet, because it builds on what only the server has. */
  early: Uint8Array[];
  hasAsked: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Applies updates in whatever order they can be. Returns how many changed something, which are too early, and what was wrong with others. */
function integrate(core: Core, doc: number, updates: Uint8Array[]): { changed: number; early: Uint8Array[]; error: unknown } {
  let [changed, early, error] = [0, updates, undefined as unknown];
  for (let before = -1; early.length > 0 && early.length !== before; ) {
    before = early.length;
    early = early.filter((update) => {
      try {
        const result = core.restore(doc, update);
        if (result === CHANGED) changed += 1;
        return result === MISSING;
      } catch (problem) {
        // No document will ever take it.
        if (problem instanceof WebAssembly.RuntimeError) throw problem;
        error = problem;
        return false;
      }
    });
  }
  return { changed, early, error };
}

function merge(updates: Uint8Array[]): Uint8Array[] {
  const core = new Core(1, 1, 0, () => undefined);
  try {
    const doc = core.open(0, '', false);
    const { early } = integrate(core, doc, updates);
    return [core.state(doc), ...early];
  } finally {
    core.free();
  }
}

const UNTIL = 'what is written without a connection is lost when this page is closed';

function explain(error: unknown): { cause: StorageCause; reason: string } {
  const { name = '', message = '' } = error instanceof Error ? error : {};
  if (name === 'QuotaExceededError') return { cause: 'quota', reason: `this site may keep no more on this device: ${UNTIL}` };
  if (['SecurityError', 'NotSupportedError', 'InvalidStateError'].includes(name))
    return {
      cause: 'unavailable',
      reason: `this browser keeps nothing for this page (a private window, or storage is blocked): ${UNTIL}`,
    };
  return { cause: 'failed', reason: `this device does not keep this document (${message || String(error)}): ${UNTIL}` };
}

/** Whoever has the connection will not send what another tab wrote; this one would. */
const isAway = (doc: Doc): boolean => doc.state !== 'synced' && doc.state !== 'saved';

export class Local {
  readonly #client: RoomClient;
  readonly #store: Store | null;
  readonly #records = new Map<string, Record>();
  readonly #tab = crypto.randomUUID();
  #channel: BroadcastChannel | null;
  /** Documents that were closed and are being written. */
  readonly #last = new Set<Promise<unknown>>();
  /** Documents that are being forgotten: whoever opens one anew waits for it. */
  readonly #forgetting = new Map<string, Promise<unknown>>();
  readonly #onHide = () => {
    for (const record of this.#records.values()) this.#hurry(record);
  };

  /** `tabs` names what other tabs of the same account have in common with this one; `null` if they are to hear nothing. */
  constructor(client: RoomClient, store: Store | null, tabs: string | null) {
    this.#client = client;
    this.#store = store;
    this.#channel = tabs === null ? null : channelOf(`${tabs} documents`);
    if (this.#channel) this.#channel.onmessage = ({ data }: MessageEvent<Said>) => this.#heard(data);
    globalThis.addEventListener?.('pagehide', this.#onHide);
    if (store) {
      store.onCleared = () => {
        for (const record of this.#records.values()) this.#cleared(record);
      };
    }
  }

  opened(doc: Doc): void {
    const record: Record = {
      doc,
      loading: Promise.resolve(),
      queue: [],
      bytes: 0,
      isOurs: false,
      isWriting: false,
      isTorn: false,
      isCleared: false,
      isHopeless: this.#store === null,
      early: [],
      hasAsked: false,
      timer: undefined,
    };
    this.#records.set(doc.name, record);
    record.loading = this.#load(record);
  }

  /** Resolves when what was kept is in the document, or will not be. */
  loaded(doc: Doc): Promise<void> {
    return this.#records.get(doc.name)?.loading ?? Promise.resolve();
  }

  /** As `loaded`, but not for ever. */
  async patience(doc: Doc): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((end) => {
      timer = setTimeout(end, LOAD_MS);
    });
    await Promise.race([this.loaded(doc), late]);
    clearTimeout(timer);
  }

  /** Something came into a document. */
  changed(doc: Doc, update: Uint8Array, isOurs: boolean): void {
    if (isOurs) this.#say({ kind: 'update', document: doc.name, update, isAway: isAway(doc) });
    const record = this.#records.get(doc.name);
    if (!record) return;
    this.#keep(record, update, isOurs);
    if (!isOurs) this.#retryEarly(record);
  }

  /** A document stands otherwise with the server. */
  stateChanged(doc: Doc): void {
    const record = this.#records.get(doc.name);
    if (!record || isAway(doc)) return;
    this.#retryEarly(record);
    this.#settle(record);
  }

  /** A document is about to be closed. */
  closed(doc: Doc): void {
    const record = this.#records.get(doc.name);
    if (!record) return;
    clearTimeout(record.timer);
    this.#hurry(record);
    this.#records.delete(doc.name);
  }

  /** Keeps a document no longer; it must not be open. */
  async forget(document: string): Promise<void> {
    const forgotten = Promise.allSettled(this.#last).then(() => this.#store?.forget?.(document));
    const over = forgotten.catch(() => undefined);
    this.#forgetting.set(document, over);
    await over;
    if (this.#forgetting.get(document) === over) this.#forgetting.delete(document);
    await forgotten;
    this.#say({ kind: 'forgotten', document });
  }

  close(): void {
    globalThis.removeEventListener?.('pagehide', this.#onHide);
    this.#channel?.close();
    this.#channel = null;
    const store = this.#store;
    void Promise.allSettled(this.#last).then(() => store?.close());
  }

  async #load(record: Record): Promise<void> {
    const { doc } = record;
    try {
      await this.#forgetting.get(doc.name);
      const kept = await this.#store?.load(doc.name);
      if (doc.isClosed) return;
      if (kept) {
        if (kept.updates.length > 0) this.#take(record, kept.updates, kept.isUnsaved);
        if (!record.isTorn) doc.setKept(true);
        doc.emit('restored', { updates: kept.updates.length });
      }
    } catch (error) {
      this.#failed(record, error);
    }
    this.#ask(record);
  }

  /** What was kept, or another tab has, comes into the document. */
  #take(record: Record, updates: Uint8Array[], isUnsaved: boolean): boolean {
    const { doc } = record;
    if (doc.isClosed) return false;
    const { changed, early, error } = this.#client.happened((core) => {
      const result = integrate(core, doc.id, updates);
      if (isUnsaved && result.changed > 0) core.restored(doc.id);
      return result;
    }) ?? { changed: 0, early: [], error: undefined };
    record.early.push(...early);
    if (error !== undefined) doc.emit('error', { error });
    if (changed > 0) doc.tellChanges();
    return changed > 0;
  }

  #retryEarly(record: Record): void {
    const { early } = record;
    if (early.length === 0) return;
    record.early = [];
    this.#take(record, early, true);
  }

  #keep(record: Record, update: Uint8Array, isOurs: boolean): void {
    if (record.isHopeless) return;
    record.isOurs ||= isOurs;
    record.isCleared = false;
    if (!record.isTorn) {
      record.queue.push(update);
      record.bytes += update.length;
      if (record.bytes > MAX_WAITING_BYTES) this.#tear(record);
    }
    if (record.timer === undefined) void this.#write(record);
  }

  #tear(record: Record): void {
    record.isTorn = true;
    record.queue = [];
    record.bytes = 0;
  }

  /** What is to be written next, which then counts as written. */
  #next(record: Record): { updates: Uint8Array[]; isOurs: boolean } | null {
    if (record.isHopeless || record.isCleared || (record.queue.length === 0 && !record.isTorn)) return null;
    const updates = record.isTorn ? [record.doc.encodeState(), ...record.early] : record.queue;
    // What was said to be ours may have been said of a log that is gone.
    const isOurs = record.isOurs || (record.isTorn && record.doc.unsavedChanges > 0);
    Object.assign(record, { queue: [], bytes: 0, isOurs: false, isTorn: false });
    return { updates, isOurs };
  }

  async #write(record: Record): Promise<void> {
    const store = this.#store;
    if (!store || record.isWriting) return;
    record.isWriting = true;
    const { doc } = record;
    try {
      await record.loading;
      for (let next = this.#next(record); next && !doc.isClosed; next = this.#next(record)) {
        try {
          await store.append(doc.name, next.updates, next.isOurs);
        } catch (error) {
          record.isOurs ||= next.isOurs;
          throw error;
        }
      }
      if (!record.isTorn) doc.setKept(!record.isHopeless);
      // A log that stays long is no harm.
      await store.compact?.(doc.name, merge).catch(() => undefined);
    } catch (error) {
      this.#failed(record, error);
    } finally {
      record.isWriting = false;
    }
    this.#settle(record);
    if (record.queue.length > 0 && record.timer === undefined) void this.#write(record);
  }

  /** Writes what waits without waiting for what is being written: the page, or the document, is about to go. */
  #hurry(record: Record): void {
    let next: { updates: Uint8Array[]; isOurs: boolean } | null = null;
    try {
      next = this.#next(record);
    } catch {
      // The client came to an end by an error of its own.
    }
    if (!next || !this.#store) return;
    const { doc } = record;
    const { isOurs } = next;
    const writing = this.#store
      .append(doc.name, next.updates, isOurs)
      .catch((error: unknown) => {
        record.isOurs ||= isOurs;
        this.#failed(record, error);
      })
      .finally(() => this.#last.delete(writing));
    this.#last.add(writing);
  }

  /** Nothing of the document is this machine's alone: the store may know. */
  #settle(record: Record): void {
    const { doc } = record;
    if (doc.state !== 'saved' || record.isHopeless || record.isTorn || record.isWriting || record.queue.length > 0) return;
    this.#store?.saved?.(doc.name).catch(() => undefined);
  }

  #failed(record: Record, error: unknown): void {
    const { cause, reason } = explain(error);
    record.isHopeless = cause === 'unavailable';
    this.#tear(record);
    if (record.doc.isClosed) return;
    record.doc.setKept(false, cause, reason);
    if (record.isHopeless) return;
    clearTimeout(record.timer);
    record.timer = setTimeout(() => {
      record.timer = undefined;
      if (!record.doc.isClosed) void this.#write(record);
    }, RETRY_MS);
  }

  /** The log was deleted. What no server has is written again; the rest waits for a change. */
  #cleared(record: Record): void {
    if (record.isHopeless || record.doc.isClosed) return;
    record.isCleared = record.doc.unsavedChanges === 0;
    this.#failed(record, new Error('what it kept was deleted'));
  }

  /** Asks other tabs for what this one lacks. */
  #ask(record: Record): void {
    const { doc } = record;
    if (doc.isClosed || !this.#channel) return;
    record.hasAsked = true;
    this.#say({ kind: 'want', document: doc.name, vector: doc.encodeStateVector(), tab: this.#tab });
  }

  #heard(said: Said): void {
    const record = this.#records.get(said.document);
    if (!record || record.doc.isClosed) return;
    const { doc } = record;
    if (said.kind === 'forgotten') return this.#cleared(record);
    if (said.kind === 'want') {
      const update = doc.diff(said.vector);
      // Two bytes say "nothing".
      if (update.length > 2) this.#say({ kind: 'have', document: doc.name, update, to: said.tab, isAway: isAway(doc) });
      return;
    }
    if (said.kind === 'have') {
      if (said.to !== this.#tab) return;
      record.hasAsked = false;
    }
    const isOurs = isAway(doc) || said.isAway;
    const before = record.early.length;
    if (this.#take(record, [said.update], isOurs)) {
      this.#keep(record, said.update, isOurs);
      doc.emit('update', { update: said.update, isLocal: false });
    }
    if (record.early.length > before) {
      // It will come again with what it builds on.
      record.early.length = before;
      if (!record.hasAsked) this.#ask(record);
    }
  }

  #say(said: Said): void {
    this.#channel?.postMessage(said);
  }
}
