/**
 * One connection to a terminal: what it shows goes to a screen, what the server says of it into a store. It comes back by itself
 * and goes on where it was, and tells the server how far the screen is, which sends no more than that allows. It knows no
 * emulator. docs/protocols.md has the messages.
 */
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { readText, type Status, type ToServer } from './terminalModel';

/** What shows a terminal. */
export interface Screen {
  /** `done` is called when the bytes are on screen. */
  write(bytes: Uint8Array, done: () => void): void;
  /** Forgets everything. */
  reset(): void;
}

/** `gone`: for good. */
export type TerminalLinkState = 'connecting' | 'online' | 'away' | 'gone';

const CLOSE_NO_SUCH = 4404;
const CLOSE_FORBIDDEN = 4403;
const CLOSE_UNKNOWN_SESSION = 4401;
/** Pauses between attempts to come back. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
/** How much may be on screen before the server is told at once, and how long it waits otherwise. */
const TELL_BYTES = 64 << 10;
const TELL_MS = 100;
/** Typed text goes out in pieces, because a message has a largest size. */
const PIECE = 32 << 10;

export class TerminalLink {
  readonly state = new Store<TerminalLinkState>('connecting');
  readonly status = new Store<Status | null>(null);
  private socket: WebSocket | null = null;
  /** Where the next byte belongs; null before the first. */
  private next: number | null = null;
  /** Bytes to come that belong to a picture. */
  private picture = 0;
  private shown = 0;
  private told = 0;
  /** Counts resets, so that what was written before one is not taken for shown after it. */
  private era = 0;
  private tellTimer: ReturnType<typeof setTimeout> | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | null = null;
  private pause = FIRST_PAUSE_MS;
  private size: { rows: number; cols: number } | null = null;
  private destroyed = false;

  constructor(
    private readonly room: string,
    private readonly terminal: string,
    private readonly sessions: SessionStore,
    private readonly screen: Screen,
  ) {
    this.connect();
  }

  destroy(): void {
    this.destroyed = true;
    if (this.tellTimer) clearTimeout(this.tellTimer);
    if (this.retryTimer) clearTimeout(this.retryTimer);
    this.socket?.close();
  }

  type(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PIECE) this.send(bytes.slice(at, at + PIECE));
  }

  say(message: ToServer): void {
    this.send(JSON.stringify(message));
  }

  /** The page has room for so much. */
  fits(rows: number, cols: number): void {
    if (this.size?.rows === rows && this.size.cols === cols) return;
    this.size = { rows, cols };
    this.say({ type: 'size', rows, cols });
  }

  private send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  private connect(): void {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const query = new URLSearchParams({ token: this.sessions.current?.token ?? '' });
    if (this.next !== null && this.picture === 0) query.set('from', String(this.next));
    const socket = new WebSocket(
      `${scheme}://${location.host}/api/v1/rooms/${this.room}/terminals/${this.terminal}?${query}`,
    );
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.pause = FIRST_PAUSE_MS;
      this.state.set('online');
      if (this.size) this.say({ type: 'size', ...this.size });
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (typeof data === 'string') this.hear(data);
      else this.show(new Uint8Array(data));
    };
    socket.onclose = (event) => this.onClose(event);
  }

  private hear(text: string): void {
    const message = readText(text);
    if (message?.type === 'state') {
      const { type: _, ...status } = message;
      this.status.set(status);
    } else if (message?.type === 'reset') {
      this.era += 1;
      this.next = message.offset;
      this.shown = message.offset;
      this.told = message.offset;
      this.picture = message.bytes;
      this.screen.reset();
    } else if (message?.type === 'continue') {
      this.told = message.offset;
    }
  }

  private show(bytes: Uint8Array): void {
    const { era } = this;
    const counted = Math.max(0, bytes.length - this.picture);
    this.picture = Math.max(0, this.picture - bytes.length);
    this.next = (this.next ?? 0) + counted;
    const offset = this.next;
    this.screen.write(bytes, () => {
      if (era !== this.era || this.destroyed) return;
      this.shown = offset;
      if (this.shown - this.told >= TELL_BYTES) this.tell();
      else this.tellTimer ??= setTimeout(this.tell, TELL_MS);
    });
  }

  private tell = (): void => {
    if (this.tellTimer) clearTimeout(this.tellTimer);
    this.tellTimer = null;
    if (this.shown === this.told) return;
    this.told = this.shown;
    this.say({ type: 'shown', offset: this.shown });
  };

  private onClose(event: CloseEvent): void {
    if (this.destroyed) return;
    this.socket = null;
    if (event.code === CLOSE_NO_SUCH || event.code === CLOSE_FORBIDDEN) {
      this.state.set('gone');
      return;
    }
    this.state.set('away');
    if (event.code === CLOSE_UNKNOWN_SESSION) void this.recover();
    else this.retry();
  }

  private retry(): void {
    this.retryTimer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }

  private async recover(): Promise<void> {
    try {
      await this.sessions.recover(this.sessions.current?.token ?? '', this.room);
    } catch {
      // Access that ended is not had again by asking.
      if (this.sessions.ended.get() !== null) {
        this.state.set('gone');
        return;
      }
    }
    if (!this.destroyed) this.retry();
  }
}
