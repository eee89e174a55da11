/** The branch's commits, newest first, and what one of them changed. */
import { GitCommitHorizontal, Loader } from 'lucide-react';
import { type KeyboardEvent, useCallback, useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Commit } from '../../api/types';
import { useRoom } from '../room/roomContext';
import { ago } from '../runs/format';
import { useNow } from '../runs/useNow';
import { madeBy, shortId } from './gitModel';
import { PatchView } from './patchView';

const PAGE = 50;

export function HistoryView(props: { head: string | null }) {
  const { session } = useRoom();
  const [commits, setCommits] = useState<Commit[] | null>(null);
  const [next, setNext] = useState<number | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [chosen, setChosen] = useState<string | null>(null);
  const now = useNow(20_000);

  const load = useCallback(
    async (skip: number, before: Commit[]) => {
      try {
        const page = await session.api.commits(session.room.id, skip, PAGE);
        setCommits([...before, ...page.commits]);
        setNext(page.next ?? null);
        setProblem(null);
      } catch (error) {
        setProblem(sentence(error));
      }
    },
    [session],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: another last commit means another history.
  useEffect(() => {
    void load(0, []);
  }, [load, props.head]);

  const shown = commits?.find((commit) => commit.id === chosen) ?? commits?.[0] ?? null;
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step === 0 || !commits) return;
    event.preventDefault();
    const at = commits.findIndex((commit) => commit.id === shown?.id);
    const to = commits[Math.max(0, Math.min(commits.length - 1, at + step))];
    if (!to) return;
    setChosen(to.id);
    document.getElementById(`commit-${to.id}`)?.focus();
  };

  if (problem !== null)
    return (
      <div className="notice sandbox-banner" data-tone="bad" role="alert">
        <p>{problem}</p>
        <button type="button" className="button" data-size="small" onClick={() => void load(0, [])}>
          Try again
        </button>
      </div>
    );
  if (commits === null)
    return (
      <p className="git-empty" role="status">
        <Loader size={14} className="spin" aria-hidden /> Reading the commits…
      </p>
    );
  if (!shown)
    return (
      <div className="git-clean">
        <GitCommitHorizontal size={22} strokeWidth={1.6} aria-hidden />
        <p>There are no commits yet. The first one takes every file that is not ignored.</p>
      </div>
    );
  return (
    <div className="git-body">
      <div className="git-side">
        <div
          className="git-log"
          role="listbox"
          aria-label="Commits"
          data-testid="commits"
          onKeyDown={onKeyDown}
        >
          {commits.map((commit) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles the arrow keys, which select.
            <div
              key={commit.id}
              id={`commit-${commit.id}`}
              role="option"
              className="git-commit"
              data-testid="commit-row"
              aria-selected={commit === shown}
              tabIndex={commit === shown ? 0 : -1}
              onClick={() => setChosen(commit.id)}
            >
              <span className="git-subject">{commit.subject}</span>
              <span className="git-who">
                <span>{madeBy(commit)}</span>
                <time dateTime={new Date(commit.at).toISOString()}>{ago(commit.at, now)}</time>
              </span>
            </div>
          ))}
        </div>
        {next !== null && (
          <button
            type="button"
            className="button git-more"
            data-size="small"
            onClick={() => void load(next, commits)}
          >
            Older commits
          </button>
        )}
      </div>
      <PatchView
        key={shown.id}
        name={shown.subject}
        facts={`${shortId(shown.id)} by ${madeBy(shown)}`}
        wanted={{ commit: shown.id }}
        of={shown.id}
      />
    </div>
  );
}
