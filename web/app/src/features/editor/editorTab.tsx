/** A tab of the editor area. Its title follows the file's name; two files of one name also show their folders. */
import type { IDockviewPanelHeaderProps } from 'dockview-react';
import { History, X } from 'lucide-react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { FileIcon } from '../tree/fileIcon';
import type { Tree } from '../tree/treeModel';
import { type EditorParams, HISTORY } from './editorArea';

export function EditorTab(props: IDockviewPanelHeaderProps<EditorParams>) {
  const { session } = useRoom();
  const tree = useStore(session.tree);
  const loaded = useStore(session.treeLoaded);
  const { node: id, lastName } = props.params;
  const node = tree.byId.get(id);
  const name = node?.name ?? lastName;
  const folder = node ? ambiguousFolder(tree, id, props) : null;
  const deleted = loaded && !node;
  const history = props.api.id.startsWith(HISTORY);
  return (
    <div
      className="editor-tab"
      data-testid={history ? 'history-tab' : 'editor-tab'}
      data-node={id}
      data-path={node?.path ?? lastName}
      data-deleted={deleted || undefined}
      title={`${node?.path ?? `${lastName} (deleted)`}${history ? ', history' : ''}`}
      onAuxClick={(event) => event.button === 1 && props.api.close()}
    >
      {history ? (
        <History size={14} aria-label="History of" />
      ) : (
        <FileIcon name={name} kind={node?.kind ?? 'text'} />
      )}
      <span className="editor-tab-name">{name}</span>
      {folder && <span className="editor-tab-folder">{folder}</span>}
      <button
        type="button"
        className="editor-tab-close"
        aria-label={history ? `Close the history of ${name}` : `Close ${name}`}
        data-testid="editor-tab-close"
        onPointerDown={(event) => event.stopPropagation()}
        onClick={(event) => {
          event.stopPropagation();
          props.api.close();
        }}
      >
        <X size={13} />
      </button>
    </div>
  );
}

function ambiguousFolder(
  tree: Tree,
  id: string,
  props: IDockviewPanelHeaderProps<EditorParams>,
): string | null {
  const node = tree.byId.get(id);
  if (!node) return null;
  const twin = props.containerApi.panels.some(
    (panel) => panel.id !== id && tree.byId.get(panel.id)?.name === node.name,
  );
  if (!twin) return null;
  return node.parent === null ? '/' : (tree.byId.get(node.parent)?.name ?? null);
}
