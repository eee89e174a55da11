/**
 * Keeps what somebody else types at the edge of this person's selection out of the selection. Monaco lets a selection grow at its
 * edges; the next key would then replace the other person's text together with one's own.
 */
import type { editor } from 'monaco-editor/editor';
import type { OffsetEdit } from './lineEnds';

interface Range {
  start: number;
  end: number;
}

/** Where a selection is after `edits`, which are in offsets before them and rise. Text inserted at its edges stays outside. */
export function afterEdits(range: Range, edits: readonly OffsetEdit[]): Range {
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
  const offsets = (view.getSelections() ?? []).map((selection) =>
    selection.isEmpty()
      ? null
      : {
          start: model.getOffsetAt(selection.getStartPosition()),
          end: model.getOffsetAt(selection.getEndPosition()),
        },
  );
  const touched = offsets.some(
    (range) =>
      range && edits.some((e) => e.from === e.to && (e.from === range.start || e.from === range.end)),
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
