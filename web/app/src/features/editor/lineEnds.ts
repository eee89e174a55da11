/**
 * Between a document's text and an editor's model. A document keeps a file's line ends as they are, LF or CRLF; the
 * model counts every line end as one character. Pure functions over strings and offsets in UTF-16 units.
 */

export interface OffsetEdit {
  from: number;
  to: number;
  text: string;
}

/** The one kind of operation of a Y.Text delta that plain text has. */
export interface DeltaOp {
  retain?: number;
  delete?: number;
  insert?: unknown;
}

/** The text as the editor's model holds it. */
export function normalised(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
}

/** Translates offsets of a text with CRLF pairs to offsets of its normalised form and back. */
export class LineEndMap {
  /** Offsets of the `\r` of each `\r\n`, rising. */
  private readonly pairs: number[] = [];

  constructor(text: string) {
    for (let at = text.indexOf('\r\n'); at !== -1; at = text.indexOf('\r\n', at + 2)) this.pairs.push(at);
  }

  toModel(offset: number): number {
    return offset - this.count((pair) => pair < offset);
  }

  toText(offset: number): number {
    return offset + this.count((pair, index) => pair - index < offset);
  }

  /** Number of leading pairs for which `before` holds; it holds for a prefix of them. */
  private count(before: (pair: number, index: number) => boolean): number {
    let low = 0;
    let high = this.pairs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(this.pairs[middle] ?? 0, middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A delta as edits against the text before it; what touches is one edit. */
export function editsOfDelta(delta: readonly DeltaOp[]): OffsetEdit[] {
  const edits: OffsetEdit[] = [];
  let at = 0;
  for (const op of delta) {
    if (op.retain !== undefined) {
      at += op.retain;
      continue;
    }
    let edit = edits[edits.length - 1];
    if (!edit || edit.to !== at) {
      edit = { from: at, to: at, text: '' };
      edits.push(edit);
    }
    if (op.delete !== undefined) {
      at += op.delete;
      edit.to = at;
    } else if (typeof op.insert === 'string') {
      edit.text += op.insert;
    }
  }
  return edits;
}

/**
 * Edits of a text with carriage returns, as edits of its normalised form. An edit next to half of a CRLF takes that half in,
 * so that no pair is made or broken across its border.
 */
export function editsOfModel(edits: readonly OffsetEdit[], before: string): OffsetEdit[] {
  const whole: OffsetEdit[] = [];
  edits.forEach((edit, index) => {
    const next = edits[index + 1]?.from ?? before.length + 1;
    const grown = { ...edit };
    const previous = whole[whole.length - 1];
    if (before[grown.from - 1] === '\r' && (previous?.to ?? 0) < grown.from) {
      grown.from -= 1;
      grown.text = `\r${grown.text}`;
    }
    if (before[grown.to] === '\n' && grown.to < next) {
      grown.to += 1;
      grown.text += '\n';
    }
    if (previous && previous.to === grown.from) {
      previous.to = grown.to;
      previous.text += grown.text;
    } else {
      whole.push(grown);
    }
  });
  const map = new LineEndMap(before);
  return whole.map((edit) => ({
    from: map.toModel(edit.from),
    to: map.toModel(edit.to),
    text: normalised(edit.text),
  }));
}

/** The line end a text mostly uses. */
export function dominantLineEnd(text: string): '\n' | '\r\n' {
  const pairs = text.split('\r\n').length - 1;
  const all = text.split('\n').length - 1;
  return pairs * 2 > all ? '\r\n' : '\n';
}

/** The smallest single edit from `before` to `after`, or `null` when they are equal. */
export function difference(before: string, after: string): OffsetEdit | null {
  if (before === after) return null;
  const shortest = Math.min(before.length, after.length);
  let start = 0;
  while (start < shortest && before[start] === after[start]) start++;
  let end = 0;
  while (end < shortest - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  return { from: start, to: before.length - end, text: after.slice(start, after.length - end) };
}
