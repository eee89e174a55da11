/** One open text file: a Monaco editor on the file's model. It loads nothing by itself; `session` brings the text. */
import { ClipboardCopy, Loader, Lock, Trash2 } from 'lucide-react';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { copyText } from '../../ui/clipboard';
import { useStore } from '../../ui/store';
import { notify } from '../../ui/toast';
import { readOnlyReason } from '../access/access';
import { useAccess, useMay } from '../access/useAccess';
import { BlameColumn, BlameLine } from '../history/blameColumn';
import { blameShown } from '../history/blameShown';
import { useBlame } from '../history/useBlame';
import { useRoom } from '../room/roomContext';
import type { TreeNode } from '../tree/treeModel';
import { boundModel, boundOf } from './boundModel';
import { EDITOR_LOOK } from './editorLook';
import { startEditorTheme } from './editorTheme';
import type { FileSession } from './fileSessions';
import { keepSelections } from './keepSelections';
import { languageFor } from './language';
import { monaco } from './monaco';
import { headOf, RemoteCarets } from './remoteCarets';

/** "Go to person" waits this long for the person's caret to arrive. */
const FOLLOW_WAIT_MS = 4000;

export interface EditorIntent {
  /** Rises with each request, so that the same one can be made twice. */
  serial: number;
  focus: boolean;
  follow: string | null;
}

export function TextEditor(props: {
  file: FileSession;
  name: string;
  path: string;
  /** The node while it exists; `undefined` after somebody deleted it. */
  node: TreeNode | undefined;
  intent: EditorIntent;
  onClose: () => void;
}) {
  const { file, name, intent } = props;
  const state = useStore(file.session.state);
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<monaco.editor.IStandaloneCodeEditor | null>(null);
  const [shown, setShown] = useState<monaco.editor.IStandaloneCodeEditor | null>(null);
  const wanted = useStore(blameShown);
  const blaming = wanted && state.loaded ? shown : null;
  const { blame, problem } = useBlame(file, blaming?.getModel() ?? null);
  // A rename must not disturb whoever is typing: the editor is made once per file, with the name it had then.
  const firstName = useRef(name);
  const deleted = props.node === undefined || state.link === 'gone';
  const { session, opener } = useRoom();
  const { role } = useAccess();
  const mayEdit = useMay('edit_documents');
  const readOnly = !state.loaded || deleted || !mayEdit;
  const notTaken = state.link !== 'barred' && !deleted && !mayEdit && state.unsaved > 0;

  useLayoutEffect(() => {
    if (!host.current) return;
    startEditorTheme();
    const { model, binding } = boundModel(file, firstName.current);
    const editor = monaco.editor.create(host.current, {
      model,
      ...EDITOR_LOOK,
      ariaLabel: `${firstName.current}, editor`,
      wordBasedSuggestions: 'currentDocument',
    });
    view.current = editor;
    setShown(editor);
    const carets = new RemoteCarets(editor, binding, model, file.session.awareness);
    binding.onUndone = (offset) => {
      if (!editor.hasTextFocus()) return;
      editor.setPosition(model.getPositionAt(offset));
      editor.revealPositionInCenterIfOutsideViewport(model.getPositionAt(offset));
    };
    binding.beforeRemote = (edits) => keepSelections(editor, model, edits);
    editor.addAction({
      id: 'buildspaces.history',
      label: 'Show the history of this file',
      keybindings: [monaco.KeyMod.Alt | monaco.KeyMod.Shift | monaco.KeyCode.KeyH],
      run: () => opener.open({ node: file.node, history: true, focus: true }),
    });
    editor.addAction({
      id: 'buildspaces.blame',
      label: 'Show or hide who wrote each line',
      keybindings: [monaco.KeyMod.Alt | monaco.KeyMod.Shift | monaco.KeyCode.KeyB],
      run: () => blameShown.set(!blameShown.get()),
    });
    // A caret that was put elsewhere begins a new undo step.
    const moved = editor.onDidChangeCursorPosition((event) => {
      if (event.reason === monaco.editor.CursorChangeReason.Explicit) binding.endUndoGroup();
    });
    return () => {
      moved.dispose();
      carets.dispose();
      binding.onUndone = null;
      binding.beforeRemote = null;
      editor.dispose();
      view.current = null;
      setShown(null);
    };
  }, [file, opener]);

  useEffect(() => {
    const model = boundOf(file)?.model;
    if (model) monaco.editor.setModelLanguage(model, languageFor(name));
    view.current?.updateOptions({ ariaLabel: `${name}, editor` });
  }, [file, name]);

  // Layout effects, so that the first key or click after the text appears meets an editor that is ready for it.
  useLayoutEffect(() => {
    // The text came in as an edit, which moved the caret to its end.
    if (!state.loaded) return;
    view.current?.setPosition({ lineNumber: 1, column: 1 });
    view.current?.setScrollTop(0);
  }, [state.loaded]);

  useLayoutEffect(() => {
    const why = mayEdit ? 'This file cannot be edited right now.' : readOnlyReason(role);
    view.current?.updateOptions({ readOnly, readOnlyMessage: { value: why } });
  }, [readOnly, mayEdit, role]);

  useEffect(() => {
    if (intent.focus) view.current?.focus();
    if (intent.follow !== null) return followCaret(file, intent.follow, () => view.current);
  }, [intent, file]);

  const copyAll = async () => {
    if (await copyText(file.session.doc.getText('text').toString())) notify('The text is in the clipboard.');
  };

  return (
    <div
      className="editor"
      data-testid="editor"
      data-node={file.node}
      data-path={props.path}
      data-synced={state.loaded}
    >
      {deleted && (
        <div className="notice editor-banner" role="alert" data-testid="editor-deleted">
          <Trash2 size={14} aria-hidden />
          <p>This file was deleted. Its last text is still here until you close the tab.</p>
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="copy-text"
            onClick={copyAll}
          >
            <ClipboardCopy size={13} /> Copy the text
          </button>
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="close-tab"
            onClick={props.onClose}
          >
            Close
          </button>
        </div>
      )}
      {notTaken && (
        <div className="notice editor-banner" role="alert" data-testid="editor-not-taken">
          <Lock size={14} aria-hidden />
          <p>
            You can only read now, so the server did not take your last edits here. Copy what you need of this
            text.
          </p>
          <button type="button" className="button" data-size="small" onClick={copyAll}>
            <ClipboardCopy size={13} /> Copy the text
          </button>
          <button
            type="button"
            className="button"
            data-size="small"
            onClick={() => session.files.reopen(file.node)}
          >
            Drop my edits
          </button>
        </div>
      )}
      {state.refused && !deleted && !notTaken && state.link !== 'barred' && mayEdit && (
        <div className="notice editor-banner" data-tone="bad" role="alert">
          <Lock size={14} aria-hidden />
          <p>The server did not take your edit: {state.refused}</p>
        </div>
      )}
      {state.link === 'barred' && (
        <div className="notice editor-banner" role="alert" data-testid="editor-barred">
          <Lock size={14} aria-hidden />
          <p>This file cannot be opened: {state.refused}.</p>
          <button type="button" className="button" data-size="small" onClick={props.onClose}>
            Close
          </button>
        </div>
      )}
      {!state.loaded && !deleted && state.link !== 'barred' && (
        <div className="editor-loading" role="status">
          <Loader size={14} className="spin" aria-hidden />
          {state.link === 'away' ? 'Waiting for the server…' : `Opening ${name}…`}
        </div>
      )}
      <div className="editor-row">
        {blaming && <BlameColumn view={blaming} blame={blame} problem={problem} />}
        <div ref={host} className="editor-host" data-hidden={!state.loaded || undefined} />
      </div>
      {blaming && <BlameLine view={blaming} blame={blame} problem={problem} />}
    </div>
  );
}

function followCaret(
  file: FileSession,
  person: string,
  view: () => monaco.editor.IStandaloneCodeEditor | null,
): () => void {
  const awareness = file.session.awareness;
  const look = () => {
    const made = boundOf(file);
    const head = made ? headOf(awareness, made.binding, person) : null;
    if (made && head !== null) {
      const position = made.model.getPositionAt(head);
      view()?.revealPositionInCenterIfOutsideViewport(position);
      stop();
    }
  };
  const timer = setTimeout(() => stop(), FOLLOW_WAIT_MS);
  const unsubscribe = file.session.state.subscribe(look);
  const stop = () => {
    clearTimeout(timer);
    unsubscribe();
    awareness.off('change', look);
  };
  awareness.on('change', look);
  look();
  return stop;
}
