/** One document: its types, transactions, undo, presence, and how it stands with the server. */
import type { RoomClient } from './client.js';
import { type Core, now } from './core.js';
import type { StorageCause } from './local.js';
import {
  ARRAY,
  type Change,
  MAP,
  make,
  type Observer,
  type Plain,
  type SharedArray,
  type SharedMap,
  type SharedText,
  type SharedType,
  type SharedXmlFragment,
  TEXT,
  whole,
  XML_FRAGMENT,
} from './types.js';

/** Most bytes of what one says of oneself. */
const MAX_PRESENCE_BYTES = 64 * 1024;

/** How a document stands with the server; see the README. */
export type State = 'connecting' | 'synced' | 'saved' | 'offline' | 'denied';

export interface DocEvents {
  state: { state: State; reason: string };
  unsaved: { count: number };
  update: { update: Uint8Array; isLocal: boolean };
  presence: { added: number[]; updated: number[]; removed: number[] };
  message: { payload: string };
  refused: undefined;
  /** What a store on this machine had is in the document. */
  restored: { updates: number };
  /** Whether this machine keeps the document; if not, `reason` says why, for people to read. */
  storage: { isKept: boolean; cause: StorageCause | null; reason: string };
  error: { error: unknown };
}

/** @internal What the core says changed. */
interface RawChange extends Change {
  observed: number;
  targetId: number;
}

interface Watch {
  observer: Observer;
  isDeep: boolean;
}

export class Doc extends EventTarget {
  readonly name: string;
  readonly client: RoomClient;
  /** @internal */
  readonly id: number;
  #state: State = 'offline';
  #reason = '';
  #unsaved = 0;
  #depth = 0;
  #isClosed = false;
  #isKept = false;
  #storageReason = '';
  readonly #watches = new Map<number, Set<Watch>>();
  readonly #types = new Map<number, WeakRef<SharedType>>();

  /** @internal Use `client.open(name)` or `createDocument()`. */
  constructor(client: RoomClient, id: number, name: string) {
    super();
    this.client = client;
    this.id = id;
    this.name = name;
  }

  get state(): State {
    return this.#state;
  }

  /** Why the state is `offline` or `denied`, for people to read. */
  get reason(): string {
    return this.#reason;
  }

  /** How many changes of ours the server has not called durable. */
  get unsavedChanges(): number {
    return this.#unsaved;
  }

  /** The server says that we may not change this document. Trying throws. */
  get readOnly(): boolean {
    return this.read((core, doc) => core.is_read_only(doc));
  }

  /** This machine keeps the document: what is written without a connection outlives the page. */
  get isKept(): boolean {
    return this.#isKept;
  }

  /** Why this machine does not keep the document, for people to read; empty if it does, or nobody asked for it. */
  get storageReason(): string {
    return this.#storageReason;
  }

  get clientId(): number {
    return this.read((core, doc) => core.client_id(doc));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  text(name = 'text'): SharedText {
    return this.#root(name, TEXT) as SharedText;
  }

  map(name: string): SharedMap {
    return this.#root(name, MAP) as SharedMap;
  }

  array(name: string): SharedArray {
    return this.#root(name, ARRAY) as SharedArray;
  }

  xml(name: string): SharedXmlFragment {
    return this.#root(name, XML_FRAGMENT) as SharedXmlFragment;
  }

  /** Runs `change` as one change of this origin. It must not wait for anything. */
  transact<T>(change: () => T, origin?: string): T {
    if (this.#depth > 0) return change();
    if (origin !== undefined) whole(origin);
    this.client.call((core) => core.begin(this.id, now(), origin));
    this.#depth += 1;
    try {
      return change();
    } finally {
      this.#depth -= 1;
      // Who closed it within has ended the transaction too.
      if (!this.#isClosed) {
        this.client.call((core) => core.commit(this.id));
        this.client.flush();
      }
    }
  }

  /** Remembers changes of these origins in these types at the top of the document, to take them back one by one. */
  undoHistory(scope: SharedType | SharedType[], options: { origins?: string[]; pauseMs?: number } = {}): UndoHistory {
    const types = Array.isArray(scope) ? scope : [scope];
    const ids = Uint32Array.from(types, ({ id }) => id);
    const { origins = [], pauseMs = 500 } = options;
    origins.forEach(whole);
    return new UndoHistory(
      this,
      this.read((core, doc) => core.new_undo(doc, ids, origins, pauseMs)),
    );
  }

  /** Where a position is now; `null` if it is not in this document. */
  resolve(position: Uint8Array): { type: number; index: number } | null {
    const found = this.read((core, doc) => core.resolve(doc, position));
    return found ? { type: found[0] as number, index: found[1] as number } : null;
  }

  /** The whole document as one Yjs update. */
  encodeState(): Uint8Array {
    return this.read((core, doc) => core.state(doc));
  }

  encodeStateVector(): Uint8Array {
    return this.read((core, doc) => core.state_vector(doc));
  }

  /** What the document is now, in few bytes, as Yjs' `encodeSnapshot` writes it. */
  snapshot(): Uint8Array {
    return this.read((core, doc) => core.snapshot(doc));
  }

  /** The whole document as it was at a snapshot, as one Yjs update. Only a document that was opened with `keepDeleted` can say. */
  encodeStateAt(snapshot: Uint8Array): Uint8Array {
    return this.read((core, doc) => core.state_at(doc, snapshot));
  }

  /** What somebody with `stateVector` lacks, as an update. */
  diff(stateVector: Uint8Array): Uint8Array {
    return this.read((core, doc) => core.diff(doc, stateVector));
  }

  /** Applies a Yjs update. True if it changed anything. Throws, and changes nothing, if it is none. */
  applyUpdate(update: Uint8Array): boolean {
    return this.edit((core, doc) => core.apply(doc, update));
  }

  /** What the others say of themselves, by client id. */
  get others(): Map<number, unknown> {
    const raw = this.read((core, doc) => core.presence(doc)) as (number | string)[];
    const all = new Map<number, unknown>();
    for (let at = 0; at < raw.length; at += 2) all.set(raw[at] as number, JSON.parse(raw[at + 1] as string));
    return all;
  }

  /** Says something of oneself to the others; `null` to be seen no more. */
  setPresence(state: Plain): void {
    const json = state === null || state === undefined ? undefined : JSON.stringify(state);
    // The server takes a larger one for an attack, and ends the connection.
    if (json !== undefined && new TextEncoder().encode(json).length > MAX_PRESENCE_BYTES)
      throw new RangeError(`presence has at most ${MAX_PRESENCE_BYTES} bytes as JSON`);
    this.edit((core, doc) => core.set_presence(now(), doc, json));
  }

  /** Sends a message to all others who have this document open now. False if there is no connection: it is not kept. */
  sendMessage(payload: string): boolean {
    whole(payload);
    return this.edit((core, doc) => core.send_stateless(doc, payload));
  }

  /** Resolves when the server's document is here, and rejects if it is denied. */
  whenSynced(): Promise<void> {
    return this.#when(() => this.#state === 'synced' || this.#state === 'saved');
  }

  /** Resolves when every change of ours is durable, and rejects if the document is denied. */
  whenSaved(): Promise<void> {
    return this.#when(() => this.#state === 'saved');
  }

  /** Resolves when what this machine kept of the document is in it; `isKept` says whether it is kept. */
  whenRestored(): Promise<void> {
    return this.client.loaded(this);
  }

  /** Tries again after `denied`. */
  retry(): void {
    this.edit((core, doc) => core.retry(doc));
  }

  /** Sends a new token while the document stays open, for instance after a change of roles. */
  renewToken(): void {
    this.edit((core, doc) => core.renew_token(doc));
  }

  /** Leaves the document. It cannot be used any more; `client.open` opens it anew. */
  close(): void {
    if (this.#isClosed) return;
    this.client.closing(this);
    this.#isClosed = true;
    this.client.closed(this);
  }

  on<K extends keyof DocEvents>(type: K, listener: (detail: DocEvents[K]) => void): () => void {
    const heard = (event: Event) => listener((event as CustomEvent<DocEvents[K]>).detail);
    this.addEventListener(type, heard);
    return () => this.removeEventListener(type, heard);
  }

  /** @internal */
  read<T>(call: (core: Core, doc: number) => T): T {
    return this.client.call((core) => call(core, this.id));
  }

  /** @internal */
  edit<T>(call: (core: Core, doc: number) => T): T {
    const result = this.client.call((core) => call(core, this.id));
    if (this.#depth === 0) this.client.flush();
    return result;
  }

  /** @internal One object for one type, as long as anybody holds it. */
  wrap(id: number, kind: number): SharedType {
    const known = this.#types.get(id)?.deref();
    if (known) return known;
    const made = make(this, id, kind);
    this.#types.set(id, new WeakRef(made));
    return made;
  }

  /** @internal */
  observe(type: SharedType, observer: Observer, isDeep: boolean): () => void {
    const watch: Watch = { observer, isDeep };
    let watches = this.#watches.get(type.id);
    if (!watches) {
      this.read((core, doc) => core.observe(doc, type.id));
      watches = new Set();
      this.#watches.set(type.id, watches);
    }
    watches.add(watch);
    return () => {
      watches.delete(watch);
      if (watches.size > 0 || this.#watches.get(type.id) !== watches) return;
      this.#watches.delete(type.id);
      // A type that is gone has nobody to observe it.
      if (!this.#isClosed) this.client.attempt((core) => core.unobserve(this.id, type.id));
    };
  }

  /** @internal Tells observers what changed. */
  tellChanges(): void {
    if (this.#watches.size === 0 || this.#isClosed) return;
    const changes = this.read((core, doc) => core.changes(doc)) as RawChange[] | undefined;
    for (const change of changes ?? []) {
      for (const { observer, isDeep } of [...(this.#watches.get(change.observed) ?? [])]) {
        if (isDeep || change.targetId === change.observed) this.guard(() => observer(change));
      }
    }
  }

  /** @internal */
  setState(state: State, reason: string): void {
    this.#state = state;
    this.#reason = reason;
    this.emit('state', { state, reason });
  }

  /** @internal */
  setKept(isKept: boolean, cause: StorageCause | null = null, reason = ''): void {
    if (isKept === this.#isKept && reason === this.#storageReason) return;
    this.#isKept = isKept;
    this.#storageReason = reason;
    this.emit('storage', { isKept, cause, reason });
  }

  /** @internal */
  setUnsaved(count: number): void {
    this.#unsaved = count;
    this.emit('unsaved', { count });
  }

  /** @internal */
  emit<K extends keyof DocEvents>(type: K, detail: DocEvents[K]): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @internal What a listener throws must not keep the others from hearing, nor be lost. */
  guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #root(name: string, kind: number): SharedType {
    whole(name);
    return this.wrap(
      this.read((core, doc) => core.root(doc, name, kind)),
      kind,
    );
  }

  #when(isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        if (isSo()) resolve();
        else if (this.#isClosed) reject(new Error('the document was closed'));
        else if (this.#state === 'denied') reject(new Error(this.#reason));
        else return false;
        return true;
      };
      if (look()) return;
      const stop = this.on('state', () => {
        if (look()) stop();
      });
    });
  }
}

/** One's own changes, to be taken back and done again. What others did meanwhile stays. */
export class UndoHistory {
  readonly #doc: Doc;
  readonly #id: number;

  /** @internal Use `doc.undoHistory(…)`. */
  constructor(doc: Doc, id: number) {
    this.#doc = doc;
    this.#id = id;
  }

  get canUndo(): boolean {
    return this.#doc.read((core, doc) => core.can_undo(doc, this.#id));
  }

  get canRedo(): boolean {
    return this.#doc.read((core, doc) => core.can_redo(doc, this.#id));
  }

  /** Takes the last step back. False if there is none. */
  undo(): boolean {
    return this.#doc.edit((core, doc) => core.undo(doc, now(), this.#id));
  }

  redo(): boolean {
    return this.#doc.edit((core, doc) => core.redo(doc, now(), this.#id));
  }

  /** What follows is a step of its own, however soon it comes. */
  cut(): void {
    this.#doc.edit((core, doc) => core.cut_undo(doc, this.#id));
  }

  /** Forgets everything. */
  destroy(): void {
    // One that is closed has forgotten it already.
    if (!this.#doc.isClosed) this.#doc.read((core, doc) => core.end_undo(doc, this.#id));
  }
}
