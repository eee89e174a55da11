/** The entries of the tree's context menu and what each one intends. */
import {
  ClipboardCopy,
  Download,
  FilePlus2,
  FolderInput,
  FolderPlus,
  History,
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
  | 'history'
  | 'delete';

/** What changes the tree, and so is for those who may. */
const CHANGES: readonly TreeIntent[] = ['new-file', 'new-folder', 'rename', 'move', 'delete'];

export function isChange(intent: TreeIntent): boolean {
  return CHANGES.includes(intent);
}

/** `node` is `null` for the empty part of the tree. Whoever may change nothing is offered no changes. */
export function menuEntries(
  node: TreeNode | null,
  mayEdit: boolean,
  run: (intent: TreeIntent) => void,
): MenuEntry[] {
  const entries: MenuEntry[] = [];
  const add = (id: TreeIntent, label: string, icon: MenuEntry['icon'], hint?: string) => {
    if (!mayEdit && isChange(id)) return;
    entries.push({ id, label, icon, hint, danger: id === 'delete', run: () => run(id) });
  };
  const file = node !== null && node.kind !== 'folder';
  if (file) {
    add('open', 'Open', PanelTop, 'Enter');
  } else {
    add('new-file', 'New file', FilePlus2);
    add('new-folder', 'New folder', FolderPlus);
  }
  if (!node) return entries;
  add('rename', 'Rename', PenLine, 'F2');
  add('move', 'Move to…', FolderInput);
  add('copy-path', 'Copy path', ClipboardCopy);
  if (node.kind === 'text') add('history', 'History', History);
  if (file) add('download', 'Download', Download);
  add('delete', 'Delete', Trash2, 'Del');
  return entries;
}
