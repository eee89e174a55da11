/** A text model in memory with the part of Monaco's behaviour that `TextBinding` relies on. For tests alone. */
import type { editor } from 'monaco-editor/editor';
import { normalised } from './lineEnds';
import type { BoundModel } from './textBinding';

type ContentEvent = editor.IModelContentChangedEvent;
type Change = { offset: number; length: number; text: string };

export class FakeModel {
  private value = '';
  private readonly listeners = new Set<(event: ContentEvent) => void>();
  undo?: () => void;
  redo?: () => void;
  canUndo?: () => boolean;

  get bound(): BoundModel {
    return this as unknown as BoundModel;
  }

  /** What a person does: several changes at once, in offsets before them, which must not overlap. */
  type(...changes: Change[]): void {
    this.change(changes.map((c) => ({ ...c, text: normalised(c.text) })));
  }

  getEOL = (): string => '\n';
  setEOL = (): void => undefined;
  getValue = (): string => this.value;
  getValueLength = (): number => this.value.length;
  onWillDispose = () => ({ dispose: () => undefined });
  onDidChangeContent = (listener: (event: ContentEvent) => void) => {
    this.listeners.add(listener);
    return { dispose: () => void this.listeners.delete(listener) };
  };

  getPositionAt(offset: number): { lineNumber: number; column: number } {
    const before = this.value.slice(0, Math.max(0, Math.min(offset, this.value.length)));
    const start = before.lastIndexOf('\n') + 1;
    return { lineNumber: before.split('\n').length, column: before.length - start + 1 };
  }

  applyEdits(edits: editor.IIdentifiedSingleEditOperation[]): void {
    this.change(
      edits.map(({ range, text }) => {
        const offset = this.offsetAt(range.startLineNumber, range.startColumn);
        const end = this.offsetAt(range.endLineNumber, range.endColumn);
        return { offset, length: end - offset, text: normalised(text ?? '') };
      }),
    );
  }

  private offsetAt(line: number, column: number): number {
    let start = 0;
    for (let i = 1; i < line; i++) start = this.value.indexOf('\n', start) + 1;
    return start + column - 1;
  }

  private change(changes: Change[]): void {
    const fromEnd = [...changes].sort((a, b) => b.offset - a.offset);
    for (const { offset, length, text } of fromEnd)
      this.value = this.value.slice(0, offset) + text + this.value.slice(offset + length);
    const event = {
      changes: fromEnd.map((c) => ({ rangeOffset: c.offset, rangeLength: c.length, text: c.text })),
      isEolChange: false,
    } as unknown as ContentEvent;
    for (const listener of this.listeners) listener(event);
  }
}
