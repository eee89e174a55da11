/**
 * Who this browser is: a display name and a token, kept in local storage. A token the server does not know any more
 * (its data was moved, the session expired) is replaced silently by a new session under the same name. A guest has the token of
 * the link they came with instead, for this tab only, and nothing replaces it.
 */
import { ApiError, send, written } from '../api/client';
import type { Session } from '../api/types';
import { Store } from '../ui/store';

const KEY = 'buildspaces.session';
/** The server's word for access that has expired or was taken back, unlike a session that it does not know. */
const ACCESS_ENDED = 'access_ended';

export class SessionStore extends Store<Session | null> {
  /** Why there is no access to the room any more, if it ended. */
  readonly ended = new Store<string | null>(null);
  private renewal: Promise<Session> | null = null;
  private recovery: Promise<Session> | null = null;

  constructor(
    private readonly storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>,
    /** The token of a guest link. */
    readonly guest: string | null = null,
  ) {
    super(guest === null ? read(storage) : null);
  }

  get current(): Session | null {
    return this.get();
  }

  /** Finds out who the holder of a guest link's token is. */
  async enter(guest: string): Promise<Session> {
    const response = await send('GET', '/session', { token: guest });
    const { person } = (await response.json()) as Pick<Session, 'person'>;
    const session = { token: guest, person };
    this.set(session);
    return session;
  }

  /** A session under `name`; keeps the present one if it has that name already. */
  async signIn(name: string): Promise<Session> {
    const current = this.current;
    if (current && current.person.name === name) return current;
    if (current) {
      const renamed = await this.rename(current, name).catch(() => null);
      if (renamed) return renamed;
    }
    return this.create(name);
  }

  /** The room may not be used any more, and nothing this page can do changes that. */
  end(reason: string): void {
    if (this.ended.get() === null) this.ended.set(written(reason));
  }

  /**
   * Replaces the session whose token was refused. Many documents find out at the same moment: they share one renewal, and
   * a caller whose token is already outdated gets the newer session at once. Nothing replaces a guest's token, nor access that
   * was taken back: who was sent out does not come in again under another name by themselves.
   */
  renew(refused: string, why?: ApiError): Promise<Session> {
    if (this.guest !== null || why?.code === ACCESS_ENDED) {
      const reason = why?.message ?? 'Your access has ended.';
      this.end(reason);
      return Promise.reject(new ApiError(401, ACCESS_ENDED, reason));
    }
    const current = this.current;
    if (current && current.token !== refused) return Promise.resolve(current);
    this.renewal ??= this.create(current?.person.name ?? 'Guest').finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  /**
   * What a document's connection goes on with whose token was refused: the same token, if only that connection was ended; a new
   * session, if the server does not know this one; otherwise it rejects. Many documents share one question.
   */
  recover(refused: string, room: string): Promise<Session> {
    const current = this.current;
    if (current && current.token !== refused) return Promise.resolve(current);
    this.recovery ??= this.ask(refused, room).finally(() => {
      this.recovery = null;
    });
    return this.recovery;
  }

  private async ask(token: string, room: string): Promise<Session> {
    try {
      const response = await send('GET', `/rooms/${room}/access`, { token });
      const { person } = (await response.json()) as Pick<Session, 'person'>;
      return this.current ?? { token, person };
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return this.renew(token, error);
      if (error instanceof ApiError && error.status === 403) this.end(error.message);
      throw error;
    }
  }

  private async create(name: string): Promise<Session> {
    const response = await send('POST', '/sessions', { body: { name } });
    return this.keep((await response.json()) as Session);
  }

  private async rename(session: Session, name: string): Promise<Session> {
    const response = await send('PATCH', '/session', { token: session.token, body: { name } });
    const { person } = (await response.json()) as Pick<Session, 'person'>;
    return this.keep({ token: session.token, person });
  }

  private keep(session: Session): Session {
    try {
      this.storage.setItem(KEY, JSON.stringify(session));
    } catch {
      // Storage is full or forbidden: the session then lives as long as the page.
    }
    this.set(session);
    return session;
  }
}

function read(storage: Pick<Storage, 'getItem'>): Session | null {
  try {
    const value = JSON.parse(storage.getItem(KEY) ?? 'null') as Session | null;
    return typeof value?.token === 'string' && typeof value.person?.name === 'string' ? value : null;
  } catch {
    return null;
  }
}
