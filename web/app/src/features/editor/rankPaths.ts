/** Orders files by how well their path fits what was typed. Pure. */
import type { TreeNode } from '../tree/treeModel';

/** Files whose path has the letters of `query` in this order; those that begin a name with it first. */
export function rankPaths<T extends Pick<TreeNode, 'name' | 'path'>>(
  nodes: readonly T[],
  query: string,
): T[] {
  const wanted = query.trim().toLowerCase();
  if (wanted === '') return [...nodes];
  return nodes
    .flatMap((node) => {
      const score = rate(node, wanted);
      return score === null ? [] : [{ node, score }];
    })
    .sort((a, b) => a.score - b.score || a.node.path.length - b.node.path.length)
    .map(({ node }) => node);
}

/** Lower is better; `null` if it does not fit. */
function rate(node: Pick<TreeNode, 'name' | 'path'>, wanted: string): number | null {
  const name = node.name.toLowerCase();
  const path = node.path.toLowerCase();
  if (name.startsWith(wanted)) return 0;
  if (name.includes(wanted)) return 1;
  if (path.includes(wanted)) return 2;
  let at = 0;
  for (const letter of wanted.replace(/\s+/g, '')) {
    at = path.indexOf(letter, at) + 1;
    if (at === 0) return null;
  }
  return 3;
}
