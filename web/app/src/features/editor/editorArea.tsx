/**
 * The open files and previews as tabs that can be split and rearranged. It decides which panel shows a file and remembers the tabs of
 * this room in this browser. This module and what it imports is one lazy chunk, because Monaco is large.
 */
import {
  type DockviewApi,
  DockviewReact,
  type DockviewReadyEvent,
  type IDockviewPanelProps,
  themeDark,
  themeLight,
} from 'dockview-react';
import 'dockview-react/dist/styles/dockview.css';
import { FileCode2, Loader } from 'lucide-react';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useStore } from '../../ui/store';
import { theme } from '../../ui/theme';
import { PreviewTab, PreviewTabHead } from '../ports/previewTab';
import { type Request, useRoom } from '../room/roomContext';
import { files } from '../tree/treeModel';
import './editor.css';
import { HistoryTab } from '../history/historyTab';
import { EditorTab } from './editorTab';
import { FileActions } from './fileActions';
import { FilePanel } from './filePanel';
import { readTabs, writeTabs } from './rememberedTabs';
import { type EditorIntent, TextEditor } from './textEditor';
import { useHeldFile } from './useHeldFile';

export interface EditorParams {
  node: string;
  /** The name when the tab was opened, for when the node is gone. */
  lastName: string;
  intent: EditorIntent;
}

/** What the id of a file's history begins with; a file's own panel has the file's id. */
export const HISTORY = 'history:';

/** What the id of a preview begins with; its port follows. */
const PREVIEW = 'preview:';

const NO_INTENT: EditorIntent = { serial: 0, focus: false, follow: null };

export default function EditorArea() {
  const { session, opener } = useRoom();
  const loaded = useStore(session.treeLoaded);
  const look = useStore(theme);
  const [api, setApi] = useState<DockviewApi | null>(null);
  const restored = useRef(false);

  const open = useCallback(
    (dock: DockviewApi, request: Request) => {
      if ('preview' in request) {
        openPreview(dock, request.preview);
        return;
      }
      const node = session.tree.get().byId.get(request.node);
      const id = request.history ? HISTORY + request.node : request.node;
      const panel = dock.getPanel(id);
      const intent: EditorIntent = {
        serial: Date.now(),
        focus: request.focus ?? false,
        follow: request.follow ?? null,
      };
      if (panel) {
        panel.api.updateParameters({ intent });
        panel.api.setActive();
      } else {
        const params: EditorParams = { node: request.node, lastName: node?.name ?? 'File', intent };
        const component = request.history ? 'history' : 'file';
        dock.addPanel({ id, component, title: node?.name ?? 'File', params });
      }
    },
    [session],
  );

  useEffect(() => {
    if (!api) return;
    const stopOpening = opener.handle((request) => open(api, request));
    const changed = () => {
      const active = (api.activePanel?.params as EditorParams | undefined)?.node ?? null;
      opener.active.set(active);
      session.showIn(active);
      const ids = api.panels.map((panel) => panel.id);
      const open = ids.filter((id) => !id.startsWith(HISTORY) && !id.startsWith(PREVIEW));
      if (restored.current) writeTabs(session.room.id, { open, active });
    };
    const subscriptions = [
      api.onDidActivePanelChange(changed),
      api.onDidAddPanel(changed),
      api.onDidRemovePanel(changed),
    ];
    return () => {
      stopOpening();
      for (const subscription of subscriptions) subscription.dispose();
    };
  }, [api, opener, open, session]);

  useEffect(() => {
    if (!api || !loaded || restored.current) return;
    restored.current = true;
    if (api.panels.length > 0) return;
    const tree = session.tree.get();
    const kept = readTabs(session.room.id);
    const nodes = kept.open.filter((id) => tree.byId.has(id));
    // A first visit opens the page that explains the room, or simply the first text.
    const texts = files(tree).filter((node) => node.kind === 'text');
    const first = texts.find((node) => /^readme/i.test(node.name)) ?? texts[0];
    if (nodes.length === 0 && kept.open.length === 0 && first) nodes.push(first.id);
    for (const node of nodes) open(api, { node });
    if (kept.active !== null && nodes.includes(kept.active)) open(api, { node: kept.active });
  }, [api, loaded, open, session]);

  return (
    <DockviewReact
      className="editor-dock"
      theme={look === 'dark' ? themeDark : themeLight}
      components={COMPONENTS}
      tabComponents={TABS}
      defaultTabComponent={EditorTab}
      rightHeaderActionsComponent={FileActions}
      watermarkComponent={NothingOpen}
      disableFloatingGroups
      onReady={(event: DockviewReadyEvent) => setApi(event.api)}
    />
  );
}

const COMPONENTS = { file: FileTab, history: HistoryTab, preview: PreviewTab };
const TABS = { preview: PreviewTabHead };

/** Beside the text, so that one sees what one changes. */
function openPreview(dock: DockviewApi, port: number): void {
  const id = PREVIEW + port;
  const panel = dock.getPanel(id);
  if (panel) {
    panel.api.setActive();
    return;
  }
  const beside = dock.panels.find((other) => other.id.startsWith(PREVIEW));
  const position = beside
    ? { referencePanel: beside.id }
    : dock.panels.length > 0 && dock.groups.length === 1
      ? ({ direction: 'right' } as const)
      : undefined;
  // Kept in the page while another tab is in front: a frame that is taken out begins anew.
  const look = { component: 'preview', tabComponent: 'preview', renderer: 'always' } as const;
  dock.addPanel({ id, title: `Port ${port}`, params: { port }, position, ...look });
}

function FileTab(props: IDockviewPanelProps<EditorParams>) {
  const { session } = useRoom();
  const tree = useStore(session.tree);
  const { node: id, lastName, intent } = props.params;
  const node = tree.byId.get(id);
  // A file that was deleted keeps the view it had.
  const kind = useRef(node?.kind ?? 'text');
  if (node) kind.current = node.kind;
  const text = kind.current === 'text';
  const file = useHeldFile(text ? id : null);
  const name = node?.name ?? lastName;

  useEffect(() => {
    if (node && node.name !== lastName) {
      props.api.setTitle(node.name);
      props.api.updateParameters({ lastName: node.name });
    }
  }, [node, lastName, props.api]);

  if (!text) return node ? <FilePanel node={node} /> : <p className="editor-gone">This file was deleted.</p>;
  if (!file) return null;
  return (
    <TextEditor
      file={file}
      name={name}
      path={node?.path ?? lastName}
      node={node}
      intent={intent ?? NO_INTENT}
      onClose={() => props.api.close()}
    />
  );
}

function NothingOpen() {
  const { session } = useRoom();
  const loaded = useStore(session.treeLoaded);
  const mac = useMemo(() => navigator.platform.startsWith('Mac'), []);
  if (!loaded)
    return (
      <p className="editor-loading" role="status">
        <Loader size={14} className="spin" aria-hidden /> Opening the room…
      </p>
    );
  return (
    <div className="editor-empty">
      <FileCode2 size={30} strokeWidth={1.3} aria-hidden />
      <p>Choose a file on the left, or press {mac ? '⌘P' : 'Ctrl+P'} to find one by name.</p>
    </div>
  );
}
