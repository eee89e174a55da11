/**
 * The socket of a room's call: who is in it goes into stores, what is for this page alone to whoever listens. It comes back by
 * itself. It knows nothing of media; `call.ts` does.
 */
import type { Person } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import {
  type CallRecordingNow,
  type FromPage,
  type Participant,
  readMessage,
  type ToPage,
} from './mediaModel';

/** `gone`: for good, because this server has no calls or access ended. */
export type MediaLinkState = 'connecting' | 'online' | 'away' | 'gone';

const CLOSE_NO_SUCH = 4404;
const CLOSE_FORBIDDEN = 4403;
const CLOSE_UNKNOWN_SESSION = 4401;
/** Pauses between attempts to come back. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
/** One is asked every three seconds. */
const MOST_UNANSWERED = 3;

export class MediaLink {
  readonly state = new Store<MediaLinkState>('connecting');
  readonly participants = new Store<readonly Participant[]>([]);
  /** What the server says of the room's calls. Nobody has to believe it: see `features/e2ee`. */
  readonly encrypted = new Store(false);
  /** Ids of participants. */
  readonly speakers = new Store<readonly string[]>([]);
  /** Who is sent the call without taking part. */
  readonly viewers = new Store<readonly Person[]>([]);
  /** Of the call, and why the last one ended if nobody wanted that. */
  readonly recording = new Store<{ now: CallRecordingNow | null; failed: string | null }>({
    now: null,
    failed: null,
  });
  /** Hears what is said to this page alone. */
  onMessage: (message: ToPage) => void = () => undefined;
  private socket: WebSocket | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | null = null;
  private pause = FIRST_PAUSE_MS;
  /** Questions since anything was heard that the server answers at once. */
  private unanswered = 0;
  private destroyed = false;

  constructor(
    private readonly room: string,
    private readonly sessions: SessionStore,
  ) {
    this.connect();
  }

  destroy(): void {
    this.destroyed = true;
    if (this.retryTimer) clearTimeout(this.retryTimer);
    this.socket?.close();
  }

  /** False if it cannot be said now. */
  say(message: FromPage): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Says what is answered at once. Where several were not, the socket is dead without knowing it. */
  ask(message: FromPage): void {
    if (this.unanswered >= MOST_UNANSWERED) this.renew();
    else if (this.say(message)) this.unanswered += 1;
  }

  /** Comes back by another socket: the one that there is may be dead without knowing it. */
  renew(): void {
    const { socket } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    this.state.set('away');
    this.connect();
  }

  private connect(): void {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const query = new URLSearchParams({ token: this.sessions.current?.token ?? '' });
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/rooms/${this.room}/media?${query}`);
    this.socket = socket;
    this.unanswered = 0;
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      // Whoever is refused has a socket that opens, too, and is told nothing on it. Others are told first who is in the call.
      this.pause = FIRST_PAUSE_MS;
      this.unanswered = 0;
      this.state.set('online');
      const message = readMessage(data);
      if (message?.type === 'call') {
        this.encrypted.set(message.encrypted);
        this.participants.set(message.participants);
      } else if (message?.type === 'speakers') this.speakers.set(message.participants);
      else if (message?.type === 'viewers') this.viewers.set(message.people);
      else if (message?.type === 'recording')
        this.recording.set({ now: message.recording, failed: message.failed });
      else if (message) this.onMessage(message);
    };
    socket.onclose = (event) => this.onClose(event);
  }

  private onClose(event: CloseEvent): void {
    if (this.destroyed) return;
    this.socket = null;
    this.speakers.set([]);
    this.viewers.set([]);
    if (event.code === CLOSE_NO_SUCH || event.code === CLOSE_FORBIDDEN) {
      this.participants.set([]);
      this.state.set('gone');
      return;
    }
    this.state.set('away');
    if (event.code === CLOSE_UNKNOWN_SESSION) void this.recover();
    else this.retry();
  }

  private retry(): void {
    // Not all pages at the same moment.
    const pause = this.pause * (0.5 + Math.random() / 2);
    this.retryTimer = setTimeout(() => this.connect(), pause);
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
