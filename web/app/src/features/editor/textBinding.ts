/**
 * Keeps a Monaco model and a Y.Text the same, and gives the model an undo that takes back only what was typed here.
 *
 * A remote event becomes one `applyEdits` against the model as it was, so Monaco moves carets, selections and the scroll
 * position itself. The model always has LF; the document keeps the line ends of the file (`lineEnds.ts` translates).
 * It does not draw other people's carets: that is `remoteCarets.ts`.
 */
import type { editor, IDisposable, IRange } from 'monaco-editor/editor';
import * as Y from 'yjs';
import {
  difference,
  dominantLineEnd,
  editsOfDelta,
  editsOfModel,
  LineEndMap,
  normalised,
  type OffsetEdit,
} from './lineEnds';

/** Typing without a longer pause than this is undone together. */
const UNDO_GROUP_MS = 500;
/** Where edits come from that were computed, not typed: the model does not have them yet, and undo takes them back. */
const COMPUTED = 'computed';
/** Monaco's `EndOfLineSequence.LF`, by value so that this file can be tested without Monaco. */
const LF = 0;

/** The part of Monaco's `ITextModel` that the binding uses. */
export type BoundModel = Pick<
  editor.ITextModel,
  | 'applyEdits'
  | 'getEOL'
  | 'getPositionAt'
  | 'getValue'
  | 'getValueLength'
  | 'onDidChangeContent'
  | 'onWillDispose'
  | 'setEOL'
>;

/**
 * What Monaco's undo command calls on a model. These methods exist on every model but not in its types, hence the one
 * assertion in the constructor.
 */
interface UndoableModel {
  undo?: () => void;
  redo?: () => void;
  canUndo?: () => boolean;
  canRedo?: () => boolean;
}

export class TextBinding {
  readonly undoManager: Y.UndoManager;
  /** Called with the model offset where an undo or redo changed the text. */
  onUndone: ((offset: number) => void) | null = null;
  /** Called before edits from elsewhere reach the model, in its offsets; what it returns is called after them. */
  beforeRemote: ((edits: readonly OffsetEdit[]) => () => void) | null = null;
  private applying = false;
  private disposed = false;
  /** The document's text and its line ends while it has carriage returns; `null` while model and text are identical. */
  private returns: { text: string; map: LineEndMap; lineEnd: '\n' | '\r\n' } | null = null;
  private readonly subscriptions: IDisposable[];

  constructor(
    readonly text: Y.Text,
    readonly model: BoundModel,
  ) {
    model.setEOL(LF);
    this.adopt();
    this.undoManager = new Y.UndoManager(text, {
      trackedOrigins: new Set<unknown>([this, COMPUTED]),
      captureTimeout: UNDO_GROUP_MS,
    });
    const undoable = model as UndoableModel;
    undoable.undo = () => void this.undoManager.undo();
    undoable.redo = () => void this.undoManager.redo();
    undoable.canUndo = () => this.undoManager.undoStack.length > 0;
    undoable.canRedo = () => this.undoManager.redoStack.length > 0;
    text.observe(this.onRemote);
    this.subscriptions = [model.onDidChangeContent(this.onLocal), model.onWillDispose(() => this.dispose())];
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.text.unobserve(this.onRemote);
    this.undoManager.destroy();
    for (const subscription of this.subscriptions) subscription.dispose();
    const undoable = this.model as UndoableModel;
    delete undoable.undo;
    delete undoable.redo;
    delete undoable.canUndo;
    delete undoable.canRedo;
  }

  /** Offset in the document for an offset in the model. */
  toText(offset: number): number {
    return this.returns ? this.returns.map.toText(offset) : offset;
  }

  /** Offset in the model for an offset in the document. */
  toModel(offset: number): number {
    return this.returns ? this.returns.map.toModel(offset) : offset;
  }

  /** The next edit starts an undo step of its own. */
  endUndoGroup(): void {
    this.undoManager.stopCapturing();
  }

  /** Edits the document, in its offsets, as one undo step of its own. */
  edit(edits: readonly OffsetEdit[]): void {
    this.endUndoGroup();
    this.text.doc?.transact(() => {
      for (const { from, to, text } of [...edits].reverse()) {
        if (to > from) this.text.delete(from, to - from);
        if (text) this.text.insert(from, text);
      }
    }, COMPUTED);
    this.endUndoGroup();
  }

  private onLocal = (event: editor.IModelContentChangedEvent): void => {
    if (this.model.getEOL() !== '\n') {
      queueMicrotask(() => {
        if (!this.disposed) this.model.setEOL(LF);
      });
    }
    if (this.applying || event.isEolChange) return;
    const lineEnd = this.returns?.lineEnd ?? '\n';
    this.text.doc?.transact(() => {
      // From the end, so that the offsets of earlier changes stay right.
      for (const change of [...event.changes].sort((a, b) => b.rangeOffset - a.rangeOffset)) {
        const from = this.toText(change.rangeOffset);
        const to = this.toText(change.rangeOffset + change.rangeLength);
        if (to > from) this.text.delete(from, to - from);
        const inserted = normalised(change.text).replaceAll('\n', lineEnd);
        if (inserted) this.text.insert(from, inserted);
      }
    }, this);
    if (this.returns) this.remember(this.text.toString());
    this.verify();
  };

  private onRemote = (event: Y.YTextEvent, transaction: Y.Transaction): void => {
    if (transaction.origin === this) return;
    let edits = editsOfDelta(event.delta);
    if (this.returns || edits.some((edit) => edit.text.includes('\r'))) {
      edits = editsOfModel(edits, this.returns?.text ?? this.model.getValue());
      this.remember(this.text.toString());
    }
    const afterRemote = this.beforeRemote?.(edits);
    this.apply(edits);
    afterRemote?.();
    this.verify();
    const last = edits[edits.length - 1];
    if (transaction.origin === this.undoManager && last) {
      const shift = edits.slice(0, -1).reduce((sum, e) => sum + e.text.length - (e.to - e.from), 0);
      this.onUndone?.(last.from + shift + last.text.length);
    }
  };

  private apply(edits: readonly OffsetEdit[]): void {
    if (edits.length === 0) return;
    this.applying = true;
    try {
      this.model.applyEdits(
        edits.map((edit) => ({ range: this.range(edit), text: edit.text, forceMoveMarkers: false })),
      );
    } finally {
      this.applying = false;
    }
  }

  private range({ from, to }: OffsetEdit): IRange {
    const start = this.model.getPositionAt(from);
    const end = from === to ? start : this.model.getPositionAt(to);
    return {
      startLineNumber: start.lineNumber,
      startColumn: start.column,
      endLineNumber: end.lineNumber,
      endColumn: end.column,
    };
  }

  private remember(text: string): void {
    this.returns = text.includes('\r')
      ? { text, map: new LineEndMap(text), lineEnd: dominantLineEnd(text) }
      : null;
  }

  /**
   * **Invariant:** after every event the model holds the normalised text. Lengths are compared each time because that
   * is cheap; should they ever differ, the model is corrected, for the document is what everybody else sees.
   */
  private verify(): void {
    const same = this.returns
      ? this.model.getValue() === normalised(this.returns.text)
      : this.model.getValueLength() === this.text.length;
    if (!same) this.adopt();
  }

  private adopt(): void {
    const text = this.text.toString();
    this.remember(text);
    const change = difference(this.model.getValue(), normalised(text));
    if (change) this.apply([change]);
  }
}
