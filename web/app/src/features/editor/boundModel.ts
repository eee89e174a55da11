/** The editor's model of an open file. It outlives the views, so that a file opened again has its undo, and all views share it. */
import type { FileSession } from './fileSessions';
import { languageFor } from './language';
import { monaco } from './monaco';
import { TextBinding } from './textBinding';

export interface Bound {
  model: monaco.editor.ITextModel;
  binding: TextBinding;
}
const bound = new WeakMap<FileSession, Bound>();

export function boundModel(file: FileSession, name: string): Bound {
  const existing = bound.get(file);
  if (existing) return existing;
  const model = monaco.editor.createModel('', languageFor(name));
  model.updateOptions({ tabSize: 4, insertSpaces: true });
  const binding = new TextBinding(file.session.doc.getText('text'), model);
  const made = { model, binding };
  bound.set(file, made);
  file.cleanups.push(() => {
    binding.dispose();
    model.dispose();
  });
  return made;
}

/** The model, if some view has asked for it. */
export function boundOf(file: FileSession): Bound | undefined {
  return bound.get(file);
}
