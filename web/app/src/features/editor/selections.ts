/**
 * Carets and selections as they travel in a file's awareness: positions relative to the text's items, so that they stay right
 * while others type. Pure over a Y.Text.
 */
import * as Y from 'yjs';

/** More carets than this are not sent: a multi-cursor over a whole file would flood everyone. */
const MAX_SELECTIONS = 16;

/** In offsets of the document. `head` is where the caret is. */
export interface Selection {
  anchor: number;
  head: number;
}

interface SentSelection {
  a: unknown;
  h: unknown;
}

export function toSent(text: Y.Text, selections: readonly Selection[]): SentSelection[] {
  const place = (offset: number) =>
    Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, offset)) as unknown;
  return selections.slice(0, MAX_SELECTIONS).map(({ anchor, head }) => {
    const a = place(anchor);
    return { a, h: anchor === head ? a : place(head) };
  });
}

/** What of a state's `sel` can be placed in this text now; anything malformed is left out. */
export function fromSent(text: Y.Text, sent: unknown): Selection[] {
  if (!Array.isArray(sent)) return [];
  return sent.slice(0, MAX_SELECTIONS).flatMap((selection: Partial<SentSelection> | null) => {
    const anchor = place(text, selection?.a);
    const head = place(text, selection?.h);
    return anchor === null || head === null ? [] : [{ anchor, head }];
  });
}

function place(text: Y.Text, json: unknown): number | null {
  if (typeof json !== 'object' || json === null || !text.doc) return null;
  try {
    const relative = Y.createRelativePositionFromJSON(json);
    const absolute = Y.createAbsolutePositionFromRelativePosition(relative, text.doc);
    return absolute && absolute.type === text ? absolute.index : null;
  } catch {
    return null;
  }
}
