import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Session } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { TerminalLink } from './terminalLink';

/** A socket whose other end is the test. */
class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  binaryType = '';
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly sent: (string | Uint8Array)[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: string | Uint8Array): void {
    this.sent.push(data);
  }
  close(): void {
    this.readyState = 3;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  drop(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' });
  }
  text(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  bytes(text: string): void {
    this.onmessage?.({ data: new TextEncoder().encode(text).buffer });
  }
  get said(): { type: string; offset?: number }[] {
    return this.sent.filter((item) => typeof item === 'string').map((item) => JSON.parse(item));
  }
}

/** A screen that shows things when the test lets it. */
class FakeScreen {
  text = '';
  pending: (() => void)[] = [];
  write(bytes: Uint8Array, done: () => void): void {
    this.text += new TextDecoder().decode(bytes);
    this.pending.push(done);
  }
  reset(): void {
    this.text = '';
  }
  draw(): void {
    for (const done of this.pending.splice(0)) done();
  }
}

const session = { token: 'old', person: { id: 'ada', name: 'Ada', color: '#000' } } as Session;

function sessions() {
  const ended = new Store<string | null>(null);
  const store = { current: session, ended, recover: vi.fn((): Promise<Session> => Promise.resolve(session)) };
  return store as unknown as SessionStore & Pick<typeof store, 'recover'>;
}

let screen: FakeScreen;
let link: TerminalLink;
const socket = () => FakeSocket.all.at(-1) as FakeSocket;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('location', { protocol: 'http:', host: 'here' });
  screen = new FakeScreen();
  link = new TerminalLink('r', 't', sessions(), screen);
});

afterEach(() => {
  link.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a terminal link', () => {
  it('shows what comes and says how far it is once that is on screen', () => {
    expect(socket().url).toBe('ws://here/api/v1/rooms/r/terminals/t?token=old');
    socket().open();
    socket().text({ type: 'reset', offset: 0, bytes: 0 });
    socket().bytes('hello');
    vi.advanceTimersByTime(1000);
    expect(socket().said).toEqual([]);
    screen.draw();
    vi.advanceTimersByTime(1000);
    expect(socket().said).toEqual([{ type: 'shown', offset: 5 }]);
    socket().bytes('x'.repeat(70_000));
    screen.draw();
    expect(socket().said.at(-1)).toEqual({ type: 'shown', offset: 70_005 });
  });

  it('comes back where it was', () => {
    link.fits(24, 80);
    socket().open();
    socket().text({ type: 'reset', offset: 100, bytes: 0 });
    socket().bytes('hello');
    socket().drop(1006);
    expect(link.state.get()).toBe('away');
    vi.advanceTimersByTime(300);
    expect(socket().url).toContain('from=105');
    socket().open();
    socket().text({ type: 'continue', offset: 105 });
    socket().bytes(' world');
    expect(screen.text).toBe('hello world');
    expect(socket().said[0]).toEqual({ type: 'size', rows: 24, cols: 80 });
  });

  it('does not count a picture, and forgets what was before it', () => {
    socket().open();
    socket().text({ type: 'reset', offset: 0, bytes: 0 });
    socket().bytes('old');
    socket().text({ type: 'reset', offset: 900, bytes: 7 });
    socket().bytes('picture');
    socket().bytes('new');
    screen.draw();
    vi.advanceTimersByTime(1000);
    expect(screen.text).toBe('picturenew');
    expect(socket().said).toEqual([{ type: 'shown', offset: 903 }]);
    socket().text({ type: 'reset', offset: 2000, bytes: 10 });
    socket().bytes('half');
    socket().drop(1013);
    vi.advanceTimersByTime(300);
    expect(socket().url, 'a picture that was cut is of no use').not.toContain('from=');
  });

  it('ends for good when the terminal is gone and tries longer and longer otherwise', () => {
    for (const pause of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
      const before = FakeSocket.all.length;
      socket().drop(1012);
      vi.advanceTimersByTime(pause - 1);
      expect(FakeSocket.all.length).toBe(before);
      vi.advanceTimersByTime(1);
      expect(FakeSocket.all.length).toBe(before + 1);
    }
    socket().drop(4404);
    vi.advanceTimersByTime(60_000);
    expect(link.state.get()).toBe('gone');
  });

  it('renews a session that is not known any more', async () => {
    const store = sessions();
    link.destroy();
    link = new TerminalLink('r', 't', store, screen);
    const before = FakeSocket.all.length;
    socket().drop(4401);
    await vi.advanceTimersByTimeAsync(1000);
    expect(store.recover).toHaveBeenCalledOnce();
    expect(FakeSocket.all.length).toBe(before + 1);
  });

  it('ends when access has ended', async () => {
    const store = sessions();
    vi.mocked(store.recover).mockImplementation(() => {
      store.ended.set('Your access was taken back.');
      return Promise.reject(new Error('no'));
    });
    link.destroy();
    link = new TerminalLink('r', 't', store, screen);
    socket().drop(4401);
    await vi.advanceTimersByTimeAsync(1000);
    expect(link.state.get()).toBe('gone');
  });

  it('sends what is typed in pieces', () => {
    socket().open();
    link.type(new Uint8Array(70_000));
    expect(socket().sent.map((piece) => piece.length)).toEqual([32_768, 32_768, 4464]);
  });
});
