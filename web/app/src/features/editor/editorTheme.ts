/** Monaco's two themes, in the app's colours. */
import { type Theme, theme } from '../../ui/theme';
import { monaco } from './monaco';

const name = (value: Theme) => `buildspaces-${value}`;

/** One quiet colour at every depth: colour stands for people here. */
function brackets(color: string): Record<string, string> {
  return Object.fromEntries(
    [1, 2, 3, 4, 5, 6].map((depth) => [`editorBracketHighlight.foreground${depth}`, color]),
  );
}

function scrollbar(color: string): Record<string, string> {
  return {
    'scrollbarSlider.background': `${color}1f`,
    'scrollbarSlider.hoverBackground': `${color}38`,
    'scrollbarSlider.activeBackground': `${color}4d`,
    'scrollbar.shadow': '#00000000',
  };
}

/** Find, suggestions and the command list, as the app's own fields and menus look. */
function widgets(
  c: Record<'raised' | 'border' | 'accent' | 'selected' | 'text', string>,
): Record<string, string> {
  return {
    focusBorder: c.accent,
    'input.background': c.raised,
    'input.border': c.border,
    'input.foreground': c.text,
    'inputOption.activeBorder': c.accent,
    'quickInputList.focusBackground': c.selected,
    'quickInputList.focusForeground': c.text,
    'list.hoverBackground': c.selected,
    'list.focusBackground': c.selected,
    'list.activeSelectionBackground': c.selected,
    'list.activeSelectionForeground': c.text,
    'editorSuggestWidget.selectedBackground': c.selected,
    'editorSuggestWidget.selectedForeground': c.text,
    'inputValidation.infoBackground': c.raised,
    'inputValidation.infoForeground': c.text,
    'inputValidation.infoBorder': c.accent,
    'list.highlightForeground': c.accent,
    'editorSuggestWidget.highlightForeground': c.accent,
    'editorSuggestWidget.focusHighlightForeground': c.accent,
  };
}

/** What came and what went, quiet enough to read the code in it. */
function diffs(added: string, removed: string, border: string): Record<string, string> {
  return {
    'diffEditor.insertedLineBackground': `${added}1f`,
    'diffEditor.insertedTextBackground': `${added}3d`,
    'diffEditor.removedLineBackground': `${removed}1f`,
    'diffEditor.removedTextBackground': `${removed}3d`,
    'diffEditor.diagonalFill': `${border}80`,
    'diffEditor.unchangedRegionBackground': `${border}59`,
    'diffEditor.unchangedRegionShadow': '#00000000',
  };
}

let started = false;

/** Defines the themes and follows the app's choice from then on. */
export function startEditorTheme(): void {
  if (started) return;
  started = true;
  monaco.editor.defineTheme(name('light'), {
    base: 'vs',
    inherit: true,
    rules: [
      { token: 'comment', foreground: '717a8c', fontStyle: 'italic' },
      { token: 'keyword', foreground: '7a3fc2' },
      { token: 'string', foreground: '1f7a4d' },
      { token: 'number', foreground: 'b4540a' },
      { token: 'type', foreground: '0b6fb0' },
    ],
    colors: {
      'editor.background': '#ffffff',
      'editor.foreground': '#23262f',
      'editorLineNumber.foreground': '#aab0bd',
      'editorLineNumber.activeForeground': '#565d6e',
      'editor.lineHighlightBackground': '#f6f7fa',
      'editor.lineHighlightBorder': '#00000000',
      'editor.selectionBackground': '#d5dafb',
      'editor.inactiveSelectionBackground': '#e8eaf6',
      'editorCursor.foreground': '#4250c8',
      'editorIndentGuide.background1': '#eceef2',
      ...brackets('#565d6e'),
      ...scrollbar('#1b1e27'),
      ...widgets({
        raised: '#ffffff',
        border: '#cdd2dc',
        accent: '#4250c8',
        selected: '#e6e9fb',
        text: '#1b1e27',
      }),
      ...diffs('#2c9a55', '#d6404b', '#cdd2dc'),
      'editorWidget.background': '#ffffff',
      'editorWidget.border': '#e2e5eb',
    },
  });
  monaco.editor.defineTheme(name('dark'), {
    base: 'vs-dark',
    inherit: true,
    rules: [
      { token: 'comment', foreground: '7f8799', fontStyle: 'italic' },
      { token: 'keyword', foreground: 'c49bff' },
      { token: 'string', foreground: '8fd6a4' },
      { token: 'number', foreground: 'f0a870' },
      { token: 'type', foreground: '7cc4f5' },
    ],
    colors: {
      'editor.background': '#15181e',
      'editor.foreground': '#dfe3ec',
      'editorLineNumber.foreground': '#4d5463',
      'editorLineNumber.activeForeground': '#a5acbb',
      'editor.lineHighlightBackground': '#1a1e25',
      'editor.lineHighlightBorder': '#00000000',
      'editor.selectionBackground': '#333b6b',
      'editor.inactiveSelectionBackground': '#272c45',
      'editorCursor.foreground': '#8e9bff',
      'editorIndentGuide.background1': '#232831',
      ...brackets('#a5acbb'),
      ...scrollbar('#e5e8ef'),
      ...widgets({
        raised: '#15181e',
        border: '#383e4a',
        accent: '#8e9bff',
        selected: '#262b45',
        text: '#e5e8ef',
      }),
      ...diffs('#4cc57f', '#ff7f7b', '#383e4a'),
      'editorWidget.background': '#1d2129',
      'editorWidget.border': '#262a33',
    },
  });
  const apply = () => monaco.editor.setTheme(name(theme.get()));
  theme.subscribe(apply);
  apply();
  // The editor measures characters once; it must measure again when its font has arrived.
  void document.fonts.ready.then(() => monaco.editor.remeasureFonts());
}
