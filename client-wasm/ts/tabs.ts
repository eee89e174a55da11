/**
 * Tabs of one browser share one connection: one of them holds a lock and has the socket, and the others' frames go through it.
 *
 * Each tab stays a client of its own, with its own tokens, presence and knowledge of what is saved, under addresses that end with a session of
 * its own (Hocuspocus' sessions). What is shared is the socket alone, so nothing here knows what a frame says, only whose it is. When the
 * holder goes, however it goes, the browser gives the lock to another tab, and all connect anew through that one.
 */
import type { Socket } from './client.js';

/** Most tabs that share a socket; the server bounds what waits to be let in on one. Any further tab has a socket of its own. */
const MAX_TABS = 12;

/** A holder that says nothing for so long does not work, whatever the lock says: the tab connects by itself. */
const ANSWER_MS = 3_000;

/** What Hocuspocus calls leaving a document, behind its address. */
const LEAVE = 7;

/** What is said to all tabs. */
type Call = { kind: 'open'; tab: string; session: string } | { kind: 'holder' };

/** What a tab and the holder say to each other. */
type Up = { kind: 'send'; session: string; data: Uint8Array } | { kind: 'close'; session: string };
type Down = { session: string } & (
  | { kind: 'heard' }
  | { kind: 'full' }
  | { kind: 'opened' }
  | { kind: 'frame'; data: ArrayBuffer }
  | { kind: 'closed'; code: number; reason: string }
);

/** A channel to the other tabs, or `null` where there are none: in old browsers, and in pages without an origin of their own. */
export function channelOf(name: string): BroadcastChannel | null {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null;
  }
}

/** True where tabs can share a connection, as far as can be seen. Locks are there in secure contexts only. */
export function canShare(): boolean {
  const channel = channelOf('');
  channel?.close();
  return channel !== null && globalThis.navigator?.locks !== undefined;
}

/** How long an address is, and what its session is; `null` if it has none. */
function sessionOf(frame: Uint8Array): { end: number; session: string } | null {
  let [at, length, shift] = [0, 0, 0];
  for (; at < frame.length && shift < 28; shift += 7) {
    const byte = frame[at++] as number;
    length += (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  const end = at + length;
  if (length === 0 || end > frame.length) return null;
  const address = new TextDecoder().decode(frame.subarray(at, end));
  const cut = address.lastIndexOf('\0');
  return cut < 0 ? null : { end, session: address.slice(cut + 1) };
}

/** A tab's end of the shared connection, in the shape of a WebSocket. */
class SharedSocket implements Socket {
  binaryType = 'arraybuffer';
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  readonly session: string;
  isOpen = false;
  /** A socket of its own, where none can be shared. */
  direct: Socket | null = null;
  timer: ReturnType<typeof setTimeout> | undefined;
  readonly #tabs: Tabs;

  constructor(tabs: Tabs, session: string) {
    this.#tabs = tabs;
    this.session = session;
  }

  send(data: Uint8Array): void {
    if (this.direct) this.direct.send(data);
    else this.#tabs.up({ kind: 'send', session: this.session, data });
  }

  close(): void {
    clearTimeout(this.timer);
    if (this.direct) {
      this.direct.onopen = this.direct.onmessage = this.direct.onclose = null;
      this.direct.close(1000);
    } else this.#tabs.up({ kind: 'close', session: this.session });
    this.#tabs.left(this);
  }
}

/** This tab among those of its kind. */
export class Tabs {
  readonly #key: string;
  readonly #connect: () => Socket;
  /** Another tab has the socket now: whoever waits need not. */
  readonly #moved: () => void;
  readonly #name = crypto.randomUUID();
  readonly #all: BroadcastChannel;
  readonly #own: BroadcastChannel;
  readonly #end = new AbortController();
  /** True once this tab's own lock is held: the holder sees by it when the tab is gone. False if this page may have no locks. */
  readonly #isHere: Promise<boolean>;
  #hub: Hub | null = null;
  #socket: SharedSocket | null = null;
  #turn = 0;

  constructor(key: string, connect: () => Socket, moved: () => void) {
    this.#key = key;
    this.#connect = connect;
    this.#moved = moved;
    this.#all = new BroadcastChannel(key);
    this.#all.onmessage = ({ data }: MessageEvent<Call>) => this.#called(data);
    this.#own = new BroadcastChannel(`${key} ${this.#name}`);
    this.#own.onmessage = ({ data }: MessageEvent<Down>) => this.#down(data);
    this.#isHere = this.#hold(`${key} ${this.#name}`);
    void this.#hold(key).then((isHeld) => isHeld && this.#lead());
  }

  /** True if this tab has the socket. */
  get isHolder(): boolean {
    return this.#hub !== null;
  }

  /** A connection, shared if that can be. Its session is to be part of every address. */
  open(): { socket: Socket; session: string } {
    this.#turn += 1;
    const socket = new SharedSocket(this, `${this.#name}-${this.#turn}`);
    this.#socket = socket;
    void this.#isHere.then((isHere) => (isHere ? this.#ask(socket) : this.#alone(socket)));
    return { socket, session: socket.session };
  }

  close(): void {
    this.#socket?.close();
    this.#hub?.close();
    this.#end.abort();
    this.#all.close();
    this.#own.close();
  }

  /** From a tab's socket to the holder. */
  up(message: Up): void {
    if (this.#end.signal.aborted) return;
    if (this.#hub) this.#hub.up(message);
    else this.#own.postMessage(message);
  }

  left(socket: SharedSocket): void {
    if (this.#socket === socket) this.#socket = null;
  }

  /** Holds a lock for as long as this tab is there. False if it is not had: given up while it waited, or storage is blocked, and locks with it. */
  #hold(name: string): Promise<boolean> {
    const { signal } = this.#end;
    const ended = new Promise<void>((end) => signal.addEventListener('abort', () => end()));
    return new Promise((held) => {
      navigator.locks
        .request(name, { signal }, () => {
          held(true);
          return ended;
        })
        .catch(() => held(false));
    });
  }

  #lead(): void {
    if (this.#end.signal.aborted) return;
    this.#hub = new Hub(this.#key, this.#connect);
    this.#all.postMessage({ kind: 'holder' } satisfies Call);
    this.#holderCame();
  }

  #called(call: Call): void {
    if (call.kind === 'holder') this.#holderCame();
    else this.#hub?.open(call.session, this.#hub.line(call.tab));
  }

  #holderCame(): void {
    const socket = this.#socket;
    if (socket?.isOpen && !socket.direct) this.#lost(socket, 1006, 'the tab that held the connection is gone');
    else if (socket && !socket.direct) this.#ask(socket);
    this.#moved();
  }

  #ask(socket: SharedSocket): void {
    if (this.#socket !== socket || this.#end.signal.aborted) return;
    clearTimeout(socket.timer);
    if (this.#hub) {
      this.#hub.open(socket.session, { down: (message) => queueMicrotask(() => this.#down(message)), close() {} });
      return;
    }
    this.#all.postMessage({ kind: 'open', tab: this.#name, session: socket.session } satisfies Call);
    socket.timer = setTimeout(() => this.#alone(socket), ANSWER_MS);
  }

  #down(message: Down): void {
    const socket = this.#socket;
    if (!socket || socket.direct || message.session !== socket.session) return;
    clearTimeout(socket.timer);
    switch (message.kind) {
      case 'full':
        this.#alone(socket);
        break;
      case 'opened':
        socket.isOpen = true;
        socket.onopen?.(undefined as never);
        break;
      case 'frame':
        socket.onmessage?.({ data: message.data } as never);
        break;
      case 'closed':
        this.#lost(socket, message.code, message.reason);
        break;
    }
  }

  #lost(socket: SharedSocket, code: number, reason: string): void {
    this.#socket = null;
    socket.onclose?.({ code, reason } as never);
  }

  /** Connects without the others. */
  #alone(socket: SharedSocket): void {
    if (this.#socket !== socket || this.#end.signal.aborted) return;
    // A holder that hears of it later is not to keep it.
    this.up({ kind: 'close', session: socket.session });
    try {
      socket.direct = this.#connect();
    } catch (error) {
      this.#lost(socket, 1006, String(error));
      return;
    }
    socket.direct.binaryType = 'arraybuffer';
    socket.direct.onopen = () => {
      socket.isOpen = true;
      socket.onopen?.(undefined as never);
    };
    socket.direct.onmessage = (event: never) => socket.onmessage?.(event);
    socket.direct.onclose = (event: never) => {
      this.left(socket);
      socket.onclose?.(event);
    };
  }
}

/** How the holder speaks to a tab. */
interface Line {
  down(message: Down): void;
  close(): void;
}

interface Guest {
  session: string;
  line: Line;
  /** The addresses under which it has spoken: it is to leave them all. */
  addresses: Map<string, Uint8Array>;
}

/** The holder's side: the one socket, and the tabs on it. */
class Hub {
  readonly #key: string;
  readonly #connect: () => Socket;
  readonly #guests = new Map<string, Guest>();
  #socket: Socket | null = null;
  #isOpen = false;

  constructor(key: string, connect: () => Socket) {
    this.#key = key;
    this.#connect = connect;
  }

  /** A line to another tab. It ends with that tab, whose lock says when. */
  line(tab: string): Line {
    const channel = new BroadcastChannel(`${this.#key} ${tab}`);
    const end = new AbortController();
    channel.onmessage = ({ data }: MessageEvent<Up>) => this.up(data);
    const line: Line = {
      down: (message) => channel.postMessage(message),
      close() {
        end.abort();
        channel.close();
      },
    };
    navigator.locks
      .request(`${this.#key} ${tab}`, { signal: end.signal }, () => {
        for (const guest of [...this.#guests.values()]) if (guest.line === line) this.#gone(guest);
      })
      .catch(() => undefined);
    return line;
  }

  open(session: string, line: Line): void {
    const known = this.#guests.get(session);
    if (known) return line.close();
    if (this.#guests.size >= MAX_TABS) {
      line.down({ kind: 'full', session });
      return line.close();
    }
    this.#guests.set(session, { session, line, addresses: new Map() });
    line.down({ kind: 'heard', session });
    if (!this.#socket) this.#open();
    else if (this.#isOpen) line.down({ kind: 'opened', session });
  }

  up(message: Up): void {
    const guest = this.#guests.get(message.session);
    if (!guest) return;
    if (message.kind === 'close') return this.#gone(guest);
    const { data } = message;
    const found = sessionOf(data);
    if (!found) return;
    const address = data.slice(0, found.end);
    if (data[found.end] === LEAVE) guest.addresses.delete(String(address));
    else guest.addresses.set(String(address), address);
    if (this.#isOpen) this.#socket?.send(data);
  }

  close(): void {
    this.#drop();
    for (const { line } of this.#guests.values()) line.close();
    this.#guests.clear();
  }

  #open(): void {
    let socket: Socket;
    try {
      socket = this.#connect();
    } catch (error) {
      this.#closed(1006, error instanceof Error ? error.message : String(error));
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.onopen = () => {
      this.#isOpen = true;
      for (const { session, line } of this.#guests.values()) line.down({ kind: 'opened', session });
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (!(data instanceof ArrayBuffer)) return;
      const session = sessionOf(new Uint8Array(data))?.session;
      const guest = session === undefined ? undefined : this.#guests.get(session);
      guest?.line.down({ kind: 'frame', session: guest.session, data });
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#closed(code, String(reason));
    // The close that follows says all that can be known.
    socket.onerror = () => undefined;
  }

  #closed(code: number, reason: string): void {
    this.#socket = null;
    this.#isOpen = false;
    const guests = [...this.#guests.values()];
    this.#guests.clear();
    for (const { session, line } of guests) {
      line.down({ kind: 'closed', session, code, reason });
      line.close();
    }
  }

  /** A tab left, or was closed: the server is not to take it for one that is silent. */
  #gone(guest: Guest): void {
    this.#guests.delete(guest.session);
    guest.line.close();
    if (this.#isOpen) {
      for (const address of guest.addresses.values()) this.#socket?.send(Uint8Array.from([...address, LEAVE]));
    }
    if (this.#guests.size === 0) this.#drop();
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#isOpen = false;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
}
