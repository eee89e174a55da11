/** The entries of the tree's context menu and what each one intends. */
import {
  ClipboardCopy,
  Download,
  FilePlus2,
  FolderInput,
  FolderPlus,
  PanelTop,
  PenLine,
  Trash2,
} from 'lucide-react';
import type { MenuEntry } from '../../ui/menu';
import type { TreeNode } from './treeModel';

export type TreeIntent =
  | 'open'
  | 'new-file'
  | 'new-folder'
  | 'rename'
  | 'move'
  | 'copy-path'
  | 'download'
  | 'delete';

/** `node` is `null` for the empty part of the tree. */
export function menuEntries(node: TreeNode | null, run: (intent: TreeIntent) => void): MenuEntry[] {
  const entry = (id: TreeIntent, label: string, icon: MenuEntry['icon'], hint?: string): MenuEntry => ({
    id,
    label,
    icon,
    hint,
    danger: id === 'delete',
    run: () => run(id),
  });
  const create = [entry('new-file', 'New file', FilePlus2), entry('new-folder', 'New folder', FolderPlus)];
  if (!node) return create;
  const file = node.kind !== 'folder';
  return [
    ...(file ? [entry('open', 'Open', PanelTop, 'Enter')] : create),
    entry('rename', 'Rename', PenLine, 'F2'),
    entry('move', 'Move to…', FolderInput),
    entry('copy-path', 'Copy path', ClipboardCopy),
    ...(file ? [entry('download', 'Download', Download)] : []),
    entry('delete', 'Delete', Trash2, 'Del'),
  ];
}
