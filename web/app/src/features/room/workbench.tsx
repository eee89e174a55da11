/** A room on screen: header, files on the left, editors in the centre, runs, terminals and git below. */
import { Suspense, useEffect, useMemo, useState } from 'react';
import type { Access, Room } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { lazily } from '../../ui/lazily';
import { Splitter, usePaneSize } from '../../ui/splitter';
import { QuickOpen } from '../editor/quickOpen';
import { useDocked } from '../media/docked';
import { useStartRun } from '../runs/useStartRun';
import { TreePanel } from '../tree/treePanel';
import './room.css';
import { useStore } from '../../ui/store';
import { useWindowSize } from '../../ui/windowSize';
import { AccessEnded } from './accessEnded';
import { useFilesDrawer } from './filesDrawer';
import { LowerPanel } from './lowerPanel';
import { Opener, RoomContext, type RoomUi } from './roomContext';
import { RoomGone } from './roomGone';
import { RoomHeader } from './roomHeader';
import { RoomSession } from './roomSession';

const EditorArea = lazily('The editor', () => import('../editor/editorArea'));
const CallStrip = lazily('The call', () => import('../media/callStrip'));

/** Wide enough to know a face. On a phone the call is a row at the bottom; `dock.css` has the same. */
const CALL_WIDTH = 216;
const CALL_HEIGHT = 164;
const PHONE = 600;
const HEADER_HEIGHT = 48;

export function Workbench(props: { room: Room; access: Access; sessions: SessionStore }) {
  const { room, access, sessions } = props;
  const [ui, setUi] = useState<RoomUi | null>(null);
  useEffect(() => {
    const session = new RoomSession(room, access, sessions);
    setUi({ session, opener: new Opener() });
    return () => session.destroy();
  }, [room, access, sessions]);
  useEffect(() => {
    document.title = `${room.title} · BuildSpaces`;
  }, [room.title]);
  return (
    ui && (
      <RoomContext.Provider value={ui}>
        <Panes ui={ui} />
      </RoomContext.Provider>
    )
  );
}

/** Where F6 goes, in order. Editor and terminal keep Tab for themselves, so there must be another way out of them. */
const REGIONS = ['.room-header', '.tree-panel', '.centre', '.dock', '.lower-panel', '.call-strip'];
const FOCUSABLE =
  '[role="tree"], .xterm-helper-textarea, .monaco-editor textarea, .monaco-editor .native-edit-context, [role="option"][tabindex="0"], button:not(:disabled), a[href]';

function focusNextRegion(step: number): void {
  const regions = REGIONS.map((selector) => document.querySelector(selector));
  const at = regions.findIndex((region) => region?.contains(document.activeElement));
  for (let tried = 1; tried <= regions.length; tried++) {
    const next = regions[(at + step * tried + regions.length * 2) % regions.length];
    const targets = next ? [...next.querySelectorAll<HTMLElement>(FOCUSABLE)] : [];
    const target =
      targets.find((element) => !element.matches('button, a') && element.checkVisibility()) ??
      targets.find((element) => element.checkVisibility());
    if (target) {
      target.focus();
      return;
    }
  }
}

/** Texts with edits that the server has not, by the files' paths. */
function notSaved(session: RoomSession): { path: string; text: string }[] {
  const tree = session.tree.get();
  return session.files.open
    .get()
    .filter((file) => file.session.state.get().unsaved > 0)
    .map((file) => ({
      path: tree.byId.get(file.node)?.path ?? 'A deleted file',
      text: file.session.doc.getText('text').toString(),
    }));
}

function Panes(props: { ui: RoomUi }) {
  const connection = useStore(props.ui.session.connection);
  const ended = useStore(props.ui.session.sessions.ended);
  const inCall = useStore(props.ui.session.call.state).phase !== 'out';
  const tree = usePaneSize('tree', 236, 160, () => Math.max(200, window.innerWidth * 0.4));
  const phone = useWindowSize().width < PHONE;
  const drawer = useFilesDrawer(phone, props.ui.opener);
  const left = phone ? 0 : tree.size;
  const call = { width: inCall && !phone ? CALL_WIDTH : 0, height: inCall && phone ? CALL_HEIGHT : 0 };
  const runs = usePaneSize('runs', 272, 96, () => Math.max(140, window.innerHeight - 260 - call.height));
  const below = runs.size + call.height;
  const docked = useDocked(props.ui.session, {
    left,
    right: call.width,
    top: HEADER_HEIGHT,
    bottom: below,
  });
  const start = useStartRun();
  const [finding, setFinding] = useState(false);

  const shortcuts = useMemo(
    () => (event: KeyboardEvent) => {
      if (event.key === 'F6') {
        event.preventDefault();
        focusNextRegion(event.shiftKey ? -1 : 1);
        return;
      }
      if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      // In a terminal every other key is the program's.
      if (event.target instanceof Element && event.target.closest('.terminal-screen')) return;
      // There it commits.
      const commits = event.target instanceof Element && event.target.closest('.commit-box') !== null;
      if (event.key.toLowerCase() === 'p') setFinding(true);
      else if (event.key === 'Enter' && !commits) start.start();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    [start.start],
  );
  useEffect(() => {
    // In the capture phase, so that it works while the editor has the keyboard.
    window.addEventListener('keydown', shortcuts, true);
    return () => window.removeEventListener('keydown', shortcuts, true);
  }, [shortcuts]);

  if (ended !== null) return <AccessEnded reason={ended} files={notSaved(props.ui.session)} />;
  if (connection.kind === 'gone') return <RoomGone room={props.ui.session.room.id} />;
  return (
    <div
      className="workbench"
      data-files={drawer ? (drawer.isOpen ? 'open' : 'closed') : undefined}
      style={{
        gridTemplateColumns: `${left}px ${docked.left}px minmax(0, 1fr) ${docked.right}px ${call.width}px`,
        gridTemplateRows: `${HEADER_HEIGHT}px minmax(0, 1fr) ${docked.bottom}px ${runs.size}px ${call.height}px`,
      }}
    >
      <RoomHeader files={drawer} />
      <TreePanel />
      {drawer?.isOpen && (
        <div className="files-backdrop" data-testid="files-backdrop" onPointerDown={drawer.close} />
      )}
      <main className="centre">
        <Suspense fallback={<p className="centre-loading">Loading the editor…</p>}>
          <EditorArea />
        </Suspense>
      </main>
      <LowerPanel />
      {inCall && (
        <Suspense fallback={null}>
          <CallStrip place={docked.place} places={docked.places} />
        </Suspense>
      )}
      {!drawer && (
        <div className="split-column" style={{ left, bottom: call.height }}>
          <Splitter label="Width of the file tree" pane={tree} edge="right" />
        </div>
      )}
      <div className="split-row" style={{ bottom: below, left, right: call.width }}>
        <Splitter label="Height of the lower panel" pane={runs} edge="top" />
      </div>
      {docked.divider}
      {finding && <QuickOpen onClose={() => setFinding(false)} />}
    </div>
  );
}
