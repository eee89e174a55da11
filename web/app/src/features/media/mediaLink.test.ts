import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Session } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { MediaLink } from './mediaLink';

/** A socket whose other end is the test. */
class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly sent: string[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: string): void {
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
}

const session = { token: 'old', person: { id: 'ada', name: 'Ada', color: '#000' } } as Session;

function sessions() {
  const ended = new Store<string | null>(null);
  const store = { current: session, ended, recover: vi.fn((): Promise<Session> => Promise.resolve(session)) };
  return store as unknown as SessionStore & Pick<typeof store, 'recover'>;
}

let link: MediaLink;
const socket = () => FakeSocket.all.at(-1) as FakeSocket;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('location', { protocol: 'http:', host: 'here' });
  link = new MediaLink('r', sessions());
});

afterEach(() => {
  link.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a link to a call', () => {
  it('shows who is there, and passes on what is for this page', () => {
    const heard = vi.fn();
    link.onMessage = heard;
    expect(socket().url).toBe('ws://here/api/v1/rooms/r/media?token=old');
    socket().open();
    const person = { id: 'bob', name: 'Bob', color: 'url(x)' };
    socket().text({
      type: 'call',
      participants: [{ id: 'b', person, kind: 'person', tracks: [], away: false, speaks: true }],
    });
    socket().text({ type: 'speakers', participants: ['b'] });
    socket().text({ type: 'from the future' });
    expect(heard).not.toHaveBeenCalled();
    expect(link.participants.get()[0]?.person.color, 'no colour from outside').toMatch(/^#/);
    expect(link.speakers.get()).toEqual(['b']);
    socket().text({ type: 'ended', again: true });
    expect(heard).toHaveBeenCalledWith({ type: 'ended', again: true });
  });

  it('comes back by itself, but not to a server without calls', () => {
    expect(link.say({ type: 'leave' })).toBe(false);
    socket().open();
    expect(link.say({ type: 'leave' })).toBe(true);
    socket().text({ type: 'call', participants: [] });
    expect(link.state.get()).toBe('online');
    socket().drop(1012);
    expect(link.state.get()).toBe('away');
    vi.advanceTimersByTime(300);
    expect(FakeSocket.all).toHaveLength(2);
    socket().drop(4404);
    expect(link.state.get()).toBe('gone');
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('is begun anew when nothing is heard of it', () => {
    socket().open();
    const report = {
      type: 'report',
      sent_lost: 0,
      received_lost: 0,
      round_trip: 1,
      sent: 1,
      received: 1,
    } as const;
    for (let nth = 0; nth < 3; nth++) link.ask(report);
    socket().text({ type: 'reported' });
    for (let nth = 0; nth < 3; nth++) link.ask(report);
    expect([FakeSocket.all.length, socket().sent.length]).toEqual([1, 6]);
    link.ask(report);
    expect([FakeSocket.all.length, link.state.get()]).toEqual([2, 'away']);
    socket().open();
    link.ask(report);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('can be begun anew while it seems to be there', () => {
    link.renew();
    expect(FakeSocket.all, 'there is none yet').toHaveLength(1);
    const before = socket();
    before.open();
    before.text({ type: 'call', participants: [] });
    link.renew();
    expect([link.state.get(), FakeSocket.all.length, before.readyState]).toEqual(['away', 2, 3]);
    socket().open();
    socket().text({ type: 'call', participants: [] });
    expect(link.state.get()).toBe('online');
  });

  it('comes back less and less often to a server that refuses it', () => {
    const states: string[] = [];
    link.state.subscribe(() => states.push(link.state.get()));
    for (let second = 0; second < 60; second++) {
      // Whoever is refused has an open socket first.
      if (socket().readyState === 0) {
        socket().open();
        socket().drop(4529);
      }
      vi.advanceTimersByTime(1000);
    }
    expect(FakeSocket.all.length).toBeLessThan(40);
    expect(states).toEqual(['away']);
  });
});
