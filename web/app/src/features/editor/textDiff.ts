/**
 * The edits that make one text another, small enough that what stays the same keeps its authors and other people's carets. The
 * difference is Monaco's own, without its editor; this turns it into offsets and never cuts a character in two.
 */
import { linesDiffComputers } from 'monaco-editor/editor/common/diff/linesDiffComputers.js';
import { difference, type OffsetEdit } from './lineEnds';

/** After this long the difference may be coarser than it could be. It is right in any case. */
const MAX_TIME_MS = 1000;

/** Edits of `before` that lead to `after`: in offsets before them, rising, and not touching each other. */
export function differences(before: string, after: string): OffsetEdit[] {
  if (before === after) return [];
  const [old, next] = [new Lines(before), new Lines(after)];
  const { changes } = linesDiffComputers.getDefault().computeDiff(old.lines, next.lines, {
    ignoreTrimWhitespace: false,
    maxComputationTimeMs: MAX_TIME_MS,
    computeMoves: false,
  });
  const edits = changes.flatMap(({ innerChanges }) =>
    (innerChanges ?? []).map(({ originalRange: o, modifiedRange: m }) => ({
      from: old.offset(o.startLineNumber, o.startColumn),
      to: old.offset(o.endLineNumber, o.endColumn),
      text: after.slice(
        next.offset(m.startLineNumber, m.startColumn),
        next.offset(m.endLineNumber, m.endColumn),
      ),
    })),
  );
  const whole = wholeCharacters(edits, before);
  if (applied(before, whole) === after) return whole;
  // One edit around everything that differs is coarse, and right.
  const single = difference(before, after);
  return single ? wholeCharacters([single], before) : [];
}

export function applied(text: string, edits: readonly OffsetEdit[]): string {
  let result = '';
  let at = 0;
  for (const edit of edits) {
    result += text.slice(at, edit.from) + edit.text;
    at = edit.to;
  }
  return result + text.slice(at);
}

class Lines {
  readonly lines: string[];
  private readonly starts: number[] = [];

  constructor(text: string) {
    this.lines = text.split('\n');
    let start = 0;
    for (const line of this.lines) {
      this.starts.push(start);
      start += line.length + 1;
    }
    this.starts.push(start);
  }

  /** Lines and columns begin with 1; a line after the last is the text's end. */
  offset(line: number, column: number): number {
    const last = this.lines.length - 1;
    const end = (this.starts[last] ?? 0) + (this.lines[last]?.length ?? 0);
    return Math.min(end, (this.starts[line - 1] ?? end) + column - 1);
  }
}

/**
 * Yjs makes two broken characters of one that is cut between its two UTF-16 units, so an edit that begins or ends there takes the
 * other unit in. Edits that touch become one.
 */
function wholeCharacters(edits: readonly OffsetEdit[], before: string): OffsetEdit[] {
  const whole: OffsetEdit[] = [];
  for (const edit of edits) {
    const grown = { ...edit };
    const previous = whole[whole.length - 1];
    if (cuts(before, grown.from) && (previous?.to ?? 0) < grown.from) {
      grown.from -= 1;
      grown.text = before.charAt(grown.from) + grown.text;
    }
    if (cuts(before, grown.to)) {
      grown.text += before.charAt(grown.to);
      grown.to += 1;
    }
    if (!previous || grown.from > previous.to) {
      whole.push(grown);
      continue;
    }
    // What the edit before it took in ends inside this one.
    const overlap = previous.to - grown.from;
    if (overlap > 0) previous.text = previous.text.slice(0, previous.text.length - overlap);
    previous.text += grown.text;
    previous.to = Math.max(previous.to, grown.to);
  }
  return whole;
}

function cuts(text: string, offset: number): boolean {
  return /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(Math.max(0, offset - 1), offset + 1));
}
