/** A text that is not edited: one version, or two beside each other with what differs. */
import { useEffect, useLayoutEffect, useRef } from 'react';
import { boundModel } from '../editor/boundModel';
import { EDITOR_LOOK } from '../editor/editorLook';
import { startEditorTheme } from '../editor/editorTheme';
import type { FileSession } from '../editor/fileSessions';
import { languageFor } from '../editor/language';
import { normalised } from '../editor/lineEnds';
import { monaco } from '../editor/monaco';
import type { Mode } from './versionView';

export interface Diff {
  /** Places that differ. */
  count: number;
  go: (to: 'next' | 'previous') => void;
}

/** Narrower than this, the two texts are shown as one. */
const SIDE_BY_SIDE_PX = 720;

/** What somebody who hears the page is told. */
const OLDER = 'an older version';

const LOOK = {
  ...EDITOR_LOOK,
  readOnly: true,
  readOnlyMessage: { value: 'This is the past: it cannot be changed here.' },
};

export function TextHost(props: {
  mode: Mode;
  before: string;
  text: string;
  file: FileSession;
  name: string;
  onDiff: (diff: Diff | null) => void;
}) {
  const { mode, onDiff } = props;
  if (mode === 'text') return <Single key="text" text={props.text} name={props.name} />;
  return <Compared key="diff" {...props} now={mode === 'now'} onDiff={onDiff} />;
}

function Single(props: { text: string; name: string }) {
  const host = useRef<HTMLDivElement>(null);
  const { text, name } = props;
  useLayoutEffect(() => {
    if (!host.current) return;
    startEditorTheme();
    const model = monaco.editor.createModel(normalised(text), languageFor(name));
    const view = monaco.editor.create(host.current, {
      ...LOOK,
      model,
      ariaLabel: `${name}, ${OLDER}`,
    });
    return () => {
      view.dispose();
      model.dispose();
    };
  }, [text, name]);
  return <div ref={host} className="version-text" data-testid="version-text" />;
}

function Compared(props: {
  before: string;
  text: string;
  /** Compare the version with the live text instead of what was before it. */
  now: boolean;
  file: FileSession;
  name: string;
  onDiff: (diff: Diff | null) => void;
}) {
  const { before, text, now, file, name, onDiff } = props;
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<monaco.editor.IStandaloneDiffEditor | null>(null);

  useLayoutEffect(() => {
    if (!host.current) return;
    startEditorTheme();
    const editor = monaco.editor.createDiffEditor(host.current, {
      ...LOOK,
      originalEditable: false,
      renderOverviewRuler: false,
      renderMarginRevertIcon: false,
      renderGutterMenu: false,
      useInlineViewWhenSpaceIsLimited: true,
      renderSideBySideInlineBreakpoint: SIDE_BY_SIDE_PX,
      hideUnchangedRegions: { enabled: true, contextLineCount: 4, minimumLineCount: 4 },
    });
    view.current = editor;
    const told = editor.onDidUpdateDiff(() =>
      onDiff({ count: editor.getLineChanges()?.length ?? 0, go: (to) => editor.goToDiff(to) }),
    );
    return () => {
      told.dispose();
      editor.dispose();
      view.current = null;
      onDiff(null);
    };
  }, [onDiff]);

  useEffect(() => {
    const language = languageFor(name);
    const own = (content: string) => monaco.editor.createModel(normalised(content), language);
    const original = own(now ? text : before);
    // The live text's own model, so that what people type meanwhile is compared too.
    const modified = now ? boundModel(file, name).model : own(text);
    const label = (what: string) => ({ ariaLabel: `${name}, ${what}` });
    view.current?.getOriginalEditor().updateOptions(label(now ? OLDER : 'before this version'));
    view.current?.getModifiedEditor().updateOptions(label(now ? 'the present text' : OLDER));
    view.current?.setModel({ original, modified });
    return () => {
      view.current?.setModel(null);
      original.dispose();
      if (!now) modified.dispose();
    };
  }, [before, text, now, file, name]);

  return <div ref={host} className="version-text" data-testid="version-diff" />;
}
