/** A difference, as git has it: what is gone, what came, and where. */
import { Loader } from 'lucide-react';
import { useEffect, useMemo, useState } from 'react';
import { sentence } from '../../api/client';
import type { Patch } from '../../api/types';
import { useRoom } from '../room/roomContext';
import { type PatchRow, patchRows } from './gitModel';

/** Rows that are drawn. More make the page slow, and nobody reads them here. */
const MAX_ROWS = 4000;

/** Of a file, or of a commit. */
export type Wanted = { path: string; from: string | null } | { commit: string };

/** `of` is what the difference is taken of: another one is asked for anew. What is on screen stays until the next is there. */
export function PatchView(props: { name: string; wanted: Wanted; of: unknown; facts?: string }) {
  const { wanted, of } = props;
  const { session } = useRoom();
  const [patch, setPatch] = useState<Patch | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const key = JSON.stringify(wanted);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what the difference is of, and an attempt, load again.
  useEffect(() => {
    let left = false;
    session.api.diff(session.room.id, JSON.parse(key) as Wanted).then(
      (found) => {
        if (left) return;
        setPatch(found);
        setProblem(null);
      },
      (error: unknown) => !left && setProblem(sentence(error)),
    );
    return () => {
      left = true;
    };
  }, [session, key, of, attempt]);
  const rows = useMemo(() => patchRows(patch?.patch ?? ''), [patch]);
  // Of one file its name stands above already.
  const shown = ('path' in wanted ? rows.filter((row) => row.is !== 'file') : rows).slice(0, MAX_ROWS);

  return (
    <div className="git-patch" data-testid="patch" data-name={props.name}>
      <header className="git-patch-head">
        <h3 title={props.name}>{props.name}</h3>
        {props.facts && <p>{props.facts}</p>}
      </header>
      {problem !== null && (
        <div className="notice git-patch-notice" data-tone="bad" role="alert">
          <p>{problem}</p>
          <button
            type="button"
            className="button"
            data-size="small"
            onClick={() => setAttempt((count) => count + 1)}
          >
            Try again
          </button>
        </div>
      )}
      {patch === null && problem === null && (
        <p className="git-empty" role="status">
          <Loader size={14} className="spin" aria-hidden /> Reading the difference…
        </p>
      )}
      {patch !== null && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard.
        <section className="git-rows" tabIndex={0} aria-label="Difference">
          {shown.length === 0 && <p className="git-empty">There is no difference in the file's lines.</p>}
          {shown.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows have nothing else, and never move.
            <Row key={index} row={row} />
          ))}
          {(patch.truncated || rows.length > MAX_ROWS) && (
            <p className="git-empty">It goes on; this is as much as can be shown here.</p>
          )}
        </section>
      )}
    </div>
  );
}

const SIGNS = { added: '+', removed: '−', same: '' } as const;

function Row(props: { row: PatchRow }) {
  const { row } = props;
  if (!('before' in row))
    return (
      <div className="git-row" data-is={row.is}>
        {row.text}
      </div>
    );
  return (
    <div className="git-row" data-is={row.is}>
      <span className="git-line">{row.before ?? ''}</span>
      <span className="git-line">{row.after ?? ''}</span>
      <span className="git-sign">{SIGNS[row.is]}</span>
      <code>{row.text}</code>
    </div>
  );
}
