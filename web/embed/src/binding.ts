/**
 * Keeps a CodeMirror document and a shared text the same. What is typed becomes one change of this binding's origin, what others do becomes one change of the
 * editor, which then keeps carets and the view where they are. The editor has LF alone; a text with CRLF keeps it.
 */
import type { Change, Doc, SharedText } from '@buildspaces/client';
import { Annotation, type ChangeSpec, EditorState, type Extension, Transaction } from '@codemirror/state';
import { type EditorView, type PluginValue, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import { editsOfDelta, LineEndMap, normalised } from '../../app/src/features/editor/lineEnds';

/** A change that comes from the shared text. */
const fromText = Annotation.define<boolean>();

export class Binding {
  readonly doc: Doc;
  readonly text: SharedText;
  readonly origin: string;
  readonly extension: Extension;
  /** Told when something that is no character comes into the text: offsets in it and in the editor are not the same from there on. */
  onRich: () => void = () => undefined;
  /** It has a carriage return, so offsets differ. */
  #ends: LineEndMap | null = null;
  #isUndoing = false;

  constructor(text: SharedText, origin: string, onProblem: (error: unknown) => void) {
    this.doc = text.doc;
    this.text = text;
    this.origin = origin;
    this.look();
    this.extension = [
      EditorState.lineSeparator.of('\n'),
      ViewPlugin.define((view) => new Link(view, this, onProblem)),
    ];
  }

  /** The text as the editor has it. */
  get shown(): string {
    return normalised(this.text.toString());
  }

  /** True if every unit of the text is a character. What is embedded in rich text is not, and has no place here. */
  get isPlain(): boolean {
    return this.text.length === this.text.toString().length;
  }

  get hasReturns(): boolean {
    return this.#ends !== null;
  }

  /** Whether what comes is what this editor takes back. */
  get isUndoing(): boolean {
    return this.#isUndoing;
  }

  toText(offset: number): number {
    return this.#ends?.toText(offset) ?? offset;
  }

  toShown(offset: number): number {
    return this.#ends?.toModel(offset) ?? offset;
  }

  look(): void {
    const text = this.text.toString();
    this.#ends = text.includes('\r') ? new LineEndMap(text) : null;
  }

  undoing(undo: () => boolean): boolean {
    this.#isUndoing = true;
    try {
      return undo();
    } finally {
      this.#isUndoing = false;
    }
  }

  /** Does in the text what a transaction did in the editor. */
  type({ changes }: Transaction): void {
    const edits: { from: number; to: number; insert: string }[] = [];
    changes.iterChanges((from, to, _from, _to, inserted) => {
      edits.push({ from: this.toText(from), to: this.toText(to), insert: inserted.toString() });
    });
    const end = this.hasReturns ? '\r\n' : '\n';
    this.doc.transact(() => {
      for (const { from, to, insert } of edits.reverse()) {
        if (to > from) this.text.delete(from, to - from);
        if (insert) this.text.insert(from, end === '\n' ? insert : insert.replaceAll('\n', end));
      }
    }, this.origin);
    if (this.hasReturns) this.look();
  }

  /** What a change of the text is in the editor. */
  changesOf({ delta }: Change, shown: string): ChangeSpec[] {
    const edits = editsOfDelta(delta);
    const isWhole = this.isWhole(delta);
    if (!isWhole) this.onRich();
    if (!this.hasReturns && !edits.some(({ text }) => text.includes('\r')) && isWhole)
      return edits.map(({ from, to, text }) => ({ from, to, insert: text }));
    this.look();
    return differenceOf(shown, this.shown);
  }

  isWhole(delta: Change['delta']): boolean {
    return delta.every(({ insert }) => insert === undefined || typeof insert === 'string');
  }
}

/** The one stretch in which two texts differ. */
export function differenceOf(before: string, after: string): ChangeSpec[] {
  if (before === after) return [];
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return [{ from: start, to: before.length - end, insert: after.slice(start, after.length - end) }];
}

class Link implements PluginValue {
  readonly #view: EditorView;
  readonly #binding: Binding;
  readonly #onProblem: (error: unknown) => void;
  readonly #stop: () => void;

  constructor(view: EditorView, binding: Binding, onProblem: (error: unknown) => void) {
    this.#view = view;
    this.#binding = binding;
    this.#onProblem = onProblem;
    this.#stop = binding.text.observe((change) => this.#came(change));
  }

  update({ transactions }: ViewUpdate): void {
    for (const transaction of transactions) {
      if (!transaction.docChanged || transaction.annotation(fromText)) continue;
      try {
        this.#binding.type(transaction);
      } catch (error) {
        // The text stays as it was, and the editor shows that; not now, in the middle of an update of its own.
        queueMicrotask(() => this.#show(differenceOf(this.#view.state.doc.toString(), this.#binding.shown)));
        this.#onProblem(error);
      }
    }
  }

  destroy(): void {
    this.#stop();
  }

  #came(change: Change): void {
    if (change.origin === this.#binding.origin) return;
    this.#show(this.#binding.changesOf(change, this.#view.state.doc.toString()));
  }

  #show(changes: ChangeSpec[]): void {
    if (changes.length === 0) return;
    const annotations = [fromText.of(true), Transaction.addToHistory.of(false)];
    if (!this.#binding.isUndoing) {
      this.#view.dispatch({ changes, annotations });
      return;
    }
    const set = this.#view.state.changes(changes);
    let caret = 0;
    set.iterChanges((_from, _to, _start, end) => {
      caret = end;
    });
    this.#view.dispatch({ changes: set, annotations, selection: { anchor: caret }, scrollIntoView: true });
  }
}
