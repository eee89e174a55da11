/** Finds a file by a part of its path and opens it. */
import { type KeyboardEvent, useMemo, useState } from 'react';
import { Dialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { FileIcon } from '../tree/fileIcon';
import { files } from '../tree/treeModel';
import { rankPaths } from './rankPaths';

const MAX_RESULTS = 30;

export function QuickOpen(props: { onClose: () => void }) {
  const { session, opener } = useRoom();
  const tree = useStore(session.tree);
  const [query, setQuery] = useState('');
  const [at, setAt] = useState(0);
  const hits = useMemo(() => rankPaths(files(tree), query).slice(0, MAX_RESULTS), [tree, query]);
  const chosen = hits[Math.min(at, hits.length - 1)];

  const choose = (node: string | undefined) => {
    if (node === undefined) return;
    props.onClose();
    // After the dialog has given the focus back, or it would take it from the editor.
    setTimeout(() => opener.open({ node, focus: true }), 60);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setAt(Math.min(hits.length - 1, at + 1));
    else if (event.key === 'ArrowUp') setAt(Math.max(0, at - 1));
    else if (event.key === 'Enter') choose(chosen?.id);
    else return;
    event.preventDefault();
  };

  return (
    <Dialog title="Open a file" onClose={props.onClose}>
      <div className="quick-open" data-testid="quick-open">
        <input
          className="input"
          data-testid="quick-open-input"
          role="combobox"
          aria-label="Part of a file's name or path"
          aria-expanded
          aria-controls="quick-open-list"
          aria-activedescendant={chosen ? `quick-${chosen.id}` : undefined}
          placeholder="Part of a name or path"
          value={query}
          spellCheck={false}
          autoComplete="off"
          autoFocus
          onChange={(event) => {
            setQuery(event.target.value);
            setAt(0);
          }}
          onKeyDown={onKeyDown}
        />
        <div id="quick-open-list" className="quick-open-list" role="listbox" aria-label="Files">
          {hits.map((node) => (
            // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus and names the active option.
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field handles the keys.
            <div
              key={node.id}
              id={`quick-${node.id}`}
              role="option"
              className="quick-open-item"
              data-testid="quick-open-item"
              data-path={node.path}
              aria-selected={node === chosen}
              onClick={() => choose(node.id)}
            >
              <FileIcon name={node.name} kind={node.kind} />
              {node.name}
              <small>{node.path.slice(0, -node.name.length - 1)}</small>
            </div>
          ))}
          {hits.length === 0 && <p className="runs-empty">No file has this in its path.</p>}
        </div>
      </div>
    </Dialog>
  );
}
