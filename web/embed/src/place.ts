/**
 * Documents that elements of this page have open. Elements that name the same server share a client, and those that name the same document share that, so
 * a page has one connection however many elements there are.
 */
import { type Doc, load, RoomClient } from '@buildspaces/client';

export type Token = string | ((request: { document: string; because?: string }) => string | Promise<string>);

export interface Where {
  /** The server's address, as `https://…`. */
  server: string;
  token: Token;
  offline: boolean;
  /** Keeps what one user of this browser has offline apart from another's. */
  account: string;
}

interface Open {
  doc: Doc;
  holders: number;
  said: Record<string, unknown>;
}

interface Server {
  client: RoomClient;
  tokens: Map<string, Token>;
  open: Map<string, Open>;
}

const servers = new Map<string, Server>();

/** One element's hold on a document. */
export class Hold {
  readonly doc: Doc;
  readonly #end: () => void;
  readonly #open: Open;
  #isOver = false;

  constructor(open: Open, end: () => void) {
    this.doc = open.doc;
    this.#open = open;
    this.#end = end;
  }

  /** Says something of oneself to the others in the document; elements of one page are one to them. */
  say(what: Record<string, unknown>): void {
    if (this.#isOver || this.doc.isClosed) return;
    Object.assign(this.#open.said, what);
    this.doc.setPresence(this.#open.said as never);
  }

  /** What this page says of itself there. */
  get said(): Readonly<Record<string, unknown>> {
    return this.#open.said;
  }

  /** Drops what only this device has of the document. Whoever on this page holds it has to hold it anew: it is closed for all. */
  async forget(): Promise<void> {
    // They all leave it at once, and the client would end with it, in the middle of this.
    this.#open.holders += 1;
    try {
      await this.doc.client.forget(this.doc.name);
    } finally {
      this.#end();
    }
  }

  release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#end();
  }
}

/** Opens a document, or joins whoever on this page has it open. */
export async function hold(where: Where, name: string): Promise<Hold> {
  await load();
  const key = JSON.stringify([where.server, where.offline, where.account]);
  let server = servers.get(key);
  if (!server) {
    const tokens = new Map<string, Token>();
    const url = new URL('collab', `${where.server.replace(/\/$/, '')}/`);
    url.protocol = url.protocol.replace('http', 'ws');
    const client = new RoomClient({
      url: url.href,
      ...(where.offline ? { offline: { account: where.account } } : {}),
      token: async ({ document, because }) => {
        const token = tokens.get(document) ?? '';
        if (typeof token === 'function')
          return token(because === undefined ? { document } : { document, because });
        // The same again would only be refused again.
        if (because !== undefined) throw new Error(because);
        return token;
      },
    });
    server = { client, tokens, open: new Map() };
    servers.set(key, server);
  }
  const { client, tokens, open } = server;
  let held = open.get(name);
  // Somebody may have forgotten it under those who hold it.
  if (!held || held.doc.isClosed) {
    tokens.set(name, where.token);
    held = { doc: client.open(name), holders: 0, said: {} };
    open.set(name, held);
  }
  const own = held;
  if (where.token !== '' && where.token !== tokens.get(name)) {
    // The newest counts, for whoever holds it.
    tokens.set(name, where.token);
    if (own.doc.state === 'denied') own.doc.retry();
    else own.doc.renewToken();
  }
  own.holders += 1;
  const end = () => {
    if (own.holders > 0) return;
    const { doc } = own;
    // What nobody has but this page stays until the server has it: an element that is moved or comes back finds it here.
    if (doc.unsavedChanges > 0 && !doc.isKept && !doc.isClosed && doc.state !== 'denied') {
      void doc.whenSaved().then(end, end);
      return;
    }
    if (open.get(name) === own) open.delete(name);
    doc.close();
    if (open.size > 0 || servers.get(key) !== server) return;
    servers.delete(key);
    client.destroy();
  };
  return new Hold(own, () => {
    own.holders -= 1;
    end();
  });
}
