/**
 * Who wrote which lines, beside the text: a column that scrolls with it, and below a line in words about where the caret is. Only
 * what is on screen, and some more, is drawn.
 */
import { useEffect, useRef, useState } from 'react';
import { safeColor } from '../../ui/color';
import type { monaco } from '../editor/monaco';
import { AuthorMark, authorName } from '../presence/authorMark';
import { ago } from '../runs/format';
import { useNow } from '../runs/useNow';
import { type Group, groups } from './blame';
import './history.css';
import type { Blame } from './useBlame';
import { authorsOf, people } from './versions';

/** Lines above and below the screen that are drawn too, so that scrolling shows no gaps. */
const MARGIN_LINES = 80;

type View = monaco.editor.IStandaloneCodeEditor;

export function BlameColumn(props: { view: View; blame: Blame | null; problem: string | null }) {
  const { view, blame } = props;
  const now = useNow(30_000);
  const inner = useRef<HTMLDivElement>(null);
  const [shown, setShown] = useState({ from: 1, to: 2 * MARGIN_LINES });

  useEffect(() => {
    const place = () => {
      if (inner.current) inner.current.style.transform = `translateY(${-view.getScrollTop()}px)`;
      const [first] = view.getVisibleRanges();
      if (!first) return;
      const { startLineNumber: from, endLineNumber: to } = first;
      setShown((old) =>
        from >= old.from && to <= old.to ? old : { from: from - MARGIN_LINES, to: to + MARGIN_LINES },
      );
    };
    const subscriptions = [view.onDidScrollChange(place), view.onDidLayoutChange(place)];
    place();
    return () => {
      for (const subscription of subscriptions) subscription.dispose();
    };
  }, [view]);

  const all = blame ? groups(blame.lines, ({ at }) => ago(at, now)) : [];
  return (
    <div className="blame-column" data-testid="blame" data-known={blame !== null || undefined} aria-hidden>
      {props.problem && <p className="blame-problem">{props.problem}</p>}
      <div ref={inner}>
        {blame &&
          all
            .filter((group) => group.to >= shown.from && group.from <= shown.to)
            .map((group) => (
              <GroupMark
                key={group.from}
                group={group}
                view={view}
                blame={blame}
                when={ago(group.blame.at, now)}
              />
            ))}
      </div>
    </div>
  );
}

/** The same in words for the line that the caret is in, which is also how it is read without seeing the column. */
export function BlameLine(props: { view: View; blame: Blame | null; problem: string | null }) {
  const { view, blame } = props;
  const now = useNow(30_000);
  const [line, setLine] = useState(() => view.getPosition()?.lineNumber ?? 1);
  useEffect(() => {
    const moved = view.onDidChangeCursorPosition((event) => setLine(event.position.lineNumber));
    return () => moved.dispose();
  }, [view]);
  return (
    <p className="blame-line" role="status" data-testid="blame-line">
      {props.problem ?? (blame ? lineWords(line, blame, now) : 'Asking who wrote this…')}
    </p>
  );
}

function lineWords(line: number, blame: Blame, now: number): string {
  const found = blame.lines[line - 1];
  if (!found) return `Line ${line}: not saved yet, or nobody's`;
  const [last, ...others] = authorsOf(found.everybody, blame.authors).map(authorName);
  const also = others.length > 0 ? `; some of it by ${people(others)}` : '';
  return `Line ${line}: ${last}, ${ago(found.at, now)}${also}`;
}

function GroupMark(props: { group: Group; view: View; blame: Blame; when: string }) {
  const { group, view, blame, when } = props;
  const [author] = authorsOf([group.blame.by], blame.authors);
  if (!author) return null;
  const top = view.getTopForLineNumber(group.from);
  const bottom = view.getBottomForLineNumber(group.to);
  return (
    <div
      className="blame-group"
      data-testid="blame-group"
      data-author={author.name}
      data-kind={author.kind}
      data-from={group.from}
      data-to={group.to}
      title={`${authorName(author)}, ${when}`}
      style={{ top, height: bottom - top, ['--author' as string]: safeColor(author.color) }}
    >
      <AuthorMark author={author} />
      <span className="blame-name">{author.name}</span>
      <span className="blame-when">{when}</span>
    </div>
  );
}
