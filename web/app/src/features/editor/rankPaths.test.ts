import { describe, expect, it } from 'vitest';
import { rankPaths } from './rankPaths';

const file = (path: string) => ({ path, name: path.slice(path.lastIndexOf('/') + 1) });
const all = ['tests/test_greeting.py', 'src/greeting.py', 'README.md', 'src/great/index.py'].map(file);
const find = (query: string) => rankPaths(all, query).map((f) => f.path);

describe('rankPaths', () => {
  it('puts a name that begins with the query before one that contains it', () => {
    expect(find('greet')).toEqual(['src/greeting.py', 'tests/test_greeting.py']);
  });
  it('finds by folder and by scattered letters', () => {
    expect(find('great/')).toEqual(['src/great/index.py']);
    expect(find('rdm')).toEqual(['README.md']);
  });
  it('gives everything for an empty query and nothing for what is not there', () => {
    expect(find(' ')).toHaveLength(4);
    expect(find('zzz')).toEqual([]);
  });
});
