/** Which document of a room is meant. Pure. */

/** A file of a room's tree, as `tree:main` has it. */
interface Node {
  id?: unknown;
  parent?: unknown;
  name?: unknown;
  kind?: unknown;
}

/** The id of the file with this path, `null` if there is none. */
export function findFile(nodes: Readonly<Record<string, Node>>, path: string): string | null {
  const wanted = path.split('/').filter(Boolean);
  if (wanted.length === 0) return null;
  for (const [id, node] of Object.entries(nodes)) {
    if (node.kind === 'folder' || node.name !== wanted.at(-1)) continue;
    let [at, left] = [node, wanted.length - 1];
    // A tree that is no tree has no end otherwise.
    while (left > 0 && typeof at.parent === 'string' && nodes[at.parent]) {
      at = nodes[at.parent] as Node;
      if (at.name !== wanted[left - 1]) break;
      left -= 1;
    }
    if (left === 0 && (at.parent === null || at.parent === undefined)) return id;
  }
  return null;
}

/** The document that is meant: a name of its own, `kind:id` in a room, or a path in the room's tree. */
export function nameOf(room: string, doc: string): string | null {
  if (room === '') return doc;
  return /^[a-z]+:[^/]+$/.test(doc) ? `${room}/${doc}` : null;
}
