/** The one script: defines the elements. A page that has it twice keeps the first. */
import { EditorElement } from './editorElement';
import { PresenceElement } from './presenceElement';

export { EditorElement, PresenceElement };

const ELEMENTS = { 'buildspaces-editor': EditorElement, 'buildspaces-presence': PresenceElement };

for (const [name, element] of Object.entries(ELEMENTS)) {
  if (!customElements.get(name)) customElements.define(name, element);
}
