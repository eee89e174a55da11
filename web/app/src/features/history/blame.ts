/**
 * Who wrote each line. The server says it of stretches of text at one version; people go on typing meanwhile, so it is fitted to the
 * text as it is now. Lines that changed since have no author until the server was asked again. Pure.
 */
import type { BlameRange } from '../../api/types';
import { normalised } from '../editor/lineEnds';

export interface LineBlame {
  /** Whoever wrote last in it, and when. */
  by: string;
  at: number;
  /** Ids of everybody who wrote some of it, the last one first. */
  everybody: readonly string[];
}

export interface BlamedText {
  text: string;
  lines: readonly (LineBlame | null)[];
}

export function blamedText(ranges: readonly BlameRange[]): BlamedText {
  const lines: (LineBlame | null)[] = [];
  let line: { by: string; at: number; seq: number }[] = [];
  let ends: { by: string; at: number; seq: number }[] = [];
  const finish = () => {
    // The end of a line is of whoever split it off, which says something only where there is nothing else.
    const pieces = (line.length > 0 ? line : ends).sort((a, b) => b.seq - a.seq);
    const [newest] = pieces;
    const everybody = [...new Set(pieces.map((piece) => piece.by))];
    lines.push(newest ? { by: newest.by, at: newest.at, everybody } : null);
    line = [];
    ends = [];
  };
  for (const { text, by, at, seq } of ranges) {
    const piece = by === null || at === null ? null : { by, at, seq: seq ?? 0 };
    const parts = text.split('\n');
    parts.forEach((part, index) => {
      if (piece && part.replace('\r', '') !== '') line.push(piece);
      if (index < parts.length - 1) {
        if (piece) ends.push(piece);
        finish();
      }
    });
  }
  finish();
  return { text: normalised(ranges.map((range) => range.text).join('')), lines };
}

/** One entry per line of `text`, which may have changed since: lines before and after what changed are who they were. */
export function fitted(blamed: BlamedText, text: string): (LineBlame | null)[] {
  if (blamed.text === text) return [...blamed.lines];
  const [old, now] = [blamed.text.split('\n'), text.split('\n')];
  const shortest = Math.min(old.length, now.length);
  let start = 0;
  while (start < shortest && old[start] === now[start]) start++;
  let end = 0;
  while (end < shortest - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  return [
    ...blamed.lines.slice(0, start),
    ...new Array<null>(now.length - start - end).fill(null),
    ...blamed.lines.slice(old.length - end),
  ];
}

export interface Group {
  /** Line numbers from 1, both included. */
  from: number;
  to: number;
  blame: LineBlame;
}

/** Neighbouring lines of one author that would be told with the same words. */
export function groups(lines: readonly (LineBlame | null)[], words: (blame: LineBlame) => string): Group[] {
  const made: Group[] = [];
  lines.forEach((blame, index) => {
    if (!blame) return;
    const last = made[made.length - 1];
    const goes = last?.to === index && last.blame.by === blame.by && words(last.blame) === words(blame);
    if (last && goes) last.to = index + 1;
    else made.push({ from: index + 1, to: index + 1, blame });
  });
  return made;
}
