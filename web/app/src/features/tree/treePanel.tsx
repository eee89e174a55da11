/**
 * The room's files: an ARIA tree with one focus, arrow keys, inline names, drag and drop, and a menu. The tree shows what the server
 * projected; actions are commands (`treeActions.ts`), so nothing here guesses how they end.
 */
import { FilePlus2, FolderPlus, TriangleAlert, Upload, X } from 'lucide-react';
import { type DragEvent, type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { copyText } from '../../ui/clipboard';
import { ConfirmDialog } from '../../ui/dialog';
import { ContextMenu } from '../../ui/menu';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { readOnlyReason } from '../access/access';
import { useAccess, useMay } from '../access/useAccess';
import { othersByFile, type PersonHere } from '../presence/people';
import { useRoom } from '../room/roomContext';
import { MoveDialog } from './moveDialog';
import { NameInput } from './nameInput';
import './tree.css';
import { TreeActions } from './treeActions';
import { isChange, menuEntries, type TreeIntent } from './treeMenu';
import { ancestors, canMove, countInside, folderFor, type TreeNode, visibleNodes } from './treeModel';
import { DRAG_TYPE, type RowEvents, TreeRow } from './treeRow';
import { UnsharedPanel } from './unsharedPanel';
import { useTreeKeys } from './useTreeKeys';

type Draft = { kind: 'text' | 'folder'; parent: string | null } | { rename: string } | null;
type Asked = { ask: 'delete' | 'move'; node: TreeNode } | null;
type OpenMenu = { node: TreeNode | null; at: { x: number; y: number } } | null;

export function TreePanel() {
  const { session, opener } = useRoom();
  const tree = useStore(session.tree);
  const loaded = useStore(session.treeLoaded);
  const people = useStore(session.people);
  const front = useStore(opener.active);
  const actions = useMemo(() => new TreeActions(session), [session]);
  const [expanded, setExpanded] = useExpanded(loaded, tree.roots);
  const [active, setActive] = useState<string | null>(null);
  const [draft, setDraft] = useState<Draft>(null);
  const [asked, setAsked] = useState<Asked>(null);
  const [menu, setMenu] = useState<OpenMenu>(null);
  const [drop, setDrop] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [sending, setSending] = useState(0);
  const element = useRef<HTMLDivElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const rows = useMemo(() => visibleNodes(tree, expanded), [tree, expanded]);
  const here = useMemo(() => peopleOnRows(rows, people, tree), [rows, people, tree]);
  const activeNode = active === null ? undefined : tree.byId.get(active);
  const { role } = useAccess();
  const mayEdit = useMay('edit_tree');
  const focus = () => element.current?.focus();

  // The file in front is shown in the tree, as it is after "go to person" or quick open.
  useEffect(() => {
    if (front === null) return;
    setActive(front);
    const around = ancestors(session.tree.get(), front);
    if (around.length > 0) setExpanded((open) => new Set([...open, ...around]));
  }, [front, session, setExpanded]);

  const setOpen = useCallback(
    (id: string, open: boolean) =>
      setExpanded((set) => {
        const next = new Set(set);
        if (open) next.add(id);
        else next.delete(id);
        return next;
      }),
    [setExpanded],
  );

  const begin = (kind: 'text' | 'folder', near: TreeNode | undefined) => {
    const parent = folderFor(near);
    if (parent !== null) setOpen(parent, true);
    setProblem(null);
    setDraft({ kind, parent });
  };

  const intend = async (intent: TreeIntent, node: TreeNode | undefined) => {
    setProblem(null);
    if (!mayEdit && isChange(intent)) return setProblem(readOnlyReason(role));
    if (intent === 'new-file') return begin('text', node);
    if (intent === 'new-folder') return begin('folder', node);
    if (!node) return;
    if (intent === 'open') return opener.open({ node: node.id, focus: true });
    if (intent === 'history') return opener.open({ node: node.id, history: true, focus: true });
    if (intent === 'rename') return setDraft({ rename: node.id });
    if (intent === 'copy-path') return void copyText(node.path);
    if (intent === 'download') return setProblem((await actions.download(node)).problem);
    setAsked({ ask: intent, node });
  };

  const move = async (id: string, folder: string | null): Promise<string | null> => {
    const node = tree.byId.get(id);
    if (!node || !canMove(tree, node, folder)) return null;
    const outcome = await actions.move(node, folder);
    setProblem(outcome.problem);
    if (outcome.problem === null && folder !== null) setOpen(folder, true);
    return outcome.problem;
  };

  const send = async (files: readonly File[], folder: string | null) => {
    if (files.length === 0) return;
    setProblem(mayEdit ? null : readOnlyReason(role));
    if (!mayEdit) return;
    setSending(files.length);
    const outcome = await actions.send(folder, files);
    setSending(0);
    setProblem(outcome.problem);
    if (outcome.problem !== null) return;
    if (folder !== null) setOpen(folder, true);
    setActive(outcome.id);
  };

  /** A row of the tree, or files of the person's own machine. */
  const dropped = (event: DragEvent, folder: string | null) => {
    const files = [...event.dataTransfer.files];
    return files.length > 0 ? send(files, folder) : move(event.dataTransfer.getData(DRAG_TYPE), folder);
  };

  const handlers = {
    click: (node: TreeNode) => {
      setActive(node.id);
      if (node.kind === 'folder') setOpen(node.id, !expanded.has(node.id));
      else opener.open({ node: node.id });
    },
    menu: (node: TreeNode, at: { x: number; y: number }) => {
      setActive(node.id);
      setMenu({ node, at });
    },
    dragOver: (node: TreeNode, event: DragEvent) => {
      if (!takes(event)) return;
      event.preventDefault();
      event.stopPropagation();
      setDrop(folderFor(node) ?? '');
    },
    drop: (node: TreeNode, event: DragEvent) => {
      event.preventDefault();
      event.stopPropagation();
      setDrop(null);
      void dropped(event, folderFor(node));
    },
  };
  const events = useLatest<RowEvents>(handlers);

  const onKeyDown = useTreeKeys({
    rows,
    active,
    expanded,
    setActive: (id) => {
      setActive(id);
      document.getElementById(rowId(id))?.scrollIntoView({ block: 'nearest' });
    },
    setOpen,
    intend: (intent, node) => void intend(intent, node),
    menu: (node) => {
      const box = document.getElementById(rowId(node.id))?.getBoundingClientRect();
      if (box) setMenu({ node, at: { x: box.left + 40, y: box.bottom } });
    },
  });

  const endDraft = () => {
    setDraft(null);
    focus();
  };
  const siblingNames = (parent: string | null, except?: string) =>
    [...tree.byId.values()].filter((n) => n.parent === parent && n.id !== except).map((n) => n.name);
  const newInput = (kind: 'text' | 'folder', parent: string | null) => (
    <NameInput
      label={kind === 'text' ? 'Name of the new file' : 'Name of the new folder'}
      initial=""
      siblings={siblingNames(parent)}
      onLeave={endDraft}
      onSave={async (name) => {
        const outcome = await actions.create(parent, name, kind);
        if (outcome.problem !== null) return outcome.problem;
        setActive(outcome.id);
        if (kind === 'text') opener.open({ node: outcome.id, focus: true });
        return null;
      }}
    />
  );
  const renameInput = (node: TreeNode) => (
    <NameInput
      label={`New name of ${node.name}`}
      initial={node.name}
      siblings={siblingNames(node.parent, node.id)}
      onLeave={endDraft}
      onSave={async (name) => (await actions.rename(node, name)).problem}
    />
  );
  const draftRow = (parent: string | null, depth: number): ReactNode =>
    draft && 'kind' in draft && draft.parent === parent ? (
      <div key="draft" className="tree-row" data-draft style={{ paddingLeft: 29 + depth * 14 }}>
        {newInput(draft.kind, parent)}
      </div>
    ) : null;

  return (
    <section className="tree-panel" aria-label="Files">
      <header className="panel-head">
        <h2>Files</h2>
        {mayEdit && (
          <span className="panel-tools">
            <Tip text="New file">
              <button
                type="button"
                className="icon-button"
                aria-label="New file"
                data-testid="tree-new-file"
                onClick={() => begin('text', activeNode)}
              >
                <FilePlus2 size={15} />
              </button>
            </Tip>
            <Tip text="New folder">
              <button
                type="button"
                className="icon-button"
                aria-label="New folder"
                data-testid="tree-new-folder"
                onClick={() => begin('folder', activeNode)}
              >
                <FolderPlus size={15} />
              </button>
            </Tip>
            <Tip text="Upload files">
              <button
                type="button"
                className="icon-button"
                aria-label="Upload files"
                data-testid="tree-upload"
                disabled={sending > 0}
                onClick={() => picker.current?.click()}
              >
                <Upload size={15} />
              </button>
            </Tip>
            <input
              ref={picker}
              type="file"
              multiple
              hidden
              data-testid="tree-picker"
              onChange={(event) => {
                const files = [...(event.target.files ?? [])];
                event.target.value = '';
                void send(files, folderFor(activeNode));
              }}
            />
          </span>
        )}
      </header>
      {problem && (
        <div className="notice tree-problem" data-tone="bad" role="alert" data-testid="tree-error">
          <TriangleAlert size={14} aria-hidden />
          <p>{problem}</p>
          <button
            type="button"
            className="icon-button"
            data-size="small"
            aria-label="Dismiss"
            onClick={() => setProblem(null)}
          >
            <X size={13} />
          </button>
        </div>
      )}
      {sending > 0 && (
        <p className="tree-sending" role="status">
          {sending === 1 ? 'Uploading a file…' : `Uploading ${sending} files…`}
        </p>
      )}
      <div
        ref={element}
        className="tree"
        role="tree"
        aria-label="Files of the room"
        data-testid="tree"
        data-drop={drop === '' || undefined}
        tabIndex={0}
        aria-activedescendant={active ? rowId(active) : undefined}
        onKeyDown={onKeyDown}
        onFocus={() => active === null && rows[0] && setActive(rows[0].id)}
        onContextMenu={(event) => {
          event.preventDefault();
          setMenu({ node: null, at: { x: event.clientX, y: event.clientY } });
        }}
        onDragOver={(event) => {
          if (!takes(event)) return;
          event.preventDefault();
          setDrop('');
        }}
        onDragLeave={() => setDrop(null)}
        onDragEnd={() => setDrop(null)}
        onDrop={(event) => {
          event.preventDefault();
          setDrop(null);
          void dropped(event, null);
        }}
      >
        {draftRow(null, 0)}
        {rows.map((node) => (
          <div key={node.id} role="none">
            <TreeRow
              node={node}
              rowId={rowId(node.id)}
              expanded={expanded.has(node.id)}
              movable={mayEdit}
              active={active === node.id}
              selected={front === node.id}
              dropTarget={drop === node.id}
              people={here.get(node.id)}
              events={events}
              editing={draft && 'rename' in draft && draft.rename === node.id ? renameInput(node) : null}
            />
            {node.kind === 'folder' && expanded.has(node.id) && draftRow(node.id, node.depth + 1)}
          </div>
        ))}
        {!loaded && <TreeSkeleton />}
        {loaded && rows.length === 0 && draft === null && (
          <div className="tree-empty">
            <p>No files yet.</p>
            {mayEdit && (
              <button
                type="button"
                className="button"
                data-size="small"
                onClick={() => begin('text', undefined)}
              >
                <FilePlus2 size={14} /> New file
              </button>
            )}
          </div>
        )}
      </div>
      {loaded && <UnsharedPanel />}
      {menu && (mayEdit || menu.node) && (
        <ContextMenu
          label={menu.node ? `Actions for ${menu.node.name}` : 'Actions'}
          at={menu.at}
          entries={menuEntries(menu.node, mayEdit, (intent) => void intend(intent, menu.node ?? undefined))}
          onClose={() => setMenu(null)}
        />
      )}
      {asked?.ask === 'delete' && (
        <ConfirmDialog
          title={`Delete “${asked.node.name}”?`}
          confirm="Delete"
          onClose={() => setAsked(null)}
          onConfirm={async () => (await actions.remove(asked.node)).problem}
        >
          {deletionWords(asked.node, here.get(asked.node.id))}
        </ConfirmDialog>
      )}
      {asked?.ask === 'move' && (
        <MoveDialog
          tree={tree}
          node={asked.node}
          onClose={() => setAsked(null)}
          onMove={(folder) => move(asked.node.id, folder)}
        />
      )}
    </section>
  );
}

function takes(event: DragEvent): boolean {
  return event.dataTransfer.types.includes(DRAG_TYPE) || event.dataTransfer.types.includes('Files');
}

function rowId(node: string): string {
  return `tree-${node}`;
}

function TreeSkeleton() {
  return (
    <div className="tree-skeleton" role="status" aria-label="Loading the files">
      {[62, 48, 70, 40, 56].map((width) => (
        <span key={width} style={{ width: `${width}%` }} />
      ))}
    </div>
  );
}

function deletionWords(node: TreeNode, others: readonly PersonHere[] | undefined): ReactNode {
  const inside = countInside(node);
  const what =
    inside > 0
      ? `The folder and ${inside === 1 ? 'the one entry' : `all ${inside} entries`} in it are deleted for everyone.`
      : 'It is deleted for everyone in the room.';
  const who = others?.map((person) => person.name).join(', ');
  return (
    <p>
      {what}{' '}
      {who && (
        <strong>
          {who} {others && others.length > 1 ? 'are' : 'is'} in it right now.
        </strong>
      )}
    </p>
  );
}

/** Open folders. The top-level ones are open when the tree first arrives. */
function useExpanded(loaded: boolean, roots: readonly TreeNode[]) {
  const [expanded, setExpanded] = useState<ReadonlySet<string>>(new Set());
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current || !loaded || roots.length === 0) return;
    begun.current = true;
    setExpanded(new Set(roots.filter((node) => node.kind === 'folder').map((node) => node.id)));
  }, [loaded, roots]);
  return [expanded, setExpanded] as const;
}

/** Others by the row that stands for the file they are in: the file's own, or the closed folder around it. */
function peopleOnRows(
  rows: readonly TreeNode[],
  people: readonly PersonHere[],
  tree: Parameters<typeof ancestors>[0],
): Map<string, PersonHere[]> {
  const shown = new Set(rows.map((node) => node.id));
  const found = new Map<string, PersonHere[]>();
  for (const [file, others] of othersByFile(people)) {
    const row = [file, ...ancestors(tree, file)].find((id) => shown.has(id));
    if (row === undefined) continue;
    const already = found.get(row) ?? [];
    found.set(row, [...already, ...others.filter((other) => !already.includes(other))]);
  }
  return found;
}

/** One object whose functions always call the latest ones, so that rows need not render again. */
function useLatest<T extends object>(handlers: T): T {
  const latest = useRef(handlers);
  latest.current = handlers;
  return useMemo(
    () =>
      new Proxy({} as T, {
        get: (_target, key) => latest.current[key as keyof T],
      }),
    [],
  );
}
