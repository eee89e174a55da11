/** Programs without a browser: the npm clients that exist, well-behaved and hostile ones. */
import assert from 'node:assert/strict';
import { WebsocketProvider as ProviderNext } from '@y/websocket';
import * as YNext from '@y/y';
import * as encoding from 'lib0/encoding';
import WebSocket from 'ws';
import { WebsocketProvider as Provider3 } from 'y-websocket';
import { WebsocketProvider as Provider2 } from 'y-websocket-2';
import { WebsocketProvider as Provider31 } from 'y-websocket-31';
import * as Y from 'yjs';
import { Client, look, seeded, treeOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { pause, stays, until } from './support/wait.mjs';

/** Clients hang up when nothing came for 30 s; the server must speak before. */
const LONGER_THAN_CLIENTS_WAIT_MS = 36_000;

/** One client of each kind, made the same way for each. */
const KINDS = {
  'y-websocket 2.1': { Provider: Provider2, doc: () => new Y.Doc(), text: (doc) => doc.getText('text') },
  'y-websocket 3.0': { Provider: Provider3, doc: () => new Y.Doc(), text: (doc) => doc.getText('text') },
  'y-websocket 3.1': { Provider: Provider31, doc: () => new Y.Doc(), text: (doc) => doc.getText('text') },
};

/** The coming major version, on the coming major version of Yjs. */
const NEXT = { Provider: ProviderNext, doc: () => new YNext.Doc(), text: (doc) => doc.get('text') };

function open(stage, server, name, kind) {
  const doc = kind.doc();
  const provider = new kind.Provider(`${server.url.replace(/^http/, 'ws')}/yjs`, name, doc, {
    WebSocketPolyfill: WebSocket,
    disableBc: true,
    maxBackoffTime: 300,
  });
  const client = { doc, provider, text: kind.text(doc), closes: 0 };
  provider.on('connection-close', () => {
    client.closes += 1;
  });
  stage.own({
    destroy() {
      provider.destroy();
      provider.awareness.destroy();
    },
  });
  return client;
}

const everyoneHas = (clients) => new Set(clients.map(({ text }) => text.toString())).size === 1;

async function editAtRandom(clients, random, steps) {
  for (let step = 0; step < steps; step++) {
    const client = clients[Math.floor(random() * clients.length)];
    const action = random();
    const at = Math.floor(random() * (client.text.length + 1));
    // No halves of characters: those come apart in every Yjs, whoever serves it.
    if (action < 0.65)
      client.text.insert(at, `${String.fromCharCode(97 + (step % 26))}é—`.slice(0, 1 + (step % 3)));
    else if (action < 0.7) client.text.insert(client.text.length, '\n');
    else if (action < 0.9 && at < client.text.length) client.text.delete(at, 1);
    else if (action < 0.95) client.provider.disconnect();
    else client.provider.connect();
    if (step % 5 === 0) await pause(2);
  }
  for (const client of clients) client.provider.connect();
}

scenario('clients of every version converge under random edits and lost connections', async (stage) => {
  const server = await stage.server();
  const seed = 7;
  const clients = Object.values(KINDS).flatMap((kind) => [
    open(stage, server, 'meeting-point', kind),
    open(stage, server, 'meeting-point', kind),
  ]);
  await until('all to be in sync', () => clients.every(({ provider }) => provider.synced));
  await editAtRandom(clients, seeded(seed), 400);
  await until(
    `all to have the same text (seed ${seed})`,
    () =>
      clients.every(({ provider }) => provider.synced) && everyoneHas(clients) && clients[0].text.length > 0,
  );
  const late = open(stage, server, 'meeting-point', KINDS['y-websocket 3.0']);
  await until('a newcomer to have it too', () => late.provider.synced && everyoneHas([...clients, late]));
  clients[0].text.insert(0, '🙂 ');
  await until(
    'a smile to reach all',
    () => everyoneHas([...clients, late]) && late.text.toString().startsWith('🙂 '),
  );
});

scenario('the next major version meets today’s', async (stage) => {
  const server = await stage.server();
  const today = open(stage, server, 'two-ages', KINDS['y-websocket 3.0']);
  const next = open(stage, server, 'two-ages', NEXT);
  await until('both to be in sync', () => today.provider.synced && next.provider.synced);
  today.text.insert(0, 'from today');
  await until('the next version to have it', () => next.text.toString().includes('from today'));
  next.text.insert(0, 'from tomorrow, ');
  await until('today’s to have it', () => today.text.toString() === 'from tomorrow, from today');
});

scenario(
  'whoever is alone and silent stays connected, and a client that goes leaves no ghost',
  async (stage) => {
    const server = await stage.server();
    const silent = Object.values(KINDS).map((kind, index) => {
      const client = open(stage, server, `hermitage-${index}`, kind);
      // Without an awareness state of its own, a client sends nothing after its greeting.
      client.provider.awareness.setLocalState(null);
      return client;
    });
    await until('all to be in sync', () => silent.every(({ provider }) => provider.synced));
    const quiet = stays('nobody is disconnected', LONGER_THAN_CLIENTS_WAIT_MS, () =>
      silent.every(({ closes, provider }) => closes === 0 && provider.wsconnected),
    );

    const here = open(stage, server, 'party', KINDS['y-websocket 3.0']);
    const guest = open(stage, server, 'party', KINDS['y-websocket 2.1']);
    guest.provider.awareness.setLocalStateField('mood', 'cheerful');
    const isHere = () => here.provider.awareness.getStates().get(guest.doc.clientID)?.mood === 'cheerful';
    await until('the guest to be seen', isHere);
    // The cable is pulled: no goodbye.
    guest.provider.shouldConnect = false;
    guest.provider.ws.terminate();
    await until(
      'the guest to be gone',
      () => !here.provider.awareness.getStates().has(guest.doc.clientID),
      10_000,
    );
    guest.provider.connect();
    await until('the guest to be seen again', isHere);
    await quiet;
  },
);

scenario('who somebody is comes from the session, not from what they claim', async (stage) => {
  const server = await stage.server();
  const [ada, mallory] = [await server.person('Ada'), await server.person('Mallory')];
  const room = await ada.createRoom('python');
  const name = `${room.id}/tree:main`;
  const honest = stage.client(server.url, name, ada);
  const liar = stage.client(server.url, name, mallory);
  liar.awareness.setLocalStateField('user', { id: ada.person.id, name: 'Ada', color: '#ffffff' });
  await until('the server to say who it is', () => {
    const { user } = honest.awareness.getStates().get(liar.doc.clientID) ?? {};
    return user?.name === 'Mallory' && user.id === mallory.person.id;
  });
  for (const [path, token, code] of [
    [name, '', 4401],
    [name, '?token=nonsense', 4401],
    ['nosuchroom/tree:main', `?token=${ada.token}`, 4404],
    [`${room.id}/file:nosuchnode`, `?token=${ada.token}`, 4404],
  ])
    assert.equal(await closeCodeOf(stage, server, `${path}${token}`), code, path + token);
});

scenario('projected documents cannot be written by clients', async (stage) => {
  const server = await stage.server();
  const api = await server.person('Mallory');
  const room = await api.createRoom('python');
  const before = [...(await treeOf(api, room.id)).keys()].sort();
  for (const [document, map] of [
    ['tree:main', 'nodes'],
    ['runs:main', 'runs'],
  ]) {
    const name = `${room.id}/${document}`;
    const client = stage.client(server.url, name, api);
    const refusals = [];
    client.provider.messageHandlers[2] = (_encoder, decoder) => {
      refusals.push(decoder.arr.length);
      decoder.pos = decoder.arr.length;
    };
    await client.synced();
    client.doc.getMap(map).set('forged', { id: 'forged', name: 'forged', kind: 'text', state: 'passed' });
    await until(`writing ${document} to be refused`, () => refusals.length > 0);
    assert.ok(client.provider.wsconnected, 'the connection goes on');
    assert.equal(await look(api, name, ({ doc }) => doc.getMap(map).has('forged')), false);
    // Nor with what is said in answer to the server's first message.
    client.provider.disconnect();
    client.provider.connect();
    await client.synced();
    assert.equal(await look(api, name, ({ doc }) => doc.getMap(map).has('forged')), false);
  }
  assert.deepEqual([...(await treeOf(api, room.id)).keys()].sort(), before);
});

scenario('a hostile client ends its own connection and nothing else', async (stage) => {
  const server = await stage.server();
  const bystander = new Client(server.url, 'market', null);
  stage.own(bystander);
  await bystander.synced();
  bystander.text.insert(0, 'wares');
  const random = seeded(40);
  const noise = (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256));
  const update = (bytes) => frame(0, 2, bytes);
  const good = Y.encodeStateAsUpdate(bystander.doc);
  const hostile = [
    ['nothing', new Uint8Array()],
    ['an unknown kind', Uint8Array.of(7, 0)],
    ['an endless number', new Uint8Array(40).fill(0xff)],
    ['a length that is not there', Uint8Array.of(0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f)],
    ['an update of 40 hostile bytes', update(new Uint8Array(40).fill(0xff))],
    ['an update of very many clients', update(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 1))],
    ['an update of very many structs', update(Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0))],
    ['awareness of very many', frame(1, null, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f))],
    ['a text frame', 'hello'],
  ];
  for (const [what, bytes] of hostile) {
    const code = await closeCodeOf(stage, server, 'market', bytes);
    assert.equal(code, 1002, what);
  }
  assert.equal(await closeCodeOf(stage, server, 'market', new Uint8Array(17 << 20)), 1009, 'too large');
  // Whatever may come of random and of damaged updates, the neighbours do not notice.
  for (let i = 0; i < 60; i++) {
    const damaged = Uint8Array.from(good);
    damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
    const socket = await connect(stage, server, 'market');
    socket.send(update(i % 2 ? damaged : noise(1 + Math.floor(random() * 60))));
    socket.send(Uint8Array.of(3));
    await until(
      'an answer or a close',
      () => socket.readyState === WebSocket.CLOSED || socket.messages.some((m) => m[0] === 1),
    );
    socket.terminate();
  }
  assert.deepEqual(bystander.closes, [], 'the bystander stayed connected');
  bystander.text.insert(0, 'more ');
  await until('the bystander’s edit to be there for others', async () => {
    const newcomer = new Client(server.url, 'market', null);
    try {
      await newcomer.synced();
      return newcomer.text.toString().includes('more wares') || newcomer.text.toString().includes('wares');
    } finally {
      newcomer.destroy();
    }
  });
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
});

scenario('what the server knows already is neither logged again nor sent around', async (stage) => {
  const server = await stage.server();
  const logged = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^buildspaces_append_group_size_sum (\S+)/m.exec(text)?.[1] ?? 0);
  };
  const writer = new Client(server.url, 'archive', null);
  stage.own(writer);
  await writer.synced();
  for (let i = 0; i < 10; i++) writer.text.insert(writer.text.length, `line ${i}\n`);
  writer.askWhetherSaved(1);
  await until('the lines to be saved', () => writer.acknowledged === 1);
  const before = await logged();
  assert.ok(before >= 1, `the log has ${before} updates`);
  const reader = await connect(stage, server, 'archive');
  const teller = await connect(stage, server, 'archive');
  const all = Y.encodeStateAsUpdate(writer.doc);
  for (let i = 0; i < 5; i++) teller.send(frame(0, 1, all));
  teller.send(frame(0, 2, all));
  await until('the echo of what was known', () => teller.messages.some((m) => m[0] === 0 && m[1] === 2));
  writer.provider.disconnect();
  writer.provider.connect();
  await writer.synced();
  writer.askWhetherSaved(2);
  await until('the next save', () => writer.acknowledged === 2);
  assert.equal(await logged(), before);
  assert.ok(!reader.messages.some((m) => m[0] === 0 && m[1] === 2), 'others heard nothing of it');
});

/** A raw connection that keeps what it is sent. */
async function connect(stage, server, path) {
  const socket = new WebSocket(`${server.url.replace(/^http/, 'ws')}/yjs/${path}`);
  socket.messages = [];
  socket.closeCode = null;
  socket.on('message', (data) => socket.messages.push(new Uint8Array(data)));
  socket.on('close', (code) => {
    socket.closeCode = code;
  });
  socket.on('error', () => undefined);
  stage.own({ destroy: () => socket.terminate() });
  await until('a connection', () => socket.readyState !== WebSocket.CONNECTING);
  return socket;
}

/** What the server closes with, after it was sent `bytes`. */
async function closeCodeOf(stage, server, path, bytes) {
  const socket = await connect(stage, server, path);
  if (bytes !== undefined) socket.send(bytes);
  return until(`${path} to be closed`, () => socket.closeCode);
}

/** One protocol message: its kind, its sub-kind if there is one, and a length-prefixed payload. */
function frame(kind, subkind, payload) {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, kind);
  if (subkind !== null) encoding.writeVarUint(encoder, subkind);
  encoding.writeVarUint8Array(encoder, payload);
  return encoding.toUint8Array(encoder);
}
