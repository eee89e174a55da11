import { describe, expect, it } from 'vitest';
import type { Change, Run } from '../../api/types';
import { changeWords, chosenPaths, distance, madeBy, parts, patchRows, workWords } from './gitModel';

const change = (path: string, more: Partial<Change> = {}): Change => ({
  path,
  from: null,
  kind: 'modified',
  staged: false,
  ...more,
});

describe('changes', () => {
  it('are told in words', () => {
    expect(changeWords(change('a.py'))).toBe('Changed: a.py');
    expect(changeWords(change('b.py', { kind: 'renamed', from: 'a.py' }))).toBe('Renamed from a.py: b.py');
    expect(parts('src/deep/a.py')).toEqual({ folder: 'src/deep/', name: 'a.py' });
    expect(parts('a.py')).toEqual({ folder: '', name: 'a.py' });
    expect(parts('nested/')).toEqual({ folder: '', name: 'nested/' });
  });

  it('are all committed unless some were left out', () => {
    const changes = [change('a'), change('b')];
    expect(chosenPaths(changes, new Set())).toBeNull();
    expect(chosenPaths(changes, new Set(['gone']))).toBeNull();
    expect(chosenPaths(changes, new Set(['a']))).toEqual(['b']);
  });
});

describe('what git is at', () => {
  const run = (state: Run['state'], trigger: Run['trigger']) =>
    ({ state, trigger, rule_name: 'Tests' }) as Run;

  it('waits for a run that holds the files still, and for no other', () => {
    const runs = [run('queued', 'text'), run('running', 'intent'), run('passed', 'text')];
    expect(workWords('commit', runs)).toContain('the run “Tests” to end');
    expect(workWords('branch', runs)).toContain('Waiting');
    expect(workWords('push', runs)).toBe('Git is at work…');
    expect(workWords('commit', [run('queued', 'text'), run('running', 'sandbox')])).toBe('Git is at work…');
  });
});

describe('commits', () => {
  it('name everybody whose work they are', () => {
    const commit = { id: 'a', parents: [], author: 'Ann', email: 'x', at: 0, subject: 's', co_authors: [] };
    expect(madeBy(commit)).toBe('Ann');
    expect(madeBy({ ...commit, co_authors: ['Bob <b@x>'] })).toBe('Ann and Bob');
    expect(madeBy({ ...commit, co_authors: ['Bob <b@x>', 'Bot (agent) <c@x>'] })).toBe(
      'Ann, Bob and Bot (agent)',
    );
  });

  it('are ahead or behind', () => {
    expect(distance(null)).toBeNull();
    expect(distance({ ahead: null, behind: null })).toBeNull();
    expect(distance({ ahead: 0, behind: 0 })).toBe('up to date');
    expect(distance({ ahead: 2, behind: 1 })).toBe('2 to push, 1 to pull');
  });
});

describe('patches', () => {
  it('are read line by line', () => {
    const patch = [
      'diff --git a/a.py b/a.py',
      'index 123..456 100644',
      '--- a/a.py',
      '+++ b/a.py',
      '@@ -1,2 +1,3 @@ def f():',
      ' one',
      '-two',
      '+2',
      '+three',
      '\\ No newline at end of file',
      '',
    ].join('\n');
    expect(patchRows(patch)).toEqual([
      { is: 'file', text: 'a.py' },
      { is: 'hunk', text: 'Line 1, in def f():' },
      { is: 'same', text: 'one', before: 1, after: 1 },
      { is: 'removed', text: 'two', before: 2, after: null },
      { is: 'added', text: '2', before: null, after: 2 },
      { is: 'added', text: 'three', before: null, after: 3 },
      { is: 'note', text: 'No line end at the end of the file' },
    ]);
  });

  it('are not misread because of what stands in the files', () => {
    const patch = [
      '@@ -1,2 +1 @@',
      '--- a/x',
      '-@@ -9 +9 @@',
      '+++ b/x',
      'diff --git a/b b/b',
      'new file mode 100644',
    ];
    expect(patchRows(patch.join('\n')).map((row) => [row.is, row.text])).toEqual([
      ['hunk', 'Line 1'],
      ['removed', '-- a/x'],
      ['removed', '@@ -9 +9 @@'],
      ['added', '++ b/x'],
      ['file', 'b'],
      ['note', 'New file'],
    ]);
  });

  it('say what has no lines', () => {
    const patch = [
      'diff --git a/old name b/new name',
      'similarity index 100%',
      'rename from old name',
      'rename to new name',
      'diff --git a/i.png b/i.png',
      'Binary files a/i.png and b/i.png differ',
    ];
    expect(patchRows(patch.join('\n')).map((row) => row.text)).toEqual([
      'new name',
      'Renamed from old name',
      'i.png',
      'The file is no text, so there are no lines to show',
    ]);
    expect(patchRows('')).toEqual([]);
  });
});
