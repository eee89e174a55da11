import { HocuspocusProvider } from '@hocuspocus/provider';
import { Editor } from '@tiptap/core';
import Collaboration from '@tiptap/extension-collaboration';
import CollaborationCaret from '@tiptap/extension-collaboration-caret';
import StarterKit from '@tiptap/starter-kit';

const server = new URLSearchParams(location.search).get('server') ?? 'ws://localhost:8080';
const $ = (id) => document.getElementById(id);

const provider = new HocuspocusProvider({
  url: `${server}/collab`,
  name: location.hash.slice(1) || 'letter',
  token: '', // where the server asks for tokens, one that `buildspaces token` made
  onStatus: showStatus,
  onUnsyncedChanges: showStatus,
});

// "Saved" is what the server says once a change is on its disk.
function showStatus() {
  const { status } = provider.configuration.websocketProvider;
  const state = status !== 'connected' ? 'offline' : provider.hasUnsyncedChanges ? 'saving' : 'saved';
  document.body.dataset.state = state;
  $('status').textContent = { offline: 'No connection', saving: 'Saving…', saved: 'Saved' }[state];
}

const NAMES = ['Ada', 'Bo', 'Chidi', 'Dilnoza', 'Emi', 'Farid', 'Grace', 'Hana'];
const COLOURS = ['#c2410c', '#0f766e', '#7c3aed', '#be185d', '#1d4ed8', '#4d7c0f'];
const any = (list) => list[Math.floor(Math.random() * list.length)];
const user = { name: any(NAMES), color: any(COLOURS) };

const editor = new Editor({
  element: $('editor'),
  extensions: [
    StarterKit.configure({ undoRedo: false }), // the collaboration's own undo takes back only what you did
    Collaboration.configure({ document: provider.document }),
    CollaborationCaret.configure({ provider, user }),
  ],
  editorProps: { attributes: { 'aria-label': 'Document', spellcheck: 'false' } },
});

provider.awareness.on('change', () => {
  const people = [...provider.awareness.getStates().values()].flatMap((state) => state.user ?? []);
  $('people').replaceChildren(
    ...people.map(({ name, color }) => {
      const person = document.createElement('li');
      person.textContent = String(name).slice(0, 1);
      person.title = name;
      person.style.backgroundColor = color;
      return person;
    }),
  );
});

const TOOLS = [
  ['B', 'Bold', () => editor.chain().focus().toggleBold(), () => editor.isActive('bold')],
  ['I', 'Italic', () => editor.chain().focus().toggleItalic(), () => editor.isActive('italic')],
  ['H', 'Heading', () => editor.chain().focus().toggleHeading({ level: 2 }), () => editor.isActive('heading')],
  ['•', 'List', () => editor.chain().focus().toggleBulletList(), () => editor.isActive('bulletList')],
  ['❝', 'Quote', () => editor.chain().focus().toggleBlockquote(), () => editor.isActive('blockquote')],
  ['↶', 'Undo', () => editor.chain().focus().undo(), () => false],
];

const buttons = TOOLS.map(([label, title, command]) => {
  const button = document.createElement('button');
  Object.assign(button, { type: 'button', textContent: label, title });
  button.setAttribute('aria-label', title);
  button.onclick = () => command().run();
  return button;
});
$('tools').append(...buttons);
editor.on('transaction', () => {
  for (const [at, [, , , isActive]] of TOOLS.entries()) buttons[at].ariaPressed = String(isActive());
});
