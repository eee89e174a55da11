/** Git in words and rows: kinds of changes, patches by line, who made a commit. Pure. */
import type { Change, Commit, Run } from '../../api/types';

const KINDS: Record<Change['kind'], { letter: string; word: string }> = {
  added: { letter: 'A', word: 'Added' },
  modified: { letter: 'M', word: 'Changed' },
  deleted: { letter: 'D', word: 'Deleted' },
  renamed: { letter: 'R', word: 'Renamed' },
  untracked: { letter: 'U', word: 'New' },
  conflicted: { letter: '!', word: 'In conflict' },
};

export function kindLetter(change: Change): string {
  return KINDS[change.kind].letter;
}

/** What became of a file, as a whole sentence without its end. */
export function changeWords(change: Change): string {
  const from = change.from ? ` from ${change.from}` : '';
  return `${KINDS[change.kind].word}${from}: ${change.path}`;
}

/** What of git changes files or commits them, so it needs them held still, as runs do. */
export type Action = 'commit' | 'branch' | 'pull' | 'push' | 'start' | 'clone';
const NEEDS_FILES: readonly Action[] = ['commit', 'branch', 'pull', 'start'];

/** How it stands with what git was asked for. A run holds the files still until it ends; what sets a sandbox up does not. */
export function workWords(action: Action, runs: readonly Run[]): string {
  const run = runs.find(({ state, trigger }) => state === 'running' && trigger !== 'sandbox');
  if (!run || !NEEDS_FILES.includes(action)) return 'Git is at work…';
  return `Waiting for the run “${run.rule_name}” to end, for at most 20 s…`;
}

/** A path in its two parts: the folder with its slash, and the name. */
export function parts(path: string): { folder: string; name: string } {
  const end = path.replace(/\/$/, '').lastIndexOf('/') + 1;
  return { folder: path.slice(0, end), name: path.slice(end) };
}

/** What a commit would take of `changes`, where those in `left` were left out; `null` for all of them. */
export function chosenPaths(changes: readonly Change[], left: ReadonlySet<string>): string[] | null {
  const chosen = changes.filter((change) => !left.has(change.path));
  return chosen.length === changes.length ? null : chosen.map((change) => change.path);
}

/** `Name <address>` without the address. */
function nameOf(author: string): string {
  return author.replace(/\s*<[^>]*>\s*$/, '') || author;
}

/** Everybody whose work a commit is. */
export function madeBy(commit: Commit): string {
  const names = [commit.author, ...commit.co_authors.map(nameOf)];
  if (names.length <= 2) return names.join(' and ');
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** How far a branch and the one it follows are apart; `null` where that is not known. */
export function distance(upstream: { ahead?: number | null; behind?: number | null } | null): string | null {
  if (!upstream || typeof upstream.ahead !== 'number' || typeof upstream.behind !== 'number') return null;
  const says = [
    upstream.ahead > 0 && `${upstream.ahead} to push`,
    upstream.behind > 0 && `${upstream.behind} to pull`,
  ].filter((part) => part !== false);
  return says.length === 0 ? 'up to date' : says.join(', ');
}

export type PatchRow =
  | { is: 'file' | 'hunk' | 'note'; text: string }
  | { is: 'added' | 'removed' | 'same'; text: string; before: number | null; after: number | null };

/** A patch, row by row. What stands in the files decides nothing: how long a hunk is, its head says. */
export function patchRows(patch: string): PatchRow[] {
  const rows: PatchRow[] = [];
  const lines = patch.split('\n');
  if (lines.at(-1) === '') lines.pop();
  let [before, after, removedLeft, addedLeft] = [0, 0, 0, 0];
  for (const line of lines) {
    const text = line.slice(1);
    if (removedLeft > 0 || addedLeft > 0) {
      if (line.startsWith('-')) {
        rows.push({ is: 'removed', text, before: before++, after: null });
        removedLeft--;
        continue;
      }
      if (line.startsWith('+')) {
        rows.push({ is: 'added', text, before: null, after: after++ });
        addedLeft--;
        continue;
      }
      if (line.startsWith(' ') || line === '') {
        rows.push({ is: 'same', text, before: before++, after: after++ });
        removedLeft--;
        addedLeft--;
        continue;
      }
    }
    const hunk = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/.exec(line);
    if (hunk) {
      before = Number(hunk[1]);
      removedLeft = Number(hunk[2] ?? 1);
      after = Number(hunk[3]);
      addedLeft = Number(hunk[4] ?? 1);
      const within = hunk[5]?.trim() ?? '';
      rows.push({ is: 'hunk', text: within === '' ? `Line ${after}` : `Line ${after}, in ${within}` });
    } else if (line.startsWith('diff --git ')) {
      rows.push({ is: 'file', text: /^diff --git a\/(.*) b\/\1$/.exec(line)?.[1] ?? fileOf(line) });
    } else if (line.startsWith('\\')) {
      rows.push({ is: 'note', text: 'No line end at the end of the file' });
    } else {
      const note = noteOf(line);
      if (note !== null) rows.push({ is: 'note', text: note });
    }
  }
  return rows;
}

/** The newer name of a file that was renamed. */
function fileOf(line: string): string {
  return / b\/(.*)$/.exec(line)?.[1] ?? line;
}

function noteOf(line: string): string | null {
  if (line.startsWith('new file mode')) return 'New file';
  if (line.startsWith('deleted file mode')) return 'Deleted';
  if (line.startsWith('rename from ')) return `Renamed from ${line.slice('rename from '.length)}`;
  if (line.startsWith('new mode 100755')) return 'Can be executed now';
  if (line.startsWith('Binary files')) return 'The file is no text, so there are no lines to show';
  return null;
}
