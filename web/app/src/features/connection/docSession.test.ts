import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as sync from 'y-protocols/sync';
import * as Y from 'yjs';
import type { Session } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { Store } from '../../ui/store';
import { DocSession } from './docSession';

/** A socket whose other end is the test. */
class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readonly OPEN = 1;
  readyState = 0;
  binaryType = '';
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: Uint8Array }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly sent: Uint8Array[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: Uint8Array): void {
    this.sent.push(data);
  }
  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  drop(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
  receive(write: (encoder: encoding.Encoder) => void): void {
    const encoder = encoding.createEncoder();
    write(encoder);
    this.onmessage?.({ data: encoding.toUint8Array(encoder) });
  }
  /** What a server does first, and its answer to the page's own first message. */
  handshake(server: Y.Doc): void {
    this.receive((e) => {
      encoding.writeVarUint(e, 0);
      sync.writeSyncStep1(e, server);
    });
    this.receive((e) => {
      encoding.writeVarUint(e, 0);
      sync.writeSyncStep2(e, server);
    });
  }
  /** Numbers of the save requests sent here, each with its place among the messages. */
  saveRequests(): { at: number; request: number; message: Uint8Array }[] {
    return this.sent.flatMap((message, at) => {
      const decoder = decoding.createDecoder(message);
      if (decoding.readVarUint(decoder) !== 102) return [];
      const payload = decoding.createDecoder(decoding.readVarUint8Array(decoder));
      return [{ at, request: decoding.readVarUint(payload), message }];
    });
  }
  syncMessages(): number[] {
    return this.sent.filter((m) => m[0] === 0).map((m) => m[1] ?? -1);
  }
}

const STEP_2 = 1;
const server = new Y.Doc();
let recovered: string[] = [];
/** What the session store finds to go on with. */
let recover: () => Promise<Session>;
const ended = new Store<string | null>(null);
const sessions = {
  current: { token: 'old' } as Session,
  ended,
  recover: (refused: string, room: string) => {
    recovered.push(`${refused} ${room}`);
    return recover();
  },
} as unknown as SessionStore;
let opened: DocSession[] = [];

function open(): { session: DocSession; socket: FakeSocket } {
  const session = new DocSession('room/file:f', sessions);
  opened.push(session);
  return { session, socket: last() };
}
const last = () => FakeSocket.all[FakeSocket.all.length - 1] as FakeSocket;
const settle = () => vi.advanceTimersByTimeAsync(200);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('location', { protocol: 'http:', host: 'localhost' });
  FakeSocket.all = [];
  recovered = [];
  recover = async () => ({ token: 'new' }) as Session;
  ended.set(null);
  opened = [];
});
afterEach(() => {
  for (const session of opened) session.destroy();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('DocSession', () => {
  it('counts an edit until the server returns the save request that followed it', async () => {
    const { session, socket } = open();
    socket.open();
    socket.handshake(server);
    await settle();
    session.doc.getText('text').insert(0, 'a');
    expect(session.state.get().unsaved).toBe(1);
    await settle();
    const [request] = socket.saveRequests();
    socket.onmessage?.({ data: request?.message as Uint8Array });
    expect(session.state.get().unsaved).toBe(0);
  });

  it('batches the requests of fast typing', async () => {
    const { session, socket } = open();
    socket.open();
    socket.handshake(server);
    await settle();
    for (const letter of 'typing') session.doc.getText('text').insert(0, letter);
    await settle();
    expect(socket.saveRequests()).toHaveLength(1);
    expect(session.state.get().unsaved).toBe(6);
  });

  it('asks about edits made while away only after it sent them', async () => {
    const { session, socket } = open();
    socket.open();
    socket.handshake(server);
    await settle();
    socket.drop(1006);
    session.doc.getText('text').insert(0, 'offline');
    await vi.advanceTimersByTimeAsync(5000);
    const again = last();
    expect(again).not.toBe(socket);
    again.open();
    await settle();
    expect(again.saveRequests()).toHaveLength(0);
    again.handshake(server);
    await settle();
    const [request] = again.saveRequests();
    const sentBefore = again.sent.slice(0, request?.at).filter((m) => m[0] === 0 && m[1] === STEP_2);
    expect(sentBefore).toHaveLength(1);
  });

  it('does not believe an answer from before the connection broke', async () => {
    const { session, socket } = open();
    socket.open();
    socket.handshake(server);
    await settle();
    session.doc.getText('text').insert(0, 'a');
    await settle();
    const [stale] = socket.saveRequests();
    socket.drop(1006);
    await vi.advanceTimersByTimeAsync(5000);
    last().open();
    last().receive((e) => {
      for (const byte of stale?.message ?? []) encoding.write(e, byte);
    });
    expect(session.state.get().unsaved).toBe(1);
  });

  it('asks anew when the server asks for something it lacks', async () => {
    const { session, socket } = open();
    socket.open();
    socket.handshake(server);
    await settle();
    session.doc.getText('text').insert(0, 'a');
    await settle();
    const before = socket.saveRequests().length;
    socket.handshake(server);
    await settle();
    expect(socket.saveRequests().length).toBe(before + 1);
    expect(socket.syncMessages().filter((type) => type === STEP_2).length).toBe(2);
  });

  it('gets a new session when the token is refused', async () => {
    const { session, socket } = open();
    expect(socket.url).toContain('token=old');
    socket.open();
    socket.drop(4401);
    await settle();
    expect(recovered).toEqual(['old room']);
    expect(last().url).toContain('token=new');
    last().open();
    last().handshake(server);
    expect(session.state.get().link).toBe('online');
  });

  it('comes back with the same token when only the connection was ended, but not in a hurry', async () => {
    const { socket } = open();
    recover = async () => ({ token: 'old' }) as Session;
    socket.open();
    socket.drop(4401);
    await settle();
    expect(FakeSocket.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('does not come back when access has ended', async () => {
    const { socket } = open();
    recover = async () => {
      ended.set('Your access was taken back.');
      throw new Error('ended');
    };
    socket.open();
    socket.drop(4401);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(recovered).toHaveLength(1);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('asks again while nobody can say what holds', async () => {
    const { socket } = open();
    recover = async () => {
      throw new Error('the server is away');
    };
    socket.open();
    socket.drop(4401);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(recovered.length).toBeGreaterThan(2);
  });

  it('stops for good when it may not be opened, and says why', async () => {
    const { session, socket } = open();
    socket.open();
    socket.drop(4403, 'your token is not for this document');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(session.state.get()).toMatchObject({
      link: 'barred',
      refused: 'your token is not for this document',
    });
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('stops for good when there is no such document', async () => {
    const { session, socket } = open();
    socket.open();
    socket.drop(4404);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(session.state.get().link).toBe('gone');
    expect(FakeSocket.all).toHaveLength(1);
  });

  it.each([
    [1009, 'paste it in parts'],
    [4413, 'another document'],
    [4422, 'smaller steps'],
  ])('says what to do about an edit that ends it with %i', (code, words) => {
    const { session, socket } = open();
    socket.open();
    socket.drop(code);
    expect(session.state.get()).toMatchObject({ link: 'away', refused: expect.stringContaining(words) });
  });

  it('goes on trying when the server is away', async () => {
    const { session, socket } = open();
    socket.drop(1006);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.state.get().link).toBe('away');
    expect(FakeSocket.all.length).toBeGreaterThan(1);
  });
});
