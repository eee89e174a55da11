/**
 * `<buildspaces-editor>`: a document that several people edit at once. The element shows at once that it loads; the editor and the client are fetched then.
 *
 * Events: `state` with `{ mood, state, reason, unsavedChanges }`, `change` after each change of the text, `error` with `{ error }`.
 */
import type { Doc } from '@buildspaces/client';
import type { Editor } from './editor';
import { PLACE, RoomElement } from './element';
import { EDITOR, sheetOf } from './look';
import { colourOf, freeColour, readGuest } from './people';
import type { Hold } from './place';
import { describe, type Mood } from './words';

const LOOK = ['language', 'label', 'placeholder', 'readonly', 'numbers', 'tab', 'field'];

let style: CSSStyleSheet | undefined;

export class EditorElement extends RoomElement {
  static readonly observedAttributes = [...PLACE, ...LOOK];

  readonly #frame: HTMLElement;
  readonly #body: HTMLElement;
  readonly #message: HTMLElement;
  readonly #retry: HTMLButtonElement;
  readonly #status: HTMLElement;
  readonly #file: HTMLElement;
  readonly #skeleton: HTMLElement;
  /** Colours of those who are here. */
  readonly #colours = new CSSStyleSheet();
  #editor: Editor | null = null;
  #hold: Hold | null = null;
  #wasSynced = false;
  #isRefused = false;
  /** A connection was tried, and the last one that was tried failed. */
  #hasTried = false;
  #isLost = false;
  #mood: Mood | null = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    style ??= sheetOf(EDITOR);
    root.adoptedStyleSheets = [style, this.#colours];
    this.#frame = root.appendChild(element('div', 'frame'));
    this.#message = this.#frame.appendChild(element('div', 'message'));
    this.#message.setAttribute('role', 'alert');
    this.#message.append(document.createElement('span'));
    this.#retry = this.#message.appendChild(document.createElement('button'));
    this.#retry.type = 'button';
    this.#retry.setAttribute('part', 'button');
    this.#body = this.#frame.appendChild(element('div', 'body'));
    this.#skeleton = this.#body.appendChild(element('div', 'skeleton'));
    this.#skeleton.setAttribute('aria-hidden', 'true');
    this.#skeleton.append(...Array.from({ length: 4 }, () => document.createElement('i')));
    const bar = this.#frame.appendChild(element('div', 'status'));
    bar.append(element('span', 'dot'));
    this.#status = bar.appendChild(element('span', 'words'));
    this.#status.setAttribute('role', 'status');
    this.#file = bar.appendChild(element('span', 'file'));
    this.#retry.onclick = () => void this.#again();
  }

  /** The text as it is now. */
  get value(): string {
    return this.#editor?.view.state.doc.toString() ?? '';
  }

  /** CodeMirror's view, for whoever wants more of it; `null` while it loads. */
  get view(): Editor['view'] | null {
    return this.#editor?.view ?? null;
  }

  /** The client's document. */
  get document(): Doc | null {
    return this.#hold?.doc ?? null;
  }

  /** As the event `state` tells it. */
  get mood(): Mood | null {
    return this.#mood;
  }

  attributeChangedCallback(_name: string, before: string | null, after: string | null): void {
    if (before !== after && this.isConnected) this.plan();
  }

  protected async enter(isHere: () => boolean): Promise<void> {
    const path = this.getAttribute('doc') ?? '';
    this.#file.textContent = path.split('/').at(-1) ?? '';
    this.#file.title = path;
    this.#wasSynced = false;
    this.#isRefused = false;
    this.#hasTried = false;
    this.#isLost = false;
    this.#show(null, null);
    const [hold, { Editor }, { languageOf }] = await Promise.all([
      this.open(isHere, (tree, missing) => this.#show(tree, missing)),
      import('./editor'),
      import('./language'),
    ]);
    if (!hold || !isHere()) return;
    this.#hold = hold;
    const { doc } = hold;
    const name = this.getAttribute('user')?.trim() || 'Guest';
    hold.say({ user: hold.said.user ?? { name, color: colourOf(doc.clientId) } });
    const text = doc.text(this.getAttribute('field') ?? 'text');
    await doc.whenRestored();
    if (!isHere()) return;
    const begin = () => {
      // Another element of this page dropped what is in it.
      if (doc.isClosed) return this.plan();
      const isSynced = doc.state === 'synced' || doc.state === 'saved';
      if (isSynced && !this.#wasSynced) this.#dress(hold);
      this.#wasSynced ||= isSynced;
      // What this device kept is shown without a connection, but not to somebody who is turned away.
      const isKept = text.length > 0 && (doc.state === 'offline' || this.#editor !== null);
      if (!this.#editor && (this.#wasSynced || isKept)) {
        this.#editor = new Editor({
          hold,
          text,
          parent: this.#body.appendChild(element('div', 'editor')),
          root: this.shadowRoot as ShadowRoot,
          sheet: this.#colours,
          label: this.getAttribute('label') ?? (path || 'Document'),
          placeholder: this.getAttribute('placeholder') ?? '',
          hasLineNumbers: this.getAttribute('numbers') !== 'off',
          tabIndents: this.getAttribute('tab') === 'indents',
          onProblem: (error) => this.#tell('error', { error }),
        });
        void this.#editor.setLanguage(languageOf(this.getAttribute('language'), path));
      }
      this.#show(doc, null);
    };
    this.later(doc.on('state', begin));
    this.later(doc.on('unsaved', () => this.#show(doc, null)));
    this.later(doc.on('storage', () => this.#show(doc, null)));
    this.later(
      doc.on('refused', () => {
        this.#isRefused = true;
        this.#show(doc, null);
      }),
    );
    this.later(doc.on('error', ({ error }) => this.#tell('error', { error })));
    this.later(text.observe(() => this.#tell('change', undefined)));
    begin();
  }

  protected leave(): void {
    this.#editor?.destroy();
    this.#editor = null;
    this.#hold = null;
    for (const old of this.#body.querySelectorAll('.editor')) old.remove();
  }

  protected failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#frame.dataset.mood = 'denied';
    this.#frame.toggleAttribute('data-empty', true);
    this.#skeleton.hidden = true;
    this.#status.textContent = 'Not loaded';
    this.#say(`This document could not be loaded: ${reason}`, 'Try again');
    this.#tell('error', { error });
  }

  /** Among those who are here, another colour. Where the server knows somebody, it says which. */
  #dress(hold: Hold): void {
    const { name, color } = hold.said.user as { name: string; color: string };
    const others = [...hold.doc.others].map(([client, state]) => readGuest(client, state).colour);
    const free = freeColour(color, others);
    if (free !== color) hold.say({ user: { name, color: free } });
  }

  /** What there is to say and to do about the document, or about the tree in which it is looked up. */
  #show(doc: Doc | null, missing: string | null): void {
    const isEditable = !this.hasAttribute('readonly');
    const isIn = doc !== null && doc === this.#hold?.doc;
    const mayEdit = isIn && isEditable && !doc.readOnly;
    const state = doc?.state ?? 'connecting';
    if (doc?.state === 'connecting') this.#hasTried = true;
    else this.#isLost = this.#hasTried && state === 'offline';
    const said = describe({
      // A try after a failure is no news until it succeeds: said each time, the words would flicker and be read out again.
      state: this.#isLost && state === 'connecting' ? 'offline' : state,
      reason: doc?.reason ?? '',
      unsaved: doc?.unsavedChanges ?? 0,
      isHere: this.#editor !== null,
      mayEdit: isIn ? mayEdit : isEditable,
      isKept: doc?.isKept ?? false,
      missing,
      isRefused: this.#isRefused,
    });
    const isEmpty = this.#editor === null || (said.mood === 'denied' && !this.#wasSynced);
    this.#frame.dataset.mood = said.mood;
    this.#frame.toggleAttribute('data-empty', isEmpty);
    this.#skeleton.hidden = said.mood !== 'loading' || this.#editor !== null;
    for (const editor of this.#body.querySelectorAll<HTMLElement>('.editor')) editor.hidden = isEmpty;
    this.#status.textContent = said.text;
    this.#status.title = doc?.reason ?? '';
    this.#say(
      said.message,
      said.mood === 'denied' ? 'Try again' : said.mood === 'refused' ? 'Discard my changes' : '',
    );
    this.#editor?.setMayEdit(mayEdit && said.mood !== 'denied' && said.mood !== 'refused');
    this.#mood = said.mood;
    this.#tell('state', {
      mood: said.mood,
      state,
      reason: doc?.reason ?? '',
      unsavedChanges: doc?.unsavedChanges ?? 0,
    });
  }

  #say(message: string, button: string): void {
    const [words] = this.#message.children;
    // An alert is read out when its words change.
    if (words && words.textContent !== message) words.textContent = message;
    this.#message.hidden = message === '';
    this.#retry.hidden = button === '';
    this.#retry.textContent = button;
  }

  async #again(): Promise<void> {
    const hold = this.#hold;
    if (this.#isRefused && hold) return hold.forget();
    if (hold?.doc.state === 'denied') return hold.doc.retry();
    this.plan();
  }

  #tell(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Its class is its part too. */
function element(tag: string, name: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  made.setAttribute('part', name);
  return made;
}
