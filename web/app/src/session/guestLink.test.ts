import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../api/client';
import { takeGuestToken } from './guestLink';
import { SessionStore } from './session';

function storage(): Storage {
  const values = new Map<string, string>();
  return {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
    removeItem: (key: string) => void values.delete(key),
  } as unknown as Storage;
}

const none = { replaceState: () => {} };

describe('a guest link', () => {
  it('gives its token once and leaves it in no address', () => {
    const replaceState = vi.fn();
    const tab = storage();
    const at = { pathname: '/r/abc', hash: '#token=a.b-c_d' };
    expect(takeGuestToken('abc', at, { replaceState }, tab)).toBe('a.b-c_d');
    expect(replaceState).toHaveBeenCalledWith(null, '', '/r/abc');
    expect(takeGuestToken('abc', { pathname: '/r/abc', hash: '' }, none, tab)).toBe('a.b-c_d');
  });

  it('is for its own room', () => {
    const tab = storage();
    takeGuestToken('abc', { pathname: '/r/abc', hash: '#token=t' }, none, tab);
    expect(takeGuestToken('other', { pathname: '/r/other', hash: '' }, none, tab)).toBeNull();
    expect(takeGuestToken(null, { pathname: '/', hash: '#token=t' }, none, tab)).toBeNull();
    expect(takeGuestToken('abc', { pathname: '/r/abc', hash: '#token=' }, none, storage())).toBeNull();
  });
});

describe('a guest', () => {
  let status = 200;
  let sent: { path: string; authorization: string | undefined }[] = [];
  beforeEach(() => {
    status = 200;
    sent = [];
    vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
      const headers = init.headers as Record<string, string>;
      sent.push({ path, authorization: headers.authorization });
      const person = { id: 'p1', name: 'Grace', color: '#2563eb' };
      const error = { code: 'unknown_session', message: 'the token has expired: get a new one' };
      return status === 200 ? Response.json({ person }) : Response.json({ error }, { status });
    });
  });
  afterEach(() => vi.unstubAllGlobals());

  it('is who the token says, in this tab only', async () => {
    const kept = storage();
    const sessions = new SessionStore(kept, 't');
    expect(sessions.current).toBeNull();
    expect((await sessions.enter('t')).person.name).toBe('Grace');
    expect(sent).toEqual([{ path: '/api/v1/session', authorization: 'Bearer t' }]);
    expect(new SessionStore(kept).current).toBeNull();
  });

  it('gets no session of its own when the token is refused', async () => {
    const sessions = new SessionStore(storage(), 't');
    await sessions.enter('t');
    const why = new ApiError(401, 'unknown_session', 'Your access was taken back.');
    await expect(sessions.renew('t', why)).rejects.toBeInstanceOf(ApiError);
    expect(sessions.ended.get()).toBe('Your access was taken back.');
    expect(sent).toHaveLength(1);
  });

  it('is told why the token does not let it in', async () => {
    status = 401;
    const sessions = new SessionStore(storage(), 't');
    await expect(sessions.enter('t')).rejects.toThrow('The token has expired: get a new one.');
  });
});
