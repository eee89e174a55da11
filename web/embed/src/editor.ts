/** The editor itself, which is fetched when the first element is in a page: CodeMirror with what a text in a page needs. */
import type { SharedText } from '@buildspaces/client';
import { defaultKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, openSearchPanel, search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  placeholder,
} from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { Binding } from './binding';
import { carets } from './carets';
import { type LanguageName, loadLanguage } from './language';
import type { Hold } from './place';

export interface EditorOptions {
  hold: Hold;
  text: SharedText;
  parent: HTMLElement;
  root: ShadowRoot;
  sheet: CSSStyleSheet;
  label: string;
  placeholder: string;
  hasLineNumbers: boolean;
  /** Tab indents; otherwise it leaves the editor, as the keyboard's users expect in a page. */
  tabIndents: boolean;
  onProblem: (error: unknown) => void;
}

/** Colours by variables, so that a page can choose them and both themes have their own. */
const highlighting = HighlightStyle.define([
  { tag: [tags.comment, tags.meta], class: 'tok-comment' },
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], class: 'tok-keyword' },
  { tag: [tags.string, tags.regexp, tags.special(tags.string)], class: 'tok-string' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], class: 'tok-number' },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.macroName],
    class: 'tok-function',
  },
  { tag: [tags.typeName, tags.className, tags.namespace], class: 'tok-type' },
  { tag: [tags.tagName, tags.heading], class: 'tok-heading' },
  { tag: [tags.attributeName, tags.propertyName, tags.labelName], class: 'tok-property' },
  { tag: [tags.link, tags.url], class: 'tok-link' },
  { tag: tags.emphasis, class: 'tok-emphasis' },
  { tag: tags.strong, class: 'tok-strong' },
  { tag: tags.invalid, class: 'tok-invalid' },
]);

/** Whoever may only read can still reach the text with the keyboard, and select in it. */
const READING: Extension = [
  EditorState.readOnly.of(true),
  EditorView.editable.of(false),
  EditorView.contentAttributes.of({ tabindex: '0', 'aria-readonly': 'true' }),
];

export class Editor {
  readonly view: EditorView;
  readonly #language = new Compartment();
  readonly #editing = new Compartment();
  readonly #end: () => void;
  /** Rich text, with more in it than characters, can be looked at alone. */
  #isPlain: boolean;
  #mayEdit = false;

  constructor(options: EditorOptions) {
    const { hold, text, root, sheet } = options;
    const origin = `editor ${crypto.randomUUID()}`;
    const binding = new Binding(text, origin, options.onProblem);
    const history = text.doc.undoHistory(text, { origins: [origin] });
    this.#end = () => history.destroy();
    const undo = () => binding.undoing(() => history.undo());
    const redo = () => binding.undoing(() => history.redo());
    const extensions: Extension[] = [
      binding.extension,
      carets(binding, (sel) => hold.say({ sel }), sheet),
      options.hasLineNumbers ? [lineNumbers(), highlightActiveLineGutter()] : [],
      highlightSpecialChars(),
      highlightActiveLine(),
      drawSelection(),
      bracketMatching(),
      indentOnInput(),
      search({ top: true }),
      highlightSelectionMatches(),
      syntaxHighlighting(highlighting),
      options.placeholder ? placeholder(options.placeholder) : [],
      EditorState.allowMultipleSelections.of(true),
      // What is typed after the caret was put elsewhere is another step, however soon it comes.
      EditorView.updateListener.of((update) => {
        if (update.selectionSet && !update.docChanged) history.cut();
      }),
      EditorView.contentAttributes.of({ 'aria-label': options.label, part: 'content', spellcheck: 'false' }),
      keymap.of([
        { key: 'Mod-z', run: undo, preventDefault: true },
        { key: 'Mod-y', mac: 'Mod-Shift-z', run: redo, preventDefault: true },
        { linux: 'Ctrl-Shift-z', run: redo, preventDefault: true },
        { key: 'Mod-f', run: openSearchPanel },
        ...searchKeymap,
        ...defaultKeymap,
        ...(options.tabIndents ? [indentWithTab] : []),
      ]),
      this.#language.of([]),
      this.#editing.of(READING),
    ];
    this.view = new EditorView({
      state: EditorState.create({ doc: binding.shown, extensions }),
      parent: options.parent,
      root,
    });
    this.#isPlain = binding.isPlain;
    binding.onRich = () => {
      this.#isPlain = false;
      this.setMayEdit(false);
    };
  }

  setMayEdit(may: boolean): void {
    if (this.#mayEdit === may || (may && !this.#isPlain)) return;
    this.#mayEdit = may;
    this.view.dispatch({ effects: this.#editing.reconfigure(may ? [] : READING) });
  }

  async setLanguage(name: LanguageName | null): Promise<void> {
    const support = name ? await loadLanguage(name) : [];
    this.view.dispatch({ effects: this.#language.reconfigure(support) });
  }

  destroy(): void {
    this.view.destroy();
    this.#end();
  }
}
