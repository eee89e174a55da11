/** One version: what it changed, how it differs from now, or its text; and the way back to it. */
import { ArrowDown, ArrowUp, ClipboardCopy, Loader, RotateCcw } from 'lucide-react';
import { useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import { copyText } from '../../ui/clipboard';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { notify } from '../../ui/toast';
import { useMay } from '../access/useAccess';
import type { FileSession } from '../editor/fileSessions';
import { authorName } from '../presence/authorMark';
import { RestoreDialog } from './restoreDialog';
import { type Diff, TextHost } from './textHost';
import type { VersionPages } from './versionPages';
import { authorsOf, day, type Listed, people, type Row, span } from './versions';

export type Mode = 'changes' | 'now' | 'text';

const MODES: { mode: Mode; label: string; tip: string }[] = [
  { mode: 'changes', label: 'What changed', tip: 'Compare this version with the one before it' },
  { mode: 'now', label: 'Since then', tip: 'Compare this version with the text as it is now' },
  { mode: 'text', label: 'Text', tip: 'The text as it was in this version' },
];

export function VersionView(props: {
  row: Row;
  listed: Listed;
  pages: VersionPages;
  file: FileSession;
  name: string;
  deleted: boolean;
}) {
  const { row, listed, pages, file, deleted } = props;
  const mayEdit = useMay('edit_documents');
  const live = useStore(file.session.state).loaded;
  const [chosen, setMode] = useState<Mode>('changes');
  const [diff, setDiff] = useState<Diff | null>(null);
  const [restoring, setRestoring] = useState(false);
  const modes = MODES.filter(({ mode }) => mode !== 'now' || live);
  const mode = modes.some((offered) => offered.mode === chosen) ? chosen : 'changes';
  const { texts, problem, retry } = useTexts(pages, row, mode);
  const present = row.seq === listed.seq;
  const title = row.name ?? `${day(row.at, Date.now())}, ${span(row)}`;
  const wrote = people(authorsOf(row.authors, listed.authors).map(authorName));
  const named = row.namedBy ? authorsOf([row.namedBy], listed.authors).map(authorName)[0] : null;

  return (
    <div className="version-view" data-testid="version-view" data-seq={row.seq} data-mode={mode}>
      <header className="version-head">
        <div className="version-facts">
          <h3 title={title}>{title}</h3>
          <p>
            {wrote && `Written by ${wrote}`}
            {named && `${wrote ? '. ' : ''}Named by ${named}, ${day(row.at, Date.now())}, ${span(row)}`}
          </p>
        </div>
        <fieldset className="segments" aria-label="What to show">
          {modes.map((offered) => (
            <label
              key={offered.mode}
              className="segment"
              title={offered.tip}
              data-testid={`mode-${offered.mode}`}
            >
              <input
                type="radio"
                name={`mode-${file.node}`}
                checked={mode === offered.mode}
                onChange={() => setMode(offered.mode)}
              />
              <span>{offered.label}</span>
            </label>
          ))}
        </fieldset>
        {mode !== 'text' && (
          <span className="version-steps">
            <span className="version-count" role="status" data-testid="change-count">
              {countWords(diff)}
            </span>
            <Tip text="Previous change">
              <button
                type="button"
                className="icon-button"
                aria-label="Previous change"
                disabled={!diff?.count}
                onClick={() => diff?.go('previous')}
              >
                <ArrowUp size={15} />
              </button>
            </Tip>
            <Tip text="Next change">
              <button
                type="button"
                className="icon-button"
                aria-label="Next change"
                disabled={!diff?.count}
                onClick={() => diff?.go('next')}
              >
                <ArrowDown size={15} />
              </button>
            </Tip>
          </span>
        )}
        <span className="version-actions">
          {texts && (mode === 'text' || deleted) && (
            <button
              type="button"
              className="button"
              data-size="small"
              data-testid="copy-version"
              onClick={async () => {
                if (await copyText(texts.text)) notify('The text of this version is in the clipboard.');
              }}
            >
              <ClipboardCopy size={13} aria-hidden /> Copy
            </button>
          )}
          {mayEdit && live && !deleted && (
            <Tip
              text={present ? 'This is the file as it is now' : 'Make the file what it was in this version'}
            >
              <button
                type="button"
                className="button"
                data-size="small"
                data-testid="restore"
                // Not `disabled`: the reason in the tooltip must be reachable.
                aria-disabled={present || !texts}
                onClick={() => !present && texts && setRestoring(true)}
              >
                <RotateCcw size={13} aria-hidden /> Restore
              </button>
            </Tip>
          )}
        </span>
      </header>
      {problem && (
        <div className="notice history-notice" data-tone="bad" role="alert" data-testid="version-problem">
          <p>{problem}</p>
          <button type="button" className="button" data-size="small" onClick={retry}>
            Try again
          </button>
        </div>
      )}
      {!texts && !problem && (
        <p className="version-loading" role="status">
          <Loader size={14} className="spin" aria-hidden /> Reading this version…
        </p>
      )}
      {texts && (
        <TextHost
          mode={mode}
          before={texts.before}
          text={texts.text}
          file={file}
          name={props.name}
          onDiff={setDiff}
        />
      )}
      {restoring && texts && (
        <RestoreDialog
          title={title}
          text={texts.text}
          file={file}
          name={props.name}
          onClose={() => setRestoring(false)}
        />
      )}
    </div>
  );
}

function countWords(diff: Diff | null): string {
  if (!diff) return '';
  if (diff.count === 0) return 'No difference';
  return diff.count === 1 ? '1 change' : `${diff.count} changes`;
}

interface Texts {
  text: string;
  /** What it is compared with; empty where there is nothing to compare. */
  before: string;
}

/** The version's text and the one before. What is on screen stays until the next is there. */
function useTexts(pages: VersionPages, row: Row, mode: Mode) {
  const [texts, setTexts] = useState<(Texts & { of: string }) | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const compares = mode === 'changes';
  const of = `${row.seq} ${compares ? row.before : ''}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: an attempt is what loads again.
  useEffect(() => {
    let left = false;
    setProblem(null);
    const before = compares && row.before > 0 ? pages.text(row.before) : Promise.resolve('');
    Promise.all([pages.text(row.seq), before]).then(
      ([text, older]) => !left && setTexts({ text, before: older, of }),
      (error: unknown) => {
        if (left) return;
        setTexts(null);
        setProblem(sentence(error));
      },
    );
    return () => {
      left = true;
    };
  }, [pages, row.seq, row.before, compares, of, attempt]);
  return { texts: texts?.of === of ? texts : null, problem, retry: () => setAttempt((n) => n + 1) };
}
