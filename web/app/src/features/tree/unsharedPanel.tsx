/**
 * What of the workspace is no node: installed packages, build results, whatever `.gitignore` names. It is in the sandbox alone, so it is
 * read when somebody opens it, and once more each time. Nothing here can be changed.
 */
import { ChevronRight, RotateCw } from 'lucide-react';
import { useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Unshared } from '../../api/types';
import { Tip } from '../../ui/tip';
import { useRoom } from '../room/roomContext';
import { bytes } from '../runs/format';
import { FileIcon } from './fileIcon';

export function UnsharedPanel() {
  const [open, setOpen] = useState(false);
  const [look, setLook] = useState(0);
  return (
    <section className="unshared" aria-label="Only in the sandbox">
      <div className="unshared-head">
        <button
          type="button"
          className="unshared-row"
          data-testid="unshared"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <ChevronRight size={14} className="tree-chevron" data-open={open || undefined} aria-hidden />
          Only in the sandbox
        </button>
        {open && (
          <Tip text="Look again">
            <button
              type="button"
              className="icon-button"
              data-size="small"
              aria-label="Look again"
              onClick={() => setLook(look + 1)}
            >
              <RotateCw size={12} />
            </button>
          </Tip>
        )}
      </div>
      {open && <Listing key={look} folder={null} depth={0} />}
    </section>
  );
}

function Listing(props: { folder: string | null; depth: number }) {
  const { session } = useRoom();
  const { folder, depth } = props;
  const [found, setFound] = useState<Unshared | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    let gone = false;
    session.api.unshared(session.room.id, folder).then(
      (listed) => !gone && setFound(listed),
      (error: unknown) => !gone && setProblem(sentence(error)),
    );
    return () => {
      gone = true;
    };
  }, [session, folder]);
  if (problem) return <p role="alert">{problem}</p>;
  if (found === null) return <p role="status">Looking…</p>;
  if (found.files.length === 0) {
    return <p>{folder === null ? 'Nothing: all of the workspace is shown above.' : 'Nothing is in it.'}</p>;
  }
  return (
    <ul data-testid="unshared-list">
      {found.files.map((file) => (
        <Row key={file.path} file={file} name={nameIn(folder, file.path)} depth={depth} />
      ))}
      {found.more > 0 && (
        <li className="unshared-row" style={{ paddingLeft: indent(depth) + 19 }}>
          and {found.more.toLocaleString('en')} more
        </li>
      )}
    </ul>
  );
}

function Row(props: { file: Unshared['files'][number]; name: string; depth: number }) {
  const { file, name, depth } = props;
  const [open, setOpen] = useState(false);
  const style = { paddingLeft: indent(depth) };
  if (!file.folder) {
    return (
      <li className="unshared-row" style={style} title={file.path} data-testid="unshared-item">
        <span className="unshared-gap" />
        <FileIcon name={file.path} kind="text" />
        <span className="tree-label">{name}</span>
        <span className="tree-size">{bytes(file.size)}</span>
      </li>
    );
  }
  return (
    <li>
      <button
        type="button"
        className="unshared-row"
        style={style}
        title={file.path}
        data-testid="unshared-item"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        <ChevronRight size={14} className="tree-chevron" data-open={open || undefined} aria-hidden />
        <FileIcon name={file.path} kind="folder" open={open} />
        <span className="tree-label">{name}</span>
      </button>
      {open && <Listing folder={file.path} depth={depth + 1} />}
    </li>
  );
}

function indent(depth: number): number {
  return 8 + depth * 14;
}

/** At the top the whole path, because those folders are not shown here. */
function nameIn(folder: string | null, path: string): string {
  return folder === null ? path : path.slice(folder.length + 1);
}
