import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';

const server = new URLSearchParams(location.search).get('server') ?? 'ws://localhost:8080';
const documentName = location.hash.slice(1) || 'shopping';

const doc = new Y.Doc();
const items = doc.getArray('items'); // of Y.Maps: text, done
const provider = new WebsocketProvider(`${server}/yjs`, documentName, doc);

const $ = (id) => document.getElementById(id);

function create(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function row(item) {
  const done = item.get('done') === true;
  const check = create('input', { type: 'checkbox', checked: done });
  check.onchange = () => item.set('done', check.checked);
  const remove = create('button', { type: 'button', title: 'Remove', textContent: '×' });
  remove.setAttribute('aria-label', `Remove ${item.get('text')}`);
  remove.onclick = () => items.delete(items.toArray().indexOf(item));
  const label = create('label', {}, check, create('span', { textContent: item.get('text') }));
  return create('li', { className: done ? 'done' : '' }, label, remove);
}

function show() {
  $('items').replaceChildren(...items.map(row));
  $('empty').hidden = items.length > 0 || !provider.synced;
  $('clear').hidden = !items.toArray().some((item) => item.get('done'));
}

items.observeDeep(show);
provider.on('sync', show);

$('new').onsubmit = (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (text === '') return;
  items.push([new Y.Map([['text', text], ['done', false]])]);
  $('text').value = '';
};

$('clear').onclick = () =>
  doc.transact(() => {
    for (let at = items.length - 1; at >= 0; at--) if (items.get(at).get('done')) items.delete(at);
  });

// Who is here: everybody is given a name and a colour.
const NAMES = ['Ada', 'Bo', 'Chidi', 'Dilnoza', 'Emi', 'Farid', 'Grace', 'Hana'];
const name = NAMES[Math.floor(Math.random() * NAMES.length)];
provider.awareness.setLocalStateField('user', { name, hue: Math.floor(Math.random() * 360) });

provider.awareness.on('change', () => {
  const people = [...provider.awareness.getStates()].filter(([, state]) => state.user);
  $('people').replaceChildren(
    ...people.map(([client, { user }]) => {
      const title = client === doc.clientID ? `${user.name} (you)` : user.name;
      const person = create('li', { textContent: String(user.name).slice(0, 1), title });
      person.style.setProperty('--hue', Number(user.hue));
      return person;
    }),
  );
});

provider.on('status', ({ status }) => {
  document.body.dataset.status = status;
  $('status').textContent =
    status === 'connected' ? 'Connected' : 'No connection. Go on: what you do is sent when it is back.';
});
