/** A room without a repository: begin one, fetch one, or wait for the one that is on its way. */
import { FolderGit2, Loader } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { written } from '../../api/client';
import type { Repository } from '../../api/types';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';

export function NoRepository(props: {
  repository: Repository;
  busy: boolean;
  onStart: () => void;
  onClone: (url: string) => void;
}) {
  const { repository, busy } = props;
  const { session } = useRoom();
  const empty = useStore(session.tree).byId.size === 0;
  const [url, setUrl] = useState(repository.url ?? '');

  if (repository.state === 'cloning')
    return (
      <div className="git-clean" role="status" data-testid="git-cloning">
        <Loader size={22} className="spin" aria-hidden />
        <p>
          Fetching <b>{repository.url}</b>. Its files appear here as soon as all of it has arrived.
        </p>
      </div>
    );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (url.trim() !== '') props.onClone(url.trim());
  };
  return (
    <div className="git-clean" data-testid="git-none">
      <FolderGit2 size={26} strokeWidth={1.4} aria-hidden />
      {repository.state === 'failed' && (
        <p className="git-failed" role="alert">
          <b>{repository.url}</b> was not fetched. {written(repository.message ?? '')}
        </p>
      )}
      <p>
        This room has no repository yet. With one you see what changed, and commits name everybody whose edits
        are in them.
      </p>
      <div className="git-begin">
        <button
          type="button"
          className="button"
          data-kind="primary"
          data-testid="start-repository"
          disabled={busy}
          onClick={props.onStart}
        >
          Start a repository
        </button>
        {empty && (
          <form onSubmit={submit}>
            <input
              className="input"
              type="url"
              aria-label="Address of a repository"
              data-testid="clone-url"
              placeholder="https://host/team/project.git"
              value={url}
              onChange={(event) => setUrl(event.target.value)}
            />
            <button type="submit" className="button" disabled={busy || url.trim() === ''}>
              Fetch
            </button>
          </form>
        )}
      </div>
    </div>
  );
}
