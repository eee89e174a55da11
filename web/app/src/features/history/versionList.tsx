/** The versions, newest first, under the days they are of: a list with one selection and arrow keys. */
import { Bookmark } from 'lucide-react';
import { type KeyboardEvent, useEffect, useRef } from 'react';
import type { Author } from '../../api/types';
import { AuthorMark, authorName } from '../presence/authorMark';
import { useNow } from '../runs/useNow';
import { authorsOf, day, people, type Row, span } from './versions';

/** More signs than this would push the names away. */
const MAX_MARKS = 4;

export function VersionList(props: {
  rows: readonly Row[];
  selected: string;
  /** The number of the present version. */
  present: number;
  authors: ReadonlyMap<string, Author>;
  more: boolean;
  busy: boolean;
  focus: number | undefined;
  onSelect: (key: string) => void;
  onMore: () => void;
}) {
  const { rows, selected, onSelect } = props;
  const now = useNow(60_000);
  const list = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new request takes the keyboard.
  useEffect(() => {
    list.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
  }, [props.focus]);

  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const index = rows.findIndex((row) => row.key === selected);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = rows[Math.max(0, Math.min(rows.length - 1, to))];
    if (!next) return;
    onSelect(next.key);
    list.current?.querySelector<HTMLElement>(`[data-key="${next.key}"]`)?.focus();
  };
  const days = new Map<string, Row[]>();
  for (const row of rows) {
    const name = day(row.at, now);
    days.set(name, [...(days.get(name) ?? []), row]);
  }

  return (
    <div className="version-list">
      <div ref={list} role="listbox" aria-label="Versions" onKeyDown={onKeyDown}>
        {[...days].map(([name, ofDay]) => (
          // biome-ignore lint/a11y/useSemanticElements: a group of options within a listbox.
          <div key={name} role="group" aria-label={name}>
            <p className="version-day" aria-hidden>
              {name}
            </p>
            {ofDay.map((row) => (
              <Version
                key={row.key}
                row={row}
                selected={row.key === selected}
                present={row.seq === props.present}
                authors={props.authors}
                onSelect={onSelect}
              />
            ))}
          </div>
        ))}
      </div>
      {props.more && (
        <button
          type="button"
          className="button version-more"
          data-size="small"
          data-kind="quiet"
          data-testid="older-versions"
          aria-disabled={props.busy}
          onClick={props.onMore}
        >
          {props.busy ? 'Loading…' : 'Older versions'}
        </button>
      )}
    </div>
  );
}

function Version(props: {
  row: Row;
  selected: boolean;
  present: boolean;
  authors: ReadonlyMap<string, Author>;
  onSelect: (key: string) => void;
}) {
  const { row } = props;
  const wrote = authorsOf(
    row.authors.length > 0 || !row.namedBy ? row.authors : [row.namedBy],
    props.authors,
  );
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles the arrow keys, which select.
    <div
      role="option"
      className="version"
      data-testid="version"
      data-key={row.key}
      data-seq={row.seq}
      data-name={row.name ?? undefined}
      aria-selected={props.selected}
      tabIndex={props.selected ? 0 : -1}
      onClick={() => props.onSelect(row.key)}
    >
      <span className="version-title" data-named={row.name !== null || undefined}>
        {row.name !== null && <Bookmark size={13} aria-label="Named" />}
        <span>{row.name ?? span(row)}</span>
        {props.present && <span className="version-present">now</span>}
      </span>
      <span className="version-who">
        <span className="version-marks">
          {wrote.slice(0, MAX_MARKS).map((author) => (
            <AuthorMark key={author.id} author={author} />
          ))}
        </span>
        <span className="version-names">{people(wrote.map(authorName))}</span>
        {row.name !== null && <span className="version-time">{span({ from: null, at: row.at })}</span>}
      </span>
    </div>
  );
}
