/** The room's git: which branch, what changed, commits. Without a repository, the ways to one. */
import { ArrowDownToLine, ArrowUpFromLine, Loader, RotateCw, TriangleAlert, X } from 'lucide-react';
import { type ReactNode, useState } from 'react';
import { sentence } from '../../api/client';
import type { Repository } from '../../api/types';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import { BranchMenu } from './branchMenu';
import { ChangesView } from './changesView';
import './git.css';
import { type Action, distance, workWords } from './gitModel';
import { HistoryView } from './historyView';
import { NoRepository } from './noRepository';
import type { Git } from './useGit';

type View = 'changes' | 'history';

const VIEWS: { view: View; label: string }[] = [
  { view: 'changes', label: 'Changes' },
  { view: 'history', label: 'History' },
];

export function GitPanel(props: { tabs: ReactNode; visible: boolean; git: Git }) {
  const { git, visible } = props;
  const { session } = useRoom();
  const may = useMay('git');
  const off = useStore(session.sandbox).state === 'off';
  const [view, setView] = useState<View>('changes');
  const runs = useStore(session.runs);
  const [busy, setBusy] = useState<Action | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const repository = git.repository;
  const ready = repository?.state === 'ready';

  /** Does something that answers with how the repository is then. True if it worked. */
  const act = async (what: Action, work: () => Promise<Repository | null>): Promise<boolean> => {
    if (busy !== null) return false;
    setBusy(what);
    setProblem(null);
    try {
      const found = await work();
      if (found) git.show(found);
      else git.look();
      return true;
    } catch (error) {
      setProblem(sentence(error));
      return false;
    } finally {
      setBusy(null);
    }
  };
  const room = session.room.id;
  const api = session.api;
  const shown = problem ?? git.problem;

  return (
    <section
      className="git-panel"
      id="lower-changes"
      role="tabpanel"
      aria-label="Changes"
      data-testid="git-panel"
      data-state={repository?.state ?? 'unknown'}
      hidden={!visible}
    >
      <header className="panel-head">
        {props.tabs}
        {ready && (
          <BranchMenu
            repository={repository}
            busy={busy !== null}
            onCreate={(name) => act('branch', () => api.createBranch(room, name))}
            onSwitch={(name) => act('branch', () => api.switchBranch(room, name))}
          />
        )}
        {ready && repository.upstream && (
          <span className="git-distance" title={`This branch follows ${repository.upstream.name}`}>
            {distance(repository.upstream)}
          </span>
        )}
        {busy !== null && (
          <span className="git-busy" role="status" data-testid="git-busy">
            <Loader size={13} className="spin" aria-hidden /> {workWords(busy, runs)}
          </span>
        )}
        <span className="panel-tools">
          {ready && (
            <fieldset className="segments" aria-label="What to show">
              {VIEWS.map((offered) => (
                <label key={offered.view} className="segment" data-testid={`git-view-${offered.view}`}>
                  <input
                    type="radio"
                    name="git-view"
                    checked={view === offered.view}
                    onChange={() => setView(offered.view)}
                  />
                  <span>{offered.label}</span>
                </label>
              ))}
            </fieldset>
          )}
          {ready && repository.upstream && (
            <>
              <Tool
                label="Pull: take what is new there"
                testid="git-pull"
                onPress={() => void act('pull', () => api.pull(room))}
              >
                <ArrowDownToLine size={13} />
              </Tool>
              <Tool
                label="Push: take what is new here there"
                testid="git-push"
                onPress={() => void act('push', () => api.push(room))}
              >
                <ArrowUpFromLine size={13} />
              </Tool>
            </>
          )}
          {may && !off && (
            <Tool label="Look again" testid="git-refresh" onPress={git.look}>
              {git.looking ? <Loader size={13} className="spin" /> : <RotateCw size={13} />}
            </Tool>
          )}
        </span>
      </header>
      {shown !== null && (
        <div className="notice sandbox-banner" data-tone="bad" role="alert" data-testid="git-problem">
          <TriangleAlert size={14} aria-hidden />
          <p>{shown}</p>
          {problem !== null ? (
            <button
              type="button"
              className="icon-button"
              data-size="small"
              aria-label="Dismiss"
              onClick={() => setProblem(null)}
            >
              <X size={13} />
            </button>
          ) : (
            <button type="button" className="button" data-size="small" onClick={git.look}>
              Try again
            </button>
          )}
        </div>
      )}
      {!may ? (
        <p className="git-empty">
          Git needs a link with the role editor: it shows and changes all of the room's files.
        </p>
      ) : off ? (
        <p className="git-empty" data-testid="git-off">
          Git runs in the room's sandbox, which is off on this server. You can go on editing together.
        </p>
      ) : repository === null ? (
        shown === null && (
          <p className="git-empty" role="status">
            <Loader size={14} className="spin" aria-hidden /> Looking at the repository…
          </p>
        )
      ) : ready ? (
        view === 'changes' ? (
          <ChangesView
            repository={repository}
            busy={busy !== null}
            onCommit={(message, paths) =>
              act('commit', async () => {
                await api.commit(room, message, paths);
                return null;
              })
            }
          />
        ) : (
          <HistoryView head={repository.head ?? null} />
        )
      ) : (
        <NoRepository
          repository={repository}
          busy={busy !== null}
          onStart={() => void act('start', () => api.beginRepository(room, null))}
          onClone={(url) => void act('clone', () => api.beginRepository(room, url))}
        />
      )}
    </section>
  );
}

function Tool(props: { label: string; testid: string; onPress: () => void; children: ReactNode }) {
  return (
    <Tip text={props.label}>
      <button
        type="button"
        className="icon-button"
        data-size="small"
        aria-label={props.label}
        data-testid={props.testid}
        onClick={props.onPress}
      >
        {props.children}
      </button>
    </Tip>
  );
}
