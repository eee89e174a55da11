/**
 * One document of the server, open in this page: the Y.Doc, its socket, and what is known about its state.
 *
 * It reconnects by itself for as long as it lives, renews a refused session, and stops for good when the document does
 * not exist or may not be opened. It does not know what the document contains. Read `docs/architecture.md`, "Wire", first.
 */
import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import type { Awareness } from 'y-protocols/awareness';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { SaveTracker } from './saveTracker';

const MESSAGE_SYNC = 0;
const MESSAGE_AUTH = 2;
const MESSAGE_SAVED = 102;
const CLOSE_TOO_LARGE = 1009;
const CLOSE_UNKNOWN_SESSION = 4401;
const CLOSE_FORBIDDEN = 4403;
const CLOSE_NO_DOCUMENT = 4404;
const CLOSE_DOCUMENT_FULL = 4413;
const CLOSE_TOO_MUCH = 4422;
/** Local updates of this long are asked for together. */
const SAVE_REQUEST_DELAY_MS = 30;
/** A renewal that fails (the server is away) is tried again after this. */
const RENEWAL_RETRY_MS = 1500;

/** `gone`: there is no such document. `barred`: this person may not open it. Neither changes by trying again. */
export type LinkState = 'connecting' | 'online' | 'away' | 'gone' | 'barred';

export interface DocState {
  link: LinkState;
  /** The server's content has arrived at least once. */
  loaded: boolean;
  unsaved: number;
  touched: boolean;
  /** Why the server refused an edit or the whole document, if it did. */
  refused: string | null;
}

export class DocSession {
  readonly doc = new Y.Doc();
  readonly provider: WebsocketProvider;
  readonly state = new Store<DocState>({
    link: 'connecting',
    loaded: false,
    unsaved: 0,
    touched: false,
    refused: null,
  });
  private readonly saves = new SaveTracker();
  private requestTimer: ReturnType<typeof setTimeout> | null = null;
  private renewalTimer: ReturnType<typeof setTimeout> | null = null;
  /** The server has what was typed before this connection: until then a save request would prove nothing. */
  private caughtUp = false;
  private destroyed = false;

  constructor(
    readonly name: string,
    private readonly sessions: SessionStore,
  ) {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.provider = new WebsocketProvider(`${scheme}://${location.host}/yjs`, name, this.doc, {
      params: { token: sessions.current?.token ?? '' },
      disableBc: true,
      connect: false,
    });
    this.handleSync();
    this.provider.messageHandlers[MESSAGE_SAVED] = (_encoder, decoder) => {
      const payload = decoding.createDecoder(decoding.readVarUint8Array(decoder));
      this.saves.acknowledge(decoding.readVarUint(payload));
      this.publish();
    };
    this.provider.messageHandlers[MESSAGE_AUTH] = (_encoder, decoder) => {
      decoding.readVarUint(decoder);
      this.state.set({ ...this.state.get(), refused: decoding.readVarString(decoder) });
    };
    this.provider.on('status', this.onStatus);
    this.provider.on('sync', this.onSync);
    this.provider.on('connection-close', this.onClose);
    this.doc.on('update', this.onUpdate);
    this.provider.connect();
  }

  get awareness(): Awareness {
    return this.provider.awareness;
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    if (this.requestTimer) clearTimeout(this.requestTimer);
    if (this.renewalTimer) clearTimeout(this.renewalTimer);
    this.provider.awareness.setLocalState(null);
    this.provider.destroy();
    this.provider.awareness.destroy();
    this.doc.destroy();
  }

  /**
   * The provider answers the server's SyncStep1 with everything the server lacks. Only after that answer is on its way do
   * save requests cover edits from before the connection, or edits the server could not place.
   */
  private handleSync(): void {
    const original = this.provider.messageHandlers[MESSAGE_SYNC];
    if (!original) throw new Error('y-websocket has a handler for sync messages');
    this.provider.messageHandlers[MESSAGE_SYNC] = (encoder, decoder, provider, emitSynced, type) => {
      original(encoder, decoder, provider, emitSynced, type);
      const answered = encoding.length(encoder) > 1;
      // The provider sends the answer right after this handler returns, so a microtask comes after it.
      if (answered) queueMicrotask(this.onCaughtUp);
    };
  }

  private onCaughtUp = (): void => {
    if (this.destroyed) return;
    this.caughtUp = true;
    this.saves.distrust();
    this.sendRequest();
  };

  private onUpdate = (_update: Uint8Array, origin: unknown): void => {
    if (origin === this.provider) return;
    this.saves.recordEdit();
    this.publish();
    this.requestTimer ??= setTimeout(() => {
      this.requestTimer = null;
      this.sendRequest();
    }, SAVE_REQUEST_DELAY_MS);
  };

  private sendRequest(): void {
    const socket = this.provider.ws;
    if (!this.caughtUp || !this.provider.wsconnected || socket?.readyState !== WebSocket.OPEN) return;
    const request = this.saves.request();
    if (request === null) return;
    const payload = encoding.createEncoder();
    encoding.writeVarUint(payload, request);
    const message = encoding.createEncoder();
    encoding.writeVarUint(message, MESSAGE_SAVED);
    encoding.writeVarUint8Array(message, encoding.toUint8Array(payload));
    socket.send(encoding.toUint8Array(message));
  }

  private onStatus = ({ status }: { status: 'connected' | 'disconnected' | 'connecting' }): void => {
    // Others dropped this window's presence when the connection broke, and take it back only under a newer clock.
    if (status === 'connected') this.awareness.setLocalState(this.awareness.getLocalState());
    if (status === 'disconnected') this.leave();
  };

  private onSync = (synced: boolean): void => {
    if (!synced) return;
    this.state.set({ ...this.state.get(), link: 'online', loaded: true });
  };

  private onClose = (event: CloseEvent | null): void => {
    if (event?.code === CLOSE_NO_DOCUMENT) {
      this.provider.shouldConnect = false;
      this.state.set({ ...this.state.get(), link: 'gone' });
    } else if (event?.code === CLOSE_FORBIDDEN) {
      this.provider.shouldConnect = false;
      this.state.set({ ...this.state.get(), link: 'barred', refused: event.reason || 'you may not open it' });
    }
    this.leave();
    if (event?.code === CLOSE_TOO_LARGE) {
      this.refuse('an edit is larger than the server takes at once. Undo it and paste it in parts.');
    } else if (event?.code === CLOSE_DOCUMENT_FULL) {
      this.refuse(
        'the document would be larger than it may be. Undo the last edit, or go on in another document.',
      );
    } else if (event?.code === CLOSE_TOO_MUCH) {
      this.refuse('an edit would keep the server busy for too long. Undo it and make it in smaller steps.');
    } else if (event?.code === CLOSE_UNKNOWN_SESSION) {
      this.provider.shouldConnect = false;
      void this.recoverAndConnect();
    }
  };

  private refuse(refused: string): void {
    this.state.set({ ...this.state.get(), refused });
  }

  private leave(): void {
    this.caughtUp = false;
    this.saves.distrust();
    const { link } = this.state.get();
    if (link !== 'gone' && link !== 'barred') this.state.set({ ...this.state.get(), link: 'away' });
  }

  private async recoverAndConnect(): Promise<void> {
    const refused = this.provider.params.token ?? '';
    try {
      const { token } = await this.sessions.recover(refused, this.room);
      if (this.destroyed) return;
      this.provider.params.token = token;
      // A token that holds after all was refused for a reason that may still be there: not at once, or this would spin.
      if (token === refused) this.renewalTimer = setTimeout(() => this.provider.connect(), RENEWAL_RETRY_MS);
      else this.provider.connect();
    } catch {
      // Access that ended is not had again by asking.
      if (this.destroyed || this.sessions.ended.get() !== null) return;
      this.renewalTimer = setTimeout(() => void this.recoverAndConnect(), RENEWAL_RETRY_MS);
    }
  }

  private get room(): string {
    return this.name.slice(0, this.name.indexOf('/'));
  }

  private publish(): void {
    const state = this.state.get();
    const { unsaved, touched } = this.saves;
    if (state.unsaved !== unsaved || state.touched !== touched)
      this.state.set({ ...state, unsaved, touched });
  }
}
