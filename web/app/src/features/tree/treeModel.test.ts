import { describe, expect, it } from 'vitest';
import type { Node } from '../../api/types';
import {
  ancestors,
  buildTree,
  canMove,
  countInside,
  factsOf,
  folderFor,
  readNodes,
  visibleNodes,
} from './treeModel';

const node = (id: string, parent: string | null, kind: Node['kind'] = 'text', name = id): Node => ({
  id,
  parent,
  name,
  kind,
  size: 1,
  rev: 1,
});
const sample = buildTree([
  node('readme', null, 'text', 'README.md'),
  node('src', null, 'folder'),
  node('lib', 'src', 'folder'),
  node('f10', 'lib', 'text', 'part10.py'),
  node('f9', 'lib', 'text', 'part9.py'),
  node('main', 'src', 'text', 'main.py'),
]);
const paths = (expanded: string[]) => visibleNodes(sample, new Set(expanded)).map((n) => n.path);

describe('buildTree', () => {
  it('puts folders first and counts numbers in names as numbers', () => {
    expect(paths(['src', 'lib'])).toEqual([
      'src',
      'src/lib',
      'src/lib/part9.py',
      'src/lib/part10.py',
      'src/main.py',
      'README.md',
    ]);
  });

  it('hides what is inside closed folders', () => {
    expect(paths([])).toEqual(['src', 'README.md']);
    expect(paths(['lib'])).toEqual(['src', 'README.md']);
  });

  it('shows orphans and cycles at the top level instead of losing them', () => {
    const tree = buildTree([node('a', 'b', 'folder'), node('b', 'a', 'folder'), node('c', 'gone')]);
    const all = visibleNodes(tree, new Set(['a', 'b'])).map((n) => n.id);
    expect(new Set(all)).toEqual(new Set(['a', 'b', 'c']));
    expect(all).toHaveLength(3);
  });
});

describe('readNodes', () => {
  it('leaves out what is not a node', () => {
    expect(readNodes({ a: node('a', null), b: 7, c: { id: 'c' }, d: null })).toHaveLength(1);
  });
});

describe('factsOf', () => {
  it('says of files that are no texts what they are and how large', () => {
    expect(factsOf({ kind: 'binary', size: 3000 })).toBe('Binary file · 2.9 KB');
    expect(factsOf({ kind: 'large', size: 100 << 20 })).toBe('Large file · 100 MB');
    expect(factsOf({ kind: 'text', size: 0 })).toBeNull();
  });
});

describe('moving', () => {
  const get = (id: string) => sample.byId.get(id) as NonNullable<ReturnType<typeof sample.byId.get>>;
  it.each([
    ['a file to the top level', 'main', null, true],
    ['a file to where it is', 'main', 'src', false],
    ['a folder into itself', 'src', 'src', false],
    ['a folder into its own child', 'src', 'lib', false],
    ['a file into a deeper folder', 'main', 'lib', true],
  ])('%s', (_name, id, folder, allowed) => {
    expect(canMove(sample, get(id), folder)).toBe(allowed);
  });

  it('finds the folder for a new entry', () => {
    expect(folderFor(get('main'))).toBe('src');
    expect(folderFor(get('lib'))).toBe('lib');
    expect(folderFor(undefined)).toBeNull();
  });

  it('knows what is around and inside', () => {
    expect(ancestors(sample, 'f9')).toEqual(['lib', 'src']);
    expect(countInside(get('src'))).toBe(4);
  });
});
