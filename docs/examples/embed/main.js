// The elements need no script of the page. This one lets people say who they are, as long as the server does not know.
const [name, editor] = [document.getElementById('name'), document.getElementById('exercise')];

name.value = localStorage.getItem('name') ?? '';
if (name.value) editor.setAttribute('user', name.value);
name.addEventListener('change', () => {
  localStorage.setItem('name', name.value);
  editor.setAttribute('user', name.value);
});

// What is neither at the server nor on this device would be lost.
addEventListener('beforeunload', (event) => {
  const { document: doc } = editor;
  if (doc && doc.unsavedChanges > 0 && !doc.isKept) event.preventDefault();
});
