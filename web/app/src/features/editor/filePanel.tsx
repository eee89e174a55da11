/** A file that has no editor: what it is, why, and a way to get it. */
import { Download, FileArchive, FileWarning } from 'lucide-react';
import { useState } from 'react';
import { useRoom } from '../room/roomContext';
import { TreeActions } from '../tree/treeActions';
import { factsOf, type TreeNode } from '../tree/treeModel';

export function FilePanel(props: { node: TreeNode }) {
  const { session } = useRoom();
  const { node } = props;
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const large = node.kind === 'large';
  const Icon = large ? FileWarning : FileArchive;
  const download = async () => {
    setBusy(true);
    setProblem((await new TreeActions(session).download(node)).problem);
    setBusy(false);
  };
  return (
    <section className="file-panel" aria-label={node.path} data-testid="file-panel" data-kind={node.kind}>
      <div>
        <Icon size={32} strokeWidth={1.4} aria-hidden />
        <h2>{node.name}</h2>
        <p className="file-facts">{factsOf(node)}</p>
        <p>
          {large
            ? 'It is too large to edit together: text files of up to 1 MB open in the editor. Programs in the sandbox can use it.'
            : 'It does not hold text, so there is nothing to type in. Programs in the sandbox can use it.'}
        </p>
        {node.unkept && (
          <p className="notice" data-tone="warn" data-testid="file-unkept">
            The room has no space left to keep it, so it is in the sandbox’s workspace alone. Download what
            must last, or delete large files that nobody needs.
          </p>
        )}
        <button
          type="button"
          className="button"
          data-testid="file-download"
          disabled={busy}
          onClick={download}
        >
          <Download size={14} /> {busy ? 'Downloading…' : 'Download'}
        </button>
        {problem && (
          <p className="notice" data-tone="bad" role="alert">
            {problem}
          </p>
        )}
      </div>
    </section>
  );
}
