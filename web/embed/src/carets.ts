/**
 * Shows where others are in the text, and tells them where we are. Names are text nodes and colours are checked and come from style sheets made by script, so
 * nothing that somebody else says becomes markup, and a page's content security policy needs to allow no inline style.
 */
import { type Extension, RangeSetBuilder, StateEffect, StateField } from '@codemirror/state';
import {
  Decoration,
  type DecorationSet,
  EditorView,
  type PluginValue,
  ViewPlugin,
  type ViewUpdate,
  WidgetType,
} from '@codemirror/view';
import type { Binding } from './binding';
import { type Guest, inkOn, readGuest } from './people';
import { fromJson, type PositionJson, toJson } from './relativePosition';

/** Carets are told at most this often. */
const TELL_MS = 50;

/** More carets of one person are neither told nor shown: somebody with a caret in every line would flood everyone. */
const MAX_CARETS = 16;

interface Told {
  a: PositionJson | null;
  h: PositionJson | null;
}

const placed = StateEffect.define<DecorationSet>();

const shown = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(carets, transaction) {
    for (const effect of transaction.effects) if (effect.is(placed)) return effect.value;
    return carets.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

class Caret extends WidgetType {
  readonly #guest: Guest;

  constructor(guest: Guest) {
    super();
    this.#guest = guest;
  }

  override eq(other: Caret): boolean {
    const [a, b] = [this.#guest, other.#guest];
    return a.client === b.client && a.name === b.name && a.colour === b.colour;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement('span');
    caret.className = `caret ${classOf(this.#guest.colour)}`;
    caret.setAttribute('part', 'caret');
    caret.setAttribute('aria-hidden', 'true');
    const label = caret.appendChild(document.createElement('span'));
    label.className = 'name';
    label.setAttribute('part', 'caret-name');
    label.textContent = this.#guest.name;
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

const classOf = (colour: string): string => `colour-${colour.slice(1).toLowerCase()}`;

/** `tell` says something of this editor to the others; `sheet` is the editor's own, for colours. */
export function carets(
  binding: Binding,
  tell: (selections: Told[]) => void,
  sheet: CSSStyleSheet,
): Extension {
  return [shown, ViewPlugin.define((view) => new Carets(view, binding, tell, sheet))];
}

class Carets implements PluginValue {
  readonly #view: EditorView;
  readonly #binding: Binding;
  readonly #tell: (selections: Told[]) => void;
  readonly #sheet: CSSStyleSheet;
  readonly #colours = new Set<string>();
  readonly #stop: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #frame = 0;
  #wasHere = false;

  constructor(view: EditorView, binding: Binding, tell: (selections: Told[]) => void, sheet: CSSStyleSheet) {
    this.#view = view;
    this.#binding = binding;
    this.#tell = tell;
    this.#sheet = sheet;
    this.#stop = binding.doc.on('presence', () => this.#drawSoon());
    this.#drawSoon();
  }

  update(update: ViewUpdate): void {
    if (update.selectionSet || update.focusChanged || update.docChanged) this.#tellSoon();
  }

  destroy(): void {
    this.#stop();
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    if (this.#wasHere) this.#tell([]);
  }

  /** A text that is only looked at has no caret: others see one from the first time the keyboard is in it. */
  #tellSoon(): void {
    if (!this.#wasHere && !this.#view.hasFocus) return;
    this.#wasHere = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const { text } = this.#binding;
      const place = (offset: number) =>
        toJson(text.position(Math.min(this.#binding.toText(offset), text.length)));
      this.#tell(
        this.#view.state.selection.ranges.slice(0, MAX_CARETS).map(({ anchor, head }) => {
          const a = place(anchor);
          return { a, h: anchor === head ? a : place(head) };
        }),
      );
    }, TELL_MS);
  }

  #drawSoon(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    const { doc } = this.#binding;
    if (doc.isClosed) return;
    const found: { from: number; to: number; decoration: Decoration }[] = [];
    for (const [client, state] of doc.others) {
      const guest = readGuest(client, state);
      const { sel } = (typeof state === 'object' && state !== null ? state : {}) as { sel?: unknown };
      if (!Array.isArray(sel)) continue;
      for (const told of sel.slice(0, MAX_CARETS) as (Partial<Told> | null)[]) {
        const [anchor, head] = [this.#place(told?.a), this.#place(told?.h)];
        if (anchor === null || head === null) continue;
        this.#paint(guest.colour);
        if (anchor !== head)
          found.push({
            from: Math.min(anchor, head),
            to: Math.max(anchor, head),
            decoration: Decoration.mark({ class: `selected ${classOf(guest.colour)}` }),
          });
        found.push({
          from: head,
          to: head,
          decoration: Decoration.widget({ widget: new Caret(guest), side: 1 }),
        });
      }
    }
    found.sort((a, b) => a.from - b.from || a.decoration.startSide - b.decoration.startSide);
    const builder = new RangeSetBuilder<Decoration>();
    for (const { from, to, decoration } of found) builder.add(from, to, decoration);
    this.#view.dispatch({ effects: placed.of(builder.finish()) });
  }

  #place(json: unknown): number | null {
    const position = fromJson(json);
    if (!position) return null;
    try {
      const index = this.#binding.text.indexOf(position);
      return index === null ? null : Math.min(this.#binding.toShown(index), this.#view.state.doc.length);
    } catch {
      return null;
    }
  }

  #paint(colour: string): void {
    if (this.#colours.has(colour)) return;
    this.#colours.add(colour);
    this.#sheet.insertRule(`.${classOf(colour)} { --colour: ${colour}; --ink: ${inkOn(colour)}; }`);
  }
}
