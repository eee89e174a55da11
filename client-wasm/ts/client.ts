/**
 * The connection: performs what the core decides. It has the WebSocket, the one timer, and the asking for tokens; what is sent, when to
 * try again and what counts as saved is decided in Rust (`src/room.rs`).
 */
import {
  assertLoaded,
  CHANGED,
  CONNECT,
  Core,
  DISCONNECT,
  EDITED,
  type Effect,
  load,
  now,
  PRESENCE,
  RECEIVED,
  REFUSED,
  SEND,
  STATE,
  STATELESS,
  UNSAVED,
  WANT_TOKEN,
} from './core.js';
import { Doc, type State } from './document.js';
import { Local } from './local.js';
import { databaseOf, IndexedDbStore, type Store } from './store.js';
import { canShare, Tabs } from './tabs.js';
import { type SharedType, whole } from './types.js';

/** Gives a token for a document. `because` is why the last one was refused. */
export type TokenSource = (request: { document: string; because?: string }) => string | Promise<string>;

export interface Options {
  /** The server's address for this protocol: `wss://host/collab`. Without one nothing connects. */
  url?: string;
  /** A token, or how to get one; called again whenever one is about to end or was refused. None: nothing is sent as one. */
  token?: string | TokenSource;
  /** For Node.js before version 22: `ws`, or another class like the browser's. */
  WebSocket?: WebSocketClass;
  /**
   * Keeps documents in this browser's IndexedDB, so that they are there without a connection and what is written then outlives the page, and lets
   * all tabs share one connection. `account` keeps the documents of one user of this browser apart from those of another.
   */
  offline?: boolean | { account?: string };
  /** Another place for documents than IndexedDB. */
  store?: Store;
  /** The first pause between attempts to connect, and the longest. */
  firstPauseMs?: number;
  longestPauseMs?: number;
}

export interface OpenOptions {
  /** What is deleted from now on stays in memory, so that the document can be read as it was at a snapshot. Counts for who opens it first. */
  keepDeleted?: boolean;
}

/** As much of a browser's WebSocket as is used. */
export interface Socket {
  binaryType: string;
  send(data: Uint8Array): void;
  close(code?: number): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}
export type WebSocketClass = new (url: string) => unknown;

/** The longest a timer of JavaScript can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Longest name of a document that a server takes. */
const MAX_NAME_BYTES = 512;

/** Events: `error` with `{ error }`, when something went wrong that belongs to no document. */
export class RoomClient extends EventTarget {
  readonly #options: Options;
  readonly #core: Core;
  readonly #docs = new Map<number, Doc>();
  readonly #local: Local | null;
  readonly #tabs: Tabs | null;
  #socket: Socket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isFlushing = false;
  #broken: unknown = null;
  #isDestroyed = false;
  readonly #onOnline = () => void this.happened((core) => core.online(now()));

  constructor(options: Options = {}) {
    super();
    assertLoaded();
    this.#options = options;
    const { firstPauseMs = 500, longestPauseMs = 30_000 } = options;
    const wrap = (doc: number, type: number, kind: number): SharedType | undefined =>
      this.#docs.get(doc)?.wrap(type, kind);
    this.#core = new Core(firstPauseMs, longestPauseMs, Math.random(), wrap);
    const { url = '', offline = false } = options;
    const name = offline ? databaseOf(url, (typeof offline === 'object' && offline.account) || '') : null;
    const store = options.store ?? (name === null ? null : new IndexedDbStore(name));
    this.#local = store ? new Local(this, store, name) : null;
    this.#tabs = name !== null && url !== '' && canShare() ? new Tabs(name, () => this.#newSocket(), this.#onOnline) : null;
    globalThis.addEventListener?.('online', this.#onOnline);
    if (options.url !== undefined) this.connect();
  }

  /** Connects, and comes back whenever the connection is lost. A client with a `url` does so by itself. */
  connect(): void {
    if (this.#options.url === undefined) throw new Error('this client has no url to connect to');
    this.happened((core) => core.connect(now()));
  }

  /** Ends the connection and stays away until `connect()`. Documents stay, and can be edited. */
  disconnect(): void {
    this.happened((core) => core.disconnect());
  }

  /** Opens a document, or returns the one of this name that is open. */
  open(name: string, { keepDeleted = false }: OpenOptions = {}): Doc {
    // The server would end the connection, and all documents with it.
    const bytes = new TextEncoder().encode(whole(name)).length;
    if (bytes === 0 || bytes > MAX_NAME_BYTES)
      throw new RangeError(`a document's name has 1 to ${MAX_NAME_BYTES} bytes, and this one ${bytes}`);
    const id = this.call((core) => core.open(now(), name, keepDeleted));
    let doc = this.#docs.get(id);
    if (!doc) {
      doc = new Doc(this, id, name);
      this.#docs.set(id, doc);
      this.#local?.opened(doc);
    }
    this.flush();
    return doc;
  }

  /** Closes a document and keeps nothing of it on this machine: what the server does not have is lost. Other tabs keep what they have open. */
  async forget(name: string): Promise<void> {
    this.documents.find((doc) => doc.name === name)?.close();
    await this.#local?.forget(name);
  }

  /** True if other tabs may use this one's connection, or this one another's. */
  get sharesConnection(): boolean {
    return this.#tabs !== null;
  }

  get documents(): Doc[] {
    return [...this.#docs.values()];
  }

  /** Closes everything. The client cannot be used any more. */
  destroy(): void {
    if (this.#isDestroyed) return;
    for (const doc of this.documents) doc.close();
    this.attempt((core) => core.disconnect());
    this.flush();
    // A listener may have called this, in the middle of what is to be done.
    this.#drop();
    this.#isDestroyed = true;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.('online', this.#onOnline);
    this.#tabs?.close();
    this.#local?.close();
    this.#core.free();
  }

  /** @internal Calls the core. */
  call<T>(call: (core: Core) => T): T {
    if (this.#broken !== null)
      throw new Error('the client came to an end by an error of its own: load the page again', { cause: this.#broken });
    if (this.#isDestroyed) throw new Error('this client was destroyed');
    try {
      return call(this.#core);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) this.#break(error);
      throw error;
    }
  }

  /** @internal Calls the core, and does not mind if it cannot. */
  attempt(call: (core: Core) => unknown): void {
    try {
      this.call(call);
    } catch {
      // Whoever called said that it does not matter.
    }
  }

  /** @internal What was kept of a document is in it, or will not be. */
  loaded(doc: Doc): Promise<void> {
    return this.#local?.loaded(doc) ?? Promise.resolve();
  }

  /** @internal A document is about to be closed. */
  closing(doc: Doc): void {
    this.#local?.closed(doc);
  }

  /** @internal A document was closed. */
  closed(doc: Doc): void {
    this.attempt((core) => core.close(doc.id));
    this.#docs.delete(doc.id);
    this.flush();
    doc.emit('state', { state: 'offline', reason: 'the document was closed' });
  }

  /** @internal Does what the core wants done. A listener that changes something adds to it, and does not start it again. */
  flush(): void {
    if (this.#isFlushing || this.#isDestroyed || this.#broken !== null) return;
    this.#isFlushing = true;
    try {
      while (!this.#isDestroyed) {
        const effects = this.call((core) => core.poll()) as Effect[] | undefined;
        if (!effects) break;
        for (const effect of effects) if (!this.#isDestroyed) this.#perform(effect);
      }
    } finally {
      this.#isFlushing = false;
    }
    if (!this.#isDestroyed) this.#wakeLater();
  }

  /** @internal Tells the core what happened, and does what it wants done. Nothing, if it is not there any more. */
  happened<T>(call: (core: Core) => T): T | undefined {
    if (this.#isDestroyed || this.#broken !== null) return undefined;
    const result = this.call(call);
    this.flush();
    return result;
  }

  #perform(effect: Effect): void {
    const [code, first, second, third, fourth] = effect;
    if (code === CONNECT) return this.#open();
    if (code === DISCONNECT) return this.#drop();
    if (code === SEND) return this.#socket?.send(first as Uint8Array);
    const doc = this.#docs.get(first as number);
    if (!doc) return;
    switch (code) {
      case WANT_TOKEN:
        void this.#giveToken(doc, second as string | undefined);
        break;
      case STATE:
        doc.setState(second as State, third as string);
        this.#local?.stateChanged(doc);
        break;
      case UNSAVED:
        doc.setUnsaved(second as number);
        break;
      case CHANGED:
        doc.tellChanges();
        break;
      case RECEIVED:
      case EDITED: {
        const update = second as Uint8Array;
        if (code === EDITED) doc.tellChanges();
        this.#local?.changed(doc, update, code === EDITED);
        doc.emit('update', { update, isLocal: code === EDITED });
        break;
      }
      case PRESENCE:
        doc.emit('presence', {
          added: second as number[],
          updated: third as number[],
          removed: fourth as number[],
        });
        break;
      case STATELESS:
        doc.emit('message', { payload: second as string });
        break;
      case REFUSED:
        doc.emit('refused', undefined);
        break;
    }
  }

  #open(): void {
    this.#drop();
    let socket: Socket;
    try {
      if (this.#tabs) {
        const shared = this.#tabs.open();
        this.call((core) => core.set_session(shared.session));
        socket = shared.socket;
      } else socket = this.#newSocket();
    } catch (error) {
      // What cannot be opened at all is an attempt that failed. Not at once: the core is in the middle of its effects.
      this.dispatchEvent(new CustomEvent('error', { detail: { error } }));
      const reason = error instanceof Error ? error.message : String(error);
      queueMicrotask(() => this.happened((core) => core.closed(now(), 1006, reason)));
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const ours = (happened: (core: Core) => void) => {
      if (this.#socket === socket) this.happened(happened);
    };
    socket.onopen = () => ours((core) => core.opened(now()));
    socket.onmessage = (event: { data: unknown }) => {
      const { data } = event;
      if (data instanceof ArrayBuffer) ours((core) => core.frame(now(), new Uint8Array(data)));
    };
    socket.onclose = (event: { code: number; reason: string }) => {
      const { code, reason } = event;
      ours((core) => {
        this.#socket = null;
        core.closed(now(), code, String(reason));
      });
    };
    // The close that follows says all that can be known.
    socket.onerror = () => undefined;
  }

  #newSocket(): Socket {
    const WebSocketClass = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocketClass) throw new Error('there is no WebSocket here: give the class of the package "ws" as an option');
    return new WebSocketClass(this.#options.url ?? '') as Socket;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  async #giveToken(doc: Doc, because: string | undefined): Promise<void> {
    const { token } = this.#options;
    try {
      // With it goes what this document has: the server then sends only the rest.
      await this.#local?.patience(doc);
      // The same again would only be refused again.
      if (typeof token !== 'function' && because !== undefined) throw new Error(because);
      const asked = because === undefined ? { document: doc.name } : { document: doc.name, because };
      const given = typeof token === 'function' ? await token(asked) : (token ?? '');
      this.happened((core) => core.token(now(), doc.id, String(given)));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.happened((core) => core.no_token(now(), doc.id, reason));
    }
  }

  #wakeLater(): void {
    clearTimeout(this.#timer);
    const at = this.call((core) => core.next_wake());
    if (at < 0) return;
    const pause = Math.min(Math.max(at - now(), 0), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.happened((core) => core.tick(now())), pause + 1);
  }

  /** The module cannot be trusted any more. */
  #break(error: unknown): void {
    this.#broken = error;
    clearTimeout(this.#timer);
    this.#drop();
    for (const doc of this.documents) {
      doc.setState('offline', 'the client came to an end by an error of its own: load the page again');
      doc.emit('error', { error });
    }
  }
}

/** Loads the module and makes a client that connects. */
export async function connect(options: Options & { url: string }): Promise<RoomClient> {
  await load();
  return new RoomClient(options);
}

/** A document without any connection. The module must be loaded. */
export function createDocument(name = 'document', options: OpenOptions = {}): Doc {
  return new RoomClient().open(name, options);
}

/** A document as it was at a snapshot, as one of its own without any connection. */
export function documentAt(doc: Doc, snapshot: Uint8Array): Doc {
  const past = createDocument(doc.name);
  past.applyUpdate(doc.encodeStateAt(snapshot));
  return past;
}
