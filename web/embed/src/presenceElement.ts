/**
 * `<buildspaces-presence>`: who else is in a document. `for` names an editor in the same page; otherwise it says by the same attributes as an editor which document is
 * meant. It tells the others nothing: whoever only looks at the list is not in it.
 */
import type { Doc } from '@buildspaces/client';
import { PLACE, RoomElement } from './element';
import { PRESENCE, sheetOf } from './look';
import { type Guest, initials, inkOn, peopleOf } from './people';

/** So many are shown; the others are a number. */
const MOST = 5;

let style: CSSStyleSheet | undefined;

export class PresenceElement extends RoomElement {
  static readonly observedAttributes = [...PLACE, 'for', 'most'];

  readonly #list: HTMLUListElement;
  readonly #words: HTMLElement;
  #shown = '';

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    style ??= sheetOf(PRESENCE);
    root.adoptedStyleSheets = [style];
    this.#list = root.appendChild(document.createElement('ul'));
    this.#list.setAttribute('part', 'list');
    this.#list.setAttribute('aria-label', 'Who is here');
    this.#words = root.appendChild(document.createElement('span'));
    this.#words.className = 'none';
    this.#words.setAttribute('part', 'words');
  }

  attributeChangedCallback(_name: string, before: string | null, after: string | null): void {
    if (before !== after && this.isConnected) this.plan();
  }

  /** Everybody who is here. */
  get people(): readonly Guest[] {
    return this.#people;
  }
  #people: Guest[] = [];

  protected async enter(isHere: () => boolean): Promise<void> {
    const target = this.getAttribute('for');
    if (target !== null) return this.#follow(target, isHere);
    const hold = await this.open(isHere, () => undefined);
    if (!hold) return;
    const { doc } = hold;
    this.later(
      doc.on('state', () => {
        // Another element of this page dropped what is in it.
        if (doc.isClosed) this.plan();
      }),
    );
    this.#watch(doc);
  }

  /** The editor may open another document, or none yet. */
  #follow(target: string, isHere: () => boolean): void {
    const editor = (this.getRootNode() as Document | ShadowRoot).getElementById(target);
    if (!editor) throw new Error(`there is no element with the id ${target}`);
    let [watched, stop]: [Doc | null, () => void] = [null, () => undefined];
    const look = () => {
      const doc = (editor as { document?: Doc | null }).document ?? null;
      if (doc === watched || !isHere()) return;
      stop();
      watched = doc;
      if (doc) stop = this.#watch(doc);
      else this.#show([], false);
    };
    editor.addEventListener('state', look);
    this.later(() => {
      editor.removeEventListener('state', look);
      stop();
    });
    look();
  }

  #watch(doc: Doc): () => void {
    const look = () => {
      if (doc.isClosed) return;
      const all = new Map(doc.others);
      const isHere = doc.state === 'synced' || doc.state === 'saved';
      this.#show(peopleOf(all), isHere);
    };
    const stops = [doc.on('presence', look), doc.on('state', look)];
    const stop = () => {
      for (const one of stops) one();
    };
    this.later(stop);
    look();
    return stop;
  }

  protected leave(): void {
    this.#show([], false);
  }

  protected failed(error: unknown): void {
    this.#words.textContent = error instanceof Error ? error.message : String(error);
  }

  #show(people: Guest[], isHere: boolean): void {
    this.#people = people;
    const most = Math.max(1, Number(this.getAttribute('most')) || MOST);
    const shown = people.length > most ? people.slice(0, most - 1) : people;
    const key = JSON.stringify([shown, people.length]);
    if (key !== this.#shown) {
      this.#shown = key;
      const rest = people.length - shown.length;
      const items = shown.map((guest) => avatar(guest));
      if (rest > 0) items.push(more(rest));
      this.#list.replaceChildren(...items.reverse());
      this.dispatchEvent(new CustomEvent('change', { detail: { people } }));
    }
    this.#list.hidden = people.length === 0;
    this.#words.textContent =
      people.length === 0 && isHere ? (this.getAttribute('alone') ?? 'Nobody else is here') : '';
  }
}

function avatar(guest: Guest): HTMLLIElement {
  const item = document.createElement('li');
  item.title = guest.name;
  const face = item.appendChild(document.createElement('span'));
  face.className = 'avatar';
  face.setAttribute('part', 'avatar');
  face.setAttribute('aria-hidden', 'true');
  face.textContent = initials(guest.name);
  face.style.setProperty('--colour', guest.colour);
  face.style.setProperty('--ink', inkOn(guest.colour));
  item.append(unseen(guest.name));
  return item;
}

function more(count: number): HTMLLIElement {
  const item = document.createElement('li');
  item.className = 'more';
  const face = item.appendChild(document.createElement('span'));
  face.className = 'avatar';
  face.setAttribute('part', 'avatar');
  face.setAttribute('aria-hidden', 'true');
  face.textContent = `+${count}`;
  item.append(unseen(`and ${count} more`));
  return item;
}

/** For screen readers. */
function unseen(words: string): HTMLElement {
  const made = document.createElement('span');
  made.className = 'hidden';
  made.textContent = words;
  return made;
}
