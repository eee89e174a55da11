/** How every text looks, be it edited, old, or compared. */
import type { editor } from 'monaco-editor/editor';

export const EDITOR_LOOK = {
  automaticLayout: true,
  fontFamily: '"JetBrains Mono Variable", ui-monospace, Menlo, Consolas, monospace',
  fontSize: 13,
  lineHeight: 21,
  fontLigatures: false,
  minimap: { enabled: false },
  padding: { top: 12, bottom: 12 },
  scrollBeyondLastLine: false,
  smoothScrolling: true,
  renderLineHighlightOnlyWhenFocus: true,
  overviewRulerBorder: false,
  fixedOverflowWidgets: true,
  guides: { indentation: true },
  scrollbar: { verticalScrollbarSize: 10, horizontalScrollbarSize: 10 },
  unicodeHighlight: { ambiguousCharacters: false },
} satisfies editor.IEditorOptions & editor.IGlobalEditorOptions;
