/** The versions of one file and the one that is looked at. It keeps the list fresh while people type. */
import { Bookmark, CloudOff, Loader, Trash2 } from 'lucide-react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { ApiError } from '../../api/client';
import type { Versions } from '../../api/types';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import type { FileSession } from '../editor/fileSessions';
import { useRoom } from '../room/roomContext';
import { NameDialog } from './nameDialog';
import { VersionList } from './versionList';
import { VersionPages } from './versionPages';
import { rows } from './versions';
import { VersionView } from './versionView';

/** After an edit the list is asked for anew this much later, once for all edits in between. */
const REFRESH_MS = 2500;

const NOTHING: Versions = { epoch: 0, seq: 0, versions: [], authors: [] };

export function FileHistory(props: {
  file: FileSession;
  name: string;
  path: string;
  /** Rises when the history was asked for again, to take the keyboard. */
  focus: number | undefined;
}) {
  const { file } = props;
  const { session } = useRoom();
  const pages = useVersionPages(file);
  const { listed, busy, problem } = useStore(pages);
  const state = useStore(file.session.state);
  const connection = useStore(session.connection);
  const mayEdit = useMay('edit_documents');
  const [chosen, setChosen] = useState<string | null>(null);
  const [naming, setNaming] = useState(false);
  const list = useMemo(() => rows(listed?.versions ?? []), [listed]);
  const row = list.find((candidate) => candidate.key === chosen) ?? list[0];
  const deleted = state.link === 'gone';
  const away = connection.kind === 'offline' || connection.kind === 'reconnecting';

  useEffect(() => {
    if (!away) void pages.refresh();
  }, [away, pages]);

  return (
    <section
      className="history"
      aria-label={`History of ${props.name}`}
      data-testid="history"
      data-path={props.path}
    >
      <div className="history-panes">
        <div className="history-side">
          <header className="history-head">
            <h2>Versions</h2>
            {busy && listed && <Loader size={13} className="spin" aria-label="Looking for newer versions" />}
            {mayEdit && !deleted && (
              <button
                type="button"
                className="button"
                data-size="small"
                data-testid="name-version"
                onClick={() => setNaming(true)}
              >
                <Bookmark size={13} aria-hidden /> Name this version
              </button>
            )}
          </header>
          {deleted && (
            <p className="notice history-notice" role="status" data-testid="history-deleted">
              <Trash2 size={14} aria-hidden />
              <span>This file was deleted. You can read and copy what it was, but not restore it here.</span>
            </p>
          )}
          {(problem || away) && (
            <div
              className="notice history-notice"
              data-tone={away ? undefined : 'bad'}
              role="alert"
              data-testid="history-problem"
            >
              <CloudOff size={14} aria-hidden />
              <p>
                {away
                  ? 'The history comes from the server. It is read again as soon as the server answers.'
                  : problem}
              </p>
              {!away && (
                <button
                  type="button"
                  className="button"
                  data-size="small"
                  onClick={() => void pages.refresh()}
                >
                  Try again
                </button>
              )}
            </div>
          )}
          {!listed && !problem && <ListSkeleton />}
          {listed && list.length === 0 && (
            <p className="history-empty" data-testid="history-empty">
              Nothing was written in this file yet. Versions appear here as people type.
            </p>
          )}
          {listed && row && (
            <VersionList
              rows={list}
              selected={row.key}
              present={listed.seq}
              authors={listed.authors}
              more={listed.more}
              busy={busy}
              focus={props.focus}
              onSelect={setChosen}
              onMore={() => void pages.older()}
            />
          )}
        </div>
        {listed && row ? (
          <VersionView
            key={file.node}
            row={row}
            listed={listed}
            pages={pages}
            file={file}
            name={props.name}
            deleted={deleted}
          />
        ) : (
          <div className="version-view" />
        )}
      </div>
      {naming && <NameDialog file={file} onNamed={() => pages.refresh()} onClose={() => setNaming(false)} />}
    </section>
  );
}

/** The file's versions; asked for again some time after somebody changed it. */
function useVersionPages(file: FileSession): VersionPages {
  const { session } = useRoom();
  const document = file.session.name;
  const pages = useMemo(
    () =>
      new VersionPages({
        versions: (limit, before) =>
          session.api.versions(document, limit, before).catch((error: unknown) => {
            // A file in which nothing was ever written has no document yet.
            if (error instanceof ApiError && error.code === 'no_such_document') return NOTHING;
            throw error;
          }),
        text: (seq) => session.api.versionText(document, seq),
      }),
    [session, document],
  );
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => {
    const changed = () => {
      timer.current ??= setTimeout(() => {
        timer.current = null;
        void pages.refresh();
      }, REFRESH_MS);
    };
    file.session.doc.on('update', changed);
    return () => {
      file.session.doc.off('update', changed);
      if (timer.current) clearTimeout(timer.current);
      timer.current = null;
    };
  }, [file, pages]);
  return pages;
}

function ListSkeleton() {
  return (
    <div className="history-skeleton" role="status" aria-label="Loading the versions">
      {[70, 52, 64, 46].map((width) => (
        <span key={width} style={{ width: `${width}%` }} />
      ))}
    </div>
  );
}
