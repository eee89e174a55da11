/** The keyboard of the tree, as the ARIA practices describe it: arrows, Home, End, Enter, type-ahead, and F2, Delete, menu. */
import { type KeyboardEvent, useRef } from 'react';
import type { TreeIntent } from './treeMenu';
import type { TreeNode } from './treeModel';

/** Letters typed within this time belong to one search. */
const TYPE_AHEAD_MS = 700;

export function useTreeKeys(tree: {
  rows: readonly TreeNode[];
  active: string | null;
  expanded: ReadonlySet<string>;
  setActive: (id: string) => void;
  setOpen: (id: string, open: boolean) => void;
  intend: (intent: TreeIntent, node: TreeNode | undefined) => void;
  menu: (node: TreeNode) => void;
}) {
  const search = useRef({ text: '', at: 0 });
  return (event: KeyboardEvent) => {
    const index = tree.rows.findIndex((row) => row.id === tree.active);
    const node = tree.rows[index];
    const go = (to: number) => {
      const target = tree.rows[Math.max(0, Math.min(tree.rows.length - 1, to))];
      if (target) tree.setActive(target.id);
    };
    const open = node?.kind === 'folder' && tree.expanded.has(node.id);
    /** Does what the key stands for; `false` if it stands for nothing here. */
    const act = (key: string): boolean => {
      if (key === 'ArrowDown') go(index + 1);
      else if (key === 'ArrowUp') go(index - 1);
      else if (key === 'Home') go(0);
      else if (key === 'End') go(tree.rows.length - 1);
      else if (key === 'F2') tree.intend('rename', node);
      else if (key === 'Delete') tree.intend('delete', node);
      else if (key === 'ContextMenu' && node) tree.menu(node);
      else if (key === 'Enter' && node?.kind === 'folder') tree.setOpen(node.id, !open);
      else if (key === 'Enter') tree.intend('open', node);
      else if (key === 'ArrowRight' && open) go(index + 1);
      else if (key === 'ArrowRight' && node?.kind === 'folder') tree.setOpen(node.id, true);
      else if (key === 'ArrowLeft' && node && open) tree.setOpen(node.id, false);
      else if (key === 'ArrowLeft' && node?.parent) tree.setActive(node.parent);
      else return key.startsWith('Arrow');
      return true;
    };
    const key =
      event.key === 'F10' && event.shiftKey ? 'ContextMenu' : event.key === ' ' ? 'Enter' : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (act(key)) {
      event.preventDefault();
    } else if (event.key.length === 1) {
      const now = event.timeStamp;
      const text = now - search.current.at < TYPE_AHEAD_MS ? search.current.text + event.key : event.key;
      search.current = { text, at: now };
      // A first letter looks below the present row; further letters may stay on it.
      const from = text.length > 1 ? index : index + 1;
      const ordered = [...tree.rows.slice(from), ...tree.rows.slice(0, from)];
      const hit = ordered.find((row) => row.name.toLowerCase().startsWith(text.toLowerCase()));
      if (hit) tree.setActive(hit.id);
    }
  };
}
