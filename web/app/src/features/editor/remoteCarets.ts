/**
 * Shows other people's carets and selections in one editor, and publishes this person's. A name stands at a caret for a
 * moment after it moved, and while the mouse is near it, where it covers no text (`namePlace.ts`). Names are text nodes and colours are checked, so nothing that
 * somebody else sent becomes markup or style.
 */
import type { editor } from 'monaco-editor/editor';
import type { Awareness } from 'y-protocols/awareness';
import { readUser } from '../presence/people';
import { monaco } from './monaco';
import { type NamePlace, namePlace } from './namePlace';
import { fromSent, toSent } from './selections';
import type { TextBinding } from './textBinding';

/** Carets are published at most this often. */
const PUBLISH_MS = 50;
/** How long a name stays after its caret moved. */
const NAME_SHOWN_MS = 2200;

interface RemoteCaret {
  widget: editor.IContentWidget;
  node: HTMLElement;
  head: number;
  line: number;
  column: number;
  place: NamePlace;
  hide: ReturnType<typeof setTimeout> | null;
}

export class RemoteCarets {
  private readonly decorations: editor.IEditorDecorationsCollection;
  private readonly carets = new Map<number, RemoteCaret>();
  private readonly subscriptions: { dispose(): void }[];
  private published = false;
  private publishTimer: ReturnType<typeof setTimeout> | null = null;
  private frame: number | null = null;

  constructor(
    private readonly view: editor.IStandaloneCodeEditor,
    private readonly binding: TextBinding,
    private readonly model: editor.ITextModel,
    private readonly awareness: Awareness,
  ) {
    this.decorations = view.createDecorationsCollection();
    this.subscriptions = [
      view.onDidChangeCursorSelection(() => this.publishSoon()),
      view.onDidFocusEditorText(() => this.publishSoon()),
      view.onMouseMove((event) => this.showNear(event.target.position)),
      model.onDidChangeContent(() => this.drawSoon()),
    ];
    awareness.on('change', this.drawSoon);
    this.drawSoon();
  }

  dispose(): void {
    this.awareness.off('change', this.drawSoon);
    if (this.publishTimer) clearTimeout(this.publishTimer);
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    for (const client of [...this.carets.keys()]) this.remove(client);
    this.decorations.clear();
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  /** A file that is only looked at has no caret: others see one from the first time the keyboard is in the text. */
  private publishSoon(): void {
    if (!this.published && !this.view.hasTextFocus()) return;
    this.published = true;
    this.publishTimer ??= setTimeout(() => {
      this.publishTimer = null;
      const selections = (this.view.getSelections() ?? []).map((s) => ({
        anchor: this.offset(s.selectionStartLineNumber, s.selectionStartColumn),
        head: this.offset(s.positionLineNumber, s.positionColumn),
      }));
      this.awareness.setLocalStateField('sel', toSent(this.binding.text, selections));
    }, PUBLISH_MS);
  }

  private offset(lineNumber: number, column: number): number {
    return this.binding.toText(this.model.getOffsetAt({ lineNumber, column }));
  }

  /** Once per frame, after the model and the document agree again. */
  private drawSoon = (): void => {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  };

  private draw(): void {
    if (this.model.isDisposed()) return;
    const decorations: editor.IModelDeltaDecoration[] = [];
    const seen = new Set<number>();
    this.awareness.getStates().forEach((state, client) => {
      const user = readUser(state.user);
      if (client === this.awareness.clientID || !user) return;
      const selections = fromSent(this.binding.text, state.sel);
      if (selections.length === 0) return;
      seen.add(client);
      paint(client, user.color);
      for (const { anchor, head } of selections) {
        const [from, to] = anchor < head ? [anchor, head] : [head, anchor];
        if (from !== to)
          decorations.push({
            range: monaco.Range.fromPositions(this.position(from), this.position(to)),
            options: { className: `remote-selection remote-${client}`, stickiness: 1 },
          });
        decorations.push({
          range: monaco.Range.fromPositions(this.position(head)),
          options: {
            beforeContentClassName: `remote-caret remote-${client}`,
            stickiness: 1,
            zIndex: 10,
          },
        });
      }
      const main = selections[0];
      if (main) this.placeName(client, user.name, user.color, main.head);
    });
    for (const client of [...this.carets.keys()]) if (!seen.has(client)) this.remove(client);
    this.decorations.set(decorations);
  }

  private position(textOffset: number) {
    return this.model.getPositionAt(this.binding.toModel(textOffset));
  }

  private placeName(client: number, name: string, color: string, head: number): void {
    const { lineNumber, column } = this.position(head);
    let caret = this.carets.get(client);
    if (!caret) {
      caret = this.add(client);
      this.carets.set(client, caret);
    }
    caret.node.textContent = name;
    caret.node.style.backgroundColor = color;
    const moved = caret.head !== head;
    Object.assign(caret, { head, line: lineNumber, column });
    const text = (line: number) =>
      line < 1 || line > this.model.getLineCount() ? null : this.model.getLineContent(line);
    caret.place = namePlace(text(lineNumber - 1), text(lineNumber + 1), column, name);
    caret.node.dataset.place = caret.place;
    this.view.layoutContentWidget(caret.widget);
    if (moved) this.show(caret);
  }

  private add(client: number): RemoteCaret {
    const node = document.createElement('div');
    node.className = 'remote-name';
    node.dataset.testid = 'remote-caret';
    node.dataset.client = String(client);
    node.setAttribute('aria-hidden', 'true');
    const caret: RemoteCaret = {
      node,
      head: -1,
      line: 1,
      column: 1,
      place: 'above',
      hide: null,
      widget: null as never,
    };
    const { ABOVE, BELOW, EXACT } = monaco.editor.ContentWidgetPositionPreference;
    const preferences = { above: [ABOVE, BELOW], below: [BELOW, ABOVE], end: [EXACT] };
    caret.widget = {
      getId: () => `remote-name-${client}`,
      getDomNode: () => node,
      getPosition: () => ({
        position: {
          lineNumber: caret.line,
          column: caret.place === 'end' ? this.model.getLineMaxColumn(caret.line) : caret.column,
        },
        preference: preferences[caret.place],
      }),
    };
    this.view.addContentWidget(caret.widget);
    return caret;
  }

  private show(caret: RemoteCaret): void {
    caret.node.dataset.shown = 'true';
    if (caret.hide) clearTimeout(caret.hide);
    caret.hide = setTimeout(() => {
      delete caret.node.dataset.shown;
    }, NAME_SHOWN_MS);
  }

  private showNear(position: { lineNumber: number; column: number } | null): void {
    if (!position) return;
    for (const caret of this.carets.values())
      if (caret.line === position.lineNumber && Math.abs(caret.column - position.column) <= 1)
        this.show(caret);
  }

  private remove(client: number): void {
    const caret = this.carets.get(client);
    if (!caret) return;
    if (caret.hide) clearTimeout(caret.hide);
    this.view.removeContentWidget(caret.widget);
    this.carets.delete(client);
  }
}

/** Where this person last was in a file, for "go to person". */
export function headOf(awareness: Awareness, binding: TextBinding, person: string): number | null {
  for (const [client, state] of awareness.getStates()) {
    if (client === awareness.clientID || readUser(state.user)?.id !== person) continue;
    const main = fromSent(binding.text, state.sel)[0];
    if (main) return binding.toModel(main.head);
  }
  return null;
}

const sheet = new CSSStyleSheet();
document.adoptedStyleSheets.push(sheet);
const painted = new Map<number, string>();

/** One rule per client for what Monaco draws by class name. `client` is a number and `color` was checked. */
function paint(client: number, color: string): void {
  if (painted.get(client) === color) return;
  painted.set(client, color);
  sheet.insertRule(`.remote-${client} { --remote: ${color}; }`, sheet.cssRules.length);
}
