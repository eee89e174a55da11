/** Moving without a mouse: choose a folder from a list. Folders that cannot take the node are left out. */
import { Folder, House } from 'lucide-react';
import { useState } from 'react';
import { Dialog } from '../../ui/dialog';
import { canMove, folders, type Tree, type TreeNode } from './treeModel';

export function MoveDialog(props: {
  tree: Tree;
  node: TreeNode;
  onMove: (folder: string | null) => Promise<string | null>;
  onClose: () => void;
}) {
  const [problem, setProblem] = useState<string | null>(null);
  const targets = [
    { id: null as string | null, path: '' },
    ...folders(props.tree).map((folder) => ({ id: folder.id as string | null, path: folder.path })),
  ].filter((target) => canMove(props.tree, props.node, target.id));
  const move = async (folder: string | null) => {
    const refused = await props.onMove(folder);
    if (refused === null) props.onClose();
    else setProblem(refused);
  };
  return (
    <Dialog title={`Move “${props.node.name}”`} onClose={props.onClose}>
      {targets.length === 0 ? (
        <p>There is no other folder to move it to. Create one first.</p>
      ) : (
        <ul className="move-list">
          {targets.map((target, index) => (
            <li key={target.path}>
              <button
                type="button"
                className="move-target"
                data-testid="move-target"
                data-path={target.path}
                // biome-ignore lint/a11y/noAutofocus: focus must move into a modal dialog.
                autoFocus={index === 0}
                onClick={() => void move(target.id)}
              >
                {target.id === null ? <House size={15} /> : <Folder size={15} />}
                {target.id === null ? 'Top level' : target.path}
              </button>
            </li>
          ))}
        </ul>
      )}
      {problem && (
        <p className="notice" data-tone="bad" role="alert">
          {problem}
        </p>
      )}
    </Dialog>
  );
}
