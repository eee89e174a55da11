/** What changed since the last commit: the files, the difference of one, and the box that commits them. */
import { Check, GitCommitHorizontal } from 'lucide-react';
import { type FormEvent, type KeyboardEvent, useState } from 'react';
import type { Change, Repository } from '../../api/types';
import { notify } from '../../ui/toast';
import { changeWords, chosenPaths, kindLetter, parts } from './gitModel';
import { PatchView } from './patchView';

export function ChangesView(props: {
  repository: Repository;
  busy: boolean;
  onCommit: (message: string, paths: string[] | null) => Promise<boolean>;
}) {
  const { changes, truncated } = props.repository;
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [chosen, setChosen] = useState<string | null>(null);
  const [message, setMessage] = useState('');
  const shown = changes.find((change) => change.path === chosen) ?? changes[0] ?? null;
  const paths = chosenPaths(changes, left);
  const count = paths?.length ?? changes.length;
  const can = !props.busy && count > 0 && message.trim() !== '';

  const toggle = (path: string) => {
    const next = new Set(left);
    if (!next.delete(path)) next.add(path);
    setLeft(next);
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!can) return;
    if (await props.onCommit(message, paths)) {
      setMessage('');
      setLeft(new Set());
      notify(count === 1 ? 'One file was committed.' : `${count} files were committed.`);
    }
  };
  const words = count === changes.length ? 'Commit all' : `Commit ${count} of ${changes.length}`;

  return (
    <div className="git-body">
      <div className="git-side">
        <ChangeList
          changes={changes}
          shown={shown?.path ?? null}
          left={left}
          onToggle={toggle}
          onShow={setChosen}
        />
        {truncated && (
          <p className="git-note">There are more changes than can be shown. A commit takes all.</p>
        )}
        <form className="commit-box" aria-label="Commit" onSubmit={submit}>
          <textarea
            className="input commit-message"
            aria-label="Message"
            data-testid="commit-message"
            placeholder="What this commit does"
            rows={2}
            maxLength={10_000}
            value={message}
            onChange={(event) => setMessage(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void submit(event);
            }}
          />
          <button
            type="submit"
            className="button"
            data-kind="primary"
            data-size="small"
            data-testid="commit"
            disabled={!can}
            title="You become its author; others whose edits are in it become co-authors (Ctrl+Enter)"
          >
            <GitCommitHorizontal size={14} aria-hidden /> {words}
          </button>
        </form>
      </div>
      {shown ? (
        <PatchView
          key={shown.path}
          name={shown.path}
          wanted={{ path: shown.path, from: shown.from ?? null }}
          of={props.repository}
        />
      ) : (
        <div className="git-clean" data-testid="git-clean">
          <Check size={22} strokeWidth={1.6} aria-hidden />
          <p>Every file is as in the last commit.</p>
        </div>
      )}
    </div>
  );
}

function ChangeList(props: {
  changes: readonly Change[];
  shown: string | null;
  left: ReadonlySet<string>;
  onToggle: (path: string) => void;
  onShow: (path: string) => void;
}) {
  const onKeyDown = (event: KeyboardEvent<HTMLUListElement>) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = props.changes.findIndex((change) => change.path === props.shown);
    const next = props.changes[Math.max(0, Math.min(props.changes.length - 1, at + step))];
    if (!next) return;
    props.onShow(next.path);
    const rows = event.currentTarget.querySelectorAll<HTMLElement>('.git-change > button');
    rows[props.changes.indexOf(next)]?.focus();
  };
  return (
    <ul className="git-changes" aria-label="Changed files" data-testid="changes" onKeyDown={onKeyDown}>
      {props.changes.map((change) => {
        const { folder, name } = parts(change.path);
        const isShown = change.path === props.shown;
        return (
          <li
            key={change.path}
            className="git-change"
            data-testid="change"
            data-path={change.path}
            data-kind={change.kind}
            data-shown={isShown || undefined}
          >
            <input
              type="checkbox"
              aria-label={`Commit ${change.path}`}
              checked={!props.left.has(change.path)}
              onChange={() => props.onToggle(change.path)}
            />
            <button
              type="button"
              aria-current={isShown || undefined}
              tabIndex={isShown ? 0 : -1}
              title={changeWords(change)}
              onClick={() => props.onShow(change.path)}
            >
              <span className="git-name">{name}</span>
              <span className="git-folder">{folder}</span>
              <span className="git-kind" data-kind={change.kind}>
                <span aria-hidden>{kindLetter(change)}</span>
                <span className="visually-hidden">{changeWords(change)}</span>
              </span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}
