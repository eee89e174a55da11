/**
 * Keeps this person's carets and selections apart from what somebody else types right at them. Monaco lets a selection grow at its
 * edges, so that the next key would replace the other person's text, and moves a caret behind text inserted at it, so that
 * two people typing at one place would mix their letters.
 */
import type { editor } from 'monaco-editor/editor';
import type { OffsetEdit } from './lineEnds';

interface Range {
  start: number;
  end: number;
}

/**
 * Where a selection is after `edits`, which are in offsets before them and rise. Text inserted at its edges stays outside; a
 * caret stays before text that is inserted at it.
 */
export function afterEdits(range: Range, edits: readonly OffsetEdit[]): Range {
  if (range.start === range.end) {
    const caret = moved(range.start, edits, 'before');
    return { start: caret, end: caret };
  }
  const start = moved(range.start, edits, 'after');
  return { start, end: Math.max(start, moved(range.end, edits, 'before')) };
}

/** `side` says where a position goes that text is inserted at. */
function moved(offset: number, edits: readonly OffsetEdit[], side: 'before' | 'after'): number {
  let shift = 0;
  for (const { from, to, text } of edits) {
    if (from > offset) break;
    const insertedHere = from === offset && to === offset;
    if (insertedHere) return offset + shift + (side === 'after' ? text.length : 0);
    if (from === offset) break;
    if (to > offset) return from + shift + (side === 'after' ? text.length : 0);
    shift += text.length - (to - from);
  }
  return offset + shift;
}

/** Call before remote edits reach the model; call what it returns after them. */
export function keepSelections(
  view: editor.ICodeEditor,
  model: editor.ITextModel,
  edits: readonly OffsetEdit[],
): () => void {
  const offsets = (view.getSelections() ?? []).map((selection) => ({
    start: model.getOffsetAt(selection.getStartPosition()),
    end: model.getOffsetAt(selection.getEndPosition()),
  }));
  const touched = offsets.some(({ start, end }) =>
    edits.some((edit) => edit.from === edit.to && (edit.from === start || edit.from === end)),
  );
  if (!touched) return () => undefined;
  return () => {
    const now = view.getSelections() ?? [];
    // Selections may have been merged; then there is nothing to keep apart.
    if (now.length !== offsets.length) return;
    view.setSelections(
      now.map((selection, index) => {
        const before = offsets[index];
        if (!before) return selection;
        const { start, end } = afterEdits(before, edits);
        const backwards = selection.getDirection() === 1;
        const anchor = model.getPositionAt(backwards ? end : start);
        const head = model.getPositionAt(backwards ? start : end);
        return {
          selectionStartLineNumber: anchor.lineNumber,
          selectionStartColumn: anchor.column,
          positionLineNumber: head.lineNumber,
          positionColumn: head.column,
        };
      }),
    );
  };
}
