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
    const actions: Record<string, () => void> = {
      ArrowDown: () => go(index + 1),
      ArrowUp: () => go(index - 1),
      Home: () => go(0),
      End: () => go(tree.rows.length - 1),
      ArrowRight: () => {
        if (node?.kind !== 'folder') return;
        if (open) go(index + 1);
        else tree.setOpen(node.id, true);
      },
      ArrowLeft: () => {
        if (node && open) tree.setOpen(node.id, false);
        else if (node?.parent) tree.setActive(node.parent);
      },
      Enter: () => {
        if (node?.kind === 'folder') tree.setOpen(node.id, !open);
        else tree.intend('open', node);
      },
      F2: () => tree.intend('rename', node),
      Delete: () => tree.intend('delete', node),
      ContextMenu: () => node && tree.menu(node),
    };
    const key =
      event.key === 'F10' && event.shiftKey ? 'ContextMenu' : event.key === ' ' ? 'Enter' : event.key;
    const action = actions[key];
    if (action && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      action();
    } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) {
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
