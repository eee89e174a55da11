import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { recentRooms, rememberRoom } from './recentRooms';
import { SessionStore } from './session';

function storage(): Storage {
  const values = new Map<string, string>();
  return {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
    removeItem: (key: string) => void values.delete(key),
  } as unknown as Storage;
}

let calls: { method: string; path: string; body: unknown }[] = [];
let refuse = false;
/** How the server answers the question what holds in the room, and whether access was taken back. */
let access = 200;
let ended = false;

beforeEach(() => {
  calls = [];
  refuse = false;
  access = 200;
  ended = false;
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const body = JSON.parse(String(init.body ?? '{}')) as { name: string };
    calls.push({ method: init.method ?? '', path, body });
    if (path.endsWith('/access')) {
      if (access === 200) return Response.json({ person: { id: 'p1', name: 'Ada', color: '#2563eb' } });
      const code = ended ? 'access_ended' : access === 401 ? 'unknown_session' : 'denied';
      return Response.json({ error: { code, message: 'your access was taken back' } }, { status: access });
    }
    if (refuse && init.method === 'PATCH')
      return Response.json({ error: { code: 'unknown_session', message: 'no' } }, { status: 401 });
    const person = { id: `p${calls.length}`, name: body.name, color: '#2563eb' };
    return Response.json(init.method === 'PATCH' ? { person } : { token: `t${calls.length}`, person });
  });
});
afterEach(() => vi.unstubAllGlobals());

describe('SessionStore', () => {
  it('keeps the session for the next visit', async () => {
    const kept = storage();
    await new SessionStore(kept).signIn('Ada');
    expect(new SessionStore(kept).current?.person.name).toBe('Ada');
  });

  it('asks for nothing when the name is the same', async () => {
    const sessions = new SessionStore(storage());
    await sessions.signIn('Ada');
    await sessions.signIn('Ada');
    expect(calls).toHaveLength(1);
  });

  it('renames, and begins anew when the server does not know the session', async () => {
    const sessions = new SessionStore(storage());
    await sessions.signIn('Ada');
    await sessions.signIn('Ada L.');
    expect(calls.map((call) => call.method)).toEqual(['POST', 'PATCH']);
    refuse = true;
    await sessions.signIn('Countess');
    expect(sessions.current?.token).toBe('t4');
  });

  it('renews once for many documents that were refused together', async () => {
    const sessions = new SessionStore(storage());
    const { token } = await sessions.signIn('Ada');
    const renewals = await Promise.all([sessions.renew(token), sessions.renew(token), sessions.renew(token)]);
    expect(new Set(renewals.map((session) => session.token)).size).toBe(1);
    expect(calls).toHaveLength(2);
    expect((await sessions.renew(token)).token).toBe(renewals[0]?.token);
    expect(calls).toHaveLength(2);
  });

  it('asks once what holds for many connections that were refused together', async () => {
    const sessions = new SessionStore(storage());
    const { token } = await sessions.signIn('Ada');
    const [one, two] = await Promise.all([sessions.recover(token, 'r'), sessions.recover(token, 'r')]);
    expect([one.token, two.token]).toEqual([token, token]);
    expect(calls.map((call) => call.path)).toEqual(['/api/v1/sessions', '/api/v1/rooms/r/access']);
  });

  it('begins anew when the server does not know the session', async () => {
    const sessions = new SessionStore(storage());
    const { token } = await sessions.signIn('Ada');
    access = 401;
    expect((await sessions.recover(token, 'r')).token).not.toBe(token);
    expect(sessions.ended.get()).toBeNull();
  });

  it.each([401, 403])('does not come in again under another name when sent out (%d)', async (status) => {
    const sessions = new SessionStore(storage());
    const { token } = await sessions.signIn('Ada');
    [access, ended] = [status, status === 401];
    await expect(sessions.recover(token, 'r')).rejects.toThrow('Your access was taken back.');
    expect(sessions.ended.get()).toBe('Your access was taken back.');
    expect(sessions.current?.token).toBe(token);
    expect(calls).toHaveLength(2);
  });

  it('survives rubbish in storage', () => {
    const kept = storage();
    kept.setItem('buildspaces.session', '{"token": 7');
    expect(new SessionStore(kept).current).toBeNull();
  });
});

describe('recent rooms', () => {
  it('are newest first, without doubles, and bounded', () => {
    const kept = storage();
    for (let i = 0; i < 12; i++)
      rememberRoom(
        { id: `r${i % 10}`, title: `Room ${i}`, template: 'python', kind: 'default', created_at: 0 },
        i,
        kept,
      );
    const rooms = recentRooms(kept);
    expect(rooms).toHaveLength(8);
    expect(rooms[0]).toMatchObject({ id: 'r1', title: 'Room 11' });
    expect(new Set(rooms.map((room) => room.id)).size).toBe(8);
  });
});
