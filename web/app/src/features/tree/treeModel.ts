/**
 * The room's files as a tree, from the flat nodes of the `tree:main` document. Pure. The server never projects a cycle or
 * an orphan; should one ever arrive, it is shown at the top level, because a file nobody can see is as bad as a lost one.
 */
import type { Node, NodeKind } from '../../api/types';
import { bytes } from '../runs/format';

export interface TreeNode {
  id: string;
  parent: string | null;
  name: string;
  kind: NodeKind;
  size: number | null;
  rev: number;
  /** It is in the workspace alone, because the room has no space to keep it. */
  unkept: boolean;
  /** Names from the top level, joined by `/`. */
  path: string;
  depth: number;
  children: TreeNode[];
}

export interface Tree {
  roots: TreeNode[];
  byId: ReadonlyMap<string, TreeNode>;
}

export const EMPTY_TREE: Tree = { roots: [], byId: new Map() };

const KINDS: readonly string[] = ['folder', 'text', 'binary', 'large'] satisfies NodeKind[];
const order = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Reads the values of the `nodes` map; what is not a node is left out. */
export function readNodes(values: Record<string, unknown>): Node[] {
  return Object.values(values).filter((value): value is Node => {
    const node = value as Node | null;
    return typeof node?.id === 'string' && typeof node.name === 'string' && KINDS.includes(node.kind);
  });
}

export function buildTree(nodes: readonly Node[]): Tree {
  const byId = new Map<string, TreeNode>();
  for (const node of nodes)
    byId.set(node.id, {
      ...node,
      parent: node.parent ?? null,
      size: node.size ?? null,
      unkept: node.unkept ?? false,
      path: node.name,
      depth: 0,
      children: [],
    });
  const roots: TreeNode[] = [];
  for (const node of byId.values()) {
    const parent = node.parent === null ? undefined : byId.get(node.parent);
    if (parent && !leadsTo(parent, node.id, byId)) parent.children.push(node);
    else roots.push(node);
  }
  const finish = (siblings: TreeNode[], prefix: string, depth: number) => {
    siblings.sort(compare);
    for (const node of siblings) {
      node.path = prefix + node.name;
      node.depth = depth;
      finish(node.children, `${node.path}/`, depth + 1);
    }
  };
  finish(roots, '', 0);
  return { roots, byId };
}

/** True if going up from `node` meets `id`. */
function leadsTo(node: TreeNode, id: string, byId: ReadonlyMap<string, TreeNode>): boolean {
  const seen = new Set<string>();
  for (let at: TreeNode | undefined = node; at && !seen.has(at.id); at = byId.get(at.parent ?? '')) {
    if (at.id === id) return true;
    seen.add(at.id);
  }
  return false;
}

function compare(a: TreeNode, b: TreeNode): number {
  if ((a.kind === 'folder') !== (b.kind === 'folder')) return a.kind === 'folder' ? -1 : 1;
  return order.compare(a.name, b.name) || (a.id < b.id ? -1 : 1);
}

/** The rows a person sees, top to bottom. */
export function visibleNodes(tree: Tree, expanded: ReadonlySet<string>): TreeNode[] {
  const rows: TreeNode[] = [];
  const walk = (nodes: TreeNode[]) => {
    for (const node of nodes) {
      rows.push(node);
      if (node.kind === 'folder' && expanded.has(node.id)) walk(node.children);
    }
  };
  walk(tree.roots);
  return rows;
}

/** What a file is that is no text, and how large; `null` for texts and folders. */
export function factsOf(node: Pick<TreeNode, 'kind' | 'size'>): string | null {
  if (node.kind !== 'binary' && node.kind !== 'large') return null;
  const what = node.kind === 'large' ? 'Large file' : 'Binary file';
  return node.size === null ? what : `${what} · ${bytes(node.size)}`;
}

/** The folder a new entry goes into when `node` is selected. */
export function folderFor(node: TreeNode | undefined): string | null {
  if (!node) return null;
  return node.kind === 'folder' ? node.id : node.parent;
}

/** Ids of the folders around a node, nearest first. */
export function ancestors(tree: Tree, id: string): string[] {
  const found: string[] = [];
  for (let at = tree.byId.get(id)?.parent ?? null; at !== null && !found.includes(at); ) {
    found.push(at);
    at = tree.byId.get(at)?.parent ?? null;
  }
  return found;
}

/** True if `node` may be dropped into `folder` (`null`: the top level) as far as the page can tell. */
export function canMove(tree: Tree, node: TreeNode, folder: string | null): boolean {
  if (node.parent === folder) return false;
  return folder === null || (folder !== node.id && !ancestors(tree, folder).includes(node.id));
}

export function files(tree: Tree): TreeNode[] {
  return [...tree.byId.values()]
    .filter((node) => node.kind !== 'folder')
    .sort((a, b) => order.compare(a.path, b.path));
}

export function folders(tree: Tree): TreeNode[] {
  return [...tree.byId.values()]
    .filter((node) => node.kind === 'folder')
    .sort((a, b) => order.compare(a.path, b.path));
}

/** How many files and folders a deletion takes along. */
export function countInside(node: TreeNode): number {
  return node.children.reduce((sum, child) => sum + 1 + countInside(child), 0);
}
