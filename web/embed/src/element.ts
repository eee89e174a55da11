/** What both elements have in common: which document is meant, and being in it for as long as the element is in the page. */
import type { Doc } from '@buildspaces/client';
import type { Hold, Token, Where } from './place';
import { findFile, nameOf } from './rooms';

/** What decides which document is meant; a change of one of these begins anew. */
export const PLACE = ['server', 'room', 'doc', 'token', 'user', 'offline', 'account'];

/** The server this script came from, unless it is part of another site's own files. */
const HOME = new URL(import.meta.url).origin;

export abstract class RoomElement extends HTMLElement {
  #token: Token | null = null;
  #turn = 0;
  #isPlanned = false;
  readonly #releases: (() => void)[] = [];

  /** A token, or a function that gets one; over the attribute, which every script of the page can read. */
  get token(): Token {
    return this.#token ?? this.getAttribute('token') ?? '';
  }

  set token(token: Token | null) {
    this.#token = token;
    this.plan();
  }

  get where(): Where {
    return {
      server: new URL(this.getAttribute('server') ?? HOME, document.baseURI).href,
      token: this.token,
      offline: this.hasAttribute('offline'),
      account: this.getAttribute('account') ?? '',
    };
  }

  connectedCallback(): void {
    this.plan();
  }

  disconnectedCallback(): void {
    this.plan();
  }

  /** Looks at everything again when the script that is running is done: attributes come one by one, and elements are moved. */
  protected plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => {
      this.#isPlanned = false;
      this.#turn += 1;
      this.leave();
      // The other way round: whoever listens to a document stops before it is closed.
      for (const release of this.#releases.splice(0).reverse()) release();
      if (!this.isConnected) return;
      const turn = this.#turn;
      this.enter(() => this.#turn === turn && this.isConnected).catch((error: unknown) => {
        if (this.#turn === turn) this.failed(error);
      });
    });
  }

  /** Undone when the element leaves its document. */
  protected later(release: () => void): void {
    this.#releases.push(release);
  }

  /** Opens a document for this element; `null` if the element is elsewhere by then. */
  protected async hold(name: string, isHere: () => boolean): Promise<Hold | null> {
    const { hold } = await import('./place');
    if (!isHere()) return null;
    const held = await hold(this.where, name);
    if (!isHere()) {
      held.release();
      return null;
    }
    this.later(() => held.release());
    return held;
  }

  /**
   * Opens the document that the attributes mean. A path is looked up in the room's tree, again whenever that changes until there is such a file; from then on the file is
   * followed, whatever it is called. Meanwhile `wait` hears of the tree.
   */
  protected async open(
    isHere: () => boolean,
    wait: (tree: Doc, missing: string | null) => void,
  ): Promise<Hold | null> {
    const [room, doc] = [this.getAttribute('room') ?? '', this.getAttribute('doc') ?? ''];
    if (doc === '') throw new Error('say which document is meant: doc="…"');
    const name = nameOf(room, doc);
    if (name !== null) return this.hold(name, isHere);
    const held = await this.hold(`${room}/tree:main`, isHere);
    if (!held) return null;
    const tree = held.doc;
    const nodes = tree.map('nodes');
    const id = await new Promise<string>((found) => {
      const look = () => {
        if (!isHere()) return;
        const id = findFile(nodes.toJSON() as never, doc);
        const isWhole = tree.state === 'synced' || tree.state === 'saved';
        if (id === null) return wait(tree, isWhole ? doc : null);
        for (const stop of stops.splice(0)) stop();
        found(id);
      };
      const stops = [nodes.observeDeep(look), tree.on('state', look)];
      this.later(() => {
        for (const stop of stops.splice(0)) stop();
      });
      look();
    });
    // First the file, so that the connection stays.
    const file = await this.hold(`${room}/file:${id}`, isHere);
    held.release();
    return file;
  }

  protected abstract enter(isHere: () => boolean): Promise<void>;
  protected abstract leave(): void;
  protected abstract failed(error: unknown): void;
}
