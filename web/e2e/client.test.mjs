/** `@buildspaces/client` as it is packed: in plain Node.js, on the real server, beside the clients of Yjs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { brotliCompressSync } from 'node:zlib';
import { build, createServer } from 'vite';
import WebSocket from 'ws';
import * as Y from 'yjs';
import {
  Api,
  connect,
  createDocument,
  documentAt,
  load,
  peopleIn,
  Refused,
  RoomClient,
} from '../../client-wasm/pkg/index.js';
import { seeded } from './support/clients.mjs';
import { KINDS, openAll } from './support/providers.mjs';
import { Pycrdt } from './support/pycrdt.mjs';
import { scenario } from './support/scenario.mjs';
import { temporaryFolder } from './support/server.mjs';
import { site } from './support/site.mjs';
import { pause, until } from './support/wait.mjs';

/** By hand: `BUILDSPACES_CLIENT_ROUNDS=1000`. */
const ROUNDS = Number(process.env.BUILDSPACES_CLIENT_ROUNDS ?? 20);
const FIRST_SEED = Number(process.env.BUILDSPACES_CLIENT_SEED ?? 1);

const run = promisify(execFile);
const collab = (server) => `${server.url.replace(/^http/, 'ws')}/collab`;

await load();

async function client(stage, server, options = {}) {
  const one = new RoomClient({
    url: collab(server),
    WebSocket,
    firstPauseMs: 20,
    longestPauseMs: 200,
    ...options,
  });
  stage.own(one);
  return one;
}

/** A client of ours in the shape that `support/providers.mjs` gives to the others. */
async function ours(stage, server, name) {
  let cable = null;
  class Cable extends WebSocket {
    constructor(...args) {
      super(...args);
      cable = this;
    }
  }
  const room = await client(stage, server, { WebSocket: Cable });
  const doc = room.open(name);
  const text = doc.text('text');
  return {
    kind: 'ours',
    doc,
    text,
    isSynced: () => doc.state === 'saved' || doc.state === 'synced',
    connect: () => room.connect(),
    disconnect: () => room.disconnect(),
    cut: () => cable?.terminate(),
  };
}

const vector = (update) => JSON.stringify([...Y.decodeStateVector(update)].sort());

scenario(
  `this client, those of Yjs and pycrdt end with the same document, ${ROUNDS} rounds`,
  async (stage) => {
    const server = await stage.server();
    const pycrdt = new Pycrdt(stage);
    for (let round = 0; round < ROUNDS; round++) {
      const seed = FIRST_SEED + round;
      const random = seeded(seed);
      const name = `round-${seed}`;
      const others = await openAll(stage, server, name, ['y-websocket 3.0', 'Hocuspocus 4']);
      const mine = [await ours(stage, server, name), await ours(stage, server, name)];
      others.push(await pycrdt.open(server, name));
      const clients = [...mine, ...others];
      for (let step = 0; step < 60; step++) {
        const one = clients[Math.floor(random() * clients.length)];
        const action = random();
        const at = Math.floor(random() * (one.text.length + 1));
        if (action < 0.6) one.text.insert(at, String.fromCharCode(97 + (step % 26)).repeat(1 + (step % 3)));
        else if (action < 0.8 && at < one.text.length) one.text.delete(at, 1);
        else if (action < 0.86) one.disconnect();
        else if (action < 0.9) one.cut();
        else one.connect();
        if (step % 5 === 0) await pause(1);
      }
      for (const one of clients) one.connect();
      let asked = performance.now();
      await until(`all to have the same text (seed ${seed})`, () => {
        const texts = clients.map(({ text }) => text.toString());
        const late = clients.filter((one) => !one.isSynced()).map(({ kind }) => kind);
        if (new Set(texts).size === 1 && late.length === 0) return true;
        // Hocuspocus' provider may take a connection that is just ending for one that stands; ours needs no reminder.
        if (performance.now() - asked > 3_000) {
          asked = performance.now();
          for (const one of others) one.connect();
        }
        throw new Error(`${texts.join(' | ')}; not in sync: ${late.join()}`);
      });
      await until(`all of ours to be saved (seed ${seed})`, () =>
        mine.every(({ doc }) => doc.state === 'saved'),
      );
      // What a line of Python says may be on its way.
      await until(`all to know the same (seed ${seed})`, () => {
        const vectors = clients.map(({ doc, encodeStateVector }) => {
          if (encodeStateVector) return vector(encodeStateVector());
          return vector(doc.encodeStateVector ? doc.encodeStateVector() : Y.encodeStateVector(doc));
        });
        if (new Set(vectors).size === 1) return true;
        throw new Error(vectors.join(' | '));
      });
      for (const { doc } of mine) {
        assert.equal(doc.unsavedChanges, 0);
        const copy = new Y.Doc();
        Y.applyUpdate(copy, doc.encodeState());
        assert.equal(
          copy.getText('text').toString(),
          others[0].text.toString(),
          `seed ${seed}: as an update`,
        );
        doc.client.destroy();
      }
      for (const one of others) one.destroy();
    }
  },
  { ms: 60_000 + ROUNDS * 6_000 },
);

scenario('what is called saved survives a kill, and what is not is sent again', async (stage) => {
  const server = await stage.server();
  const room = await client(stage, server);
  const doc = room.open('ledger');
  const states = [];
  doc.on('state', ({ state }) => states.push(state));
  await doc.whenSaved();
  const text = doc.text();
  for (let i = 0; i < 50; i++) text.insert(text.length, `entry ${i}\n`);
  assert.equal(doc.unsavedChanges, 50, 'nothing is saved in advance');
  await doc.whenSaved();
  await server.kill();
  await until('the client to notice', () => doc.state === 'offline');
  assert.ok(doc.reason.length > 0, 'and to say why');
  text.insert(0, 'written without a server\n');
  assert.equal(doc.unsavedChanges, 1);
  await server.start();
  await doc.whenSaved();
  assert.equal(doc.unsavedChanges, 0);
  const [late] = await openAll(stage, server, 'ledger', ['y-websocket 3.0']);
  await until('somebody else to have it all', () => late.text.toString() === text.toString());
  assert.ok(states.includes('offline') && states.at(-1) === 'saved', states.join());
});

scenario('types, undo, positions and presence meet those of Yjs', async (stage) => {
  const server = await stage.server();
  const room = await client(stage, server);
  const doc = room.open('meeting');
  const [other] = await openAll(stage, server, 'meeting', ['Hocuspocus 4']);
  await doc.whenSynced();
  const changes = [];
  const map = doc.map('map');
  map.observeDeep((change) => changes.push(change));
  doc.transact(() => {
    map.set('title', 'Ⅷ 😀');
    const list = map.setArray('list');
    list.push(1, { a: [true, null] }, new Uint8Array([1, 2]));
    list.insertText(1).insert(0, 'deep');
    doc.text().insert(0, 'shared 😀 text');
    doc.xml('xml').insertElement(0, 'p').insertText(0, 'hi');
  });
  assert.ok(changes.length > 0 && changes.every(({ origin }) => origin === 'local'));
  await until('Yjs to have it', () => other.text.toString() === 'shared 😀 text');
  assert.equal(other.doc.getMap('map').get('title'), 'Ⅷ 😀');
  assert.equal(other.doc.getMap('map').get('list').get(1).toString(), 'deep');
  assert.equal(other.doc.getXmlFragment('xml').toString(), '<p>hi</p>');
  // The other way.
  other.doc.getMap('map').get('list').push(['pushed']);
  await until('ours to have it', () => map.get('list').toJSON().at(-1) === 'pushed');
  // Positions are the same bytes.
  const text = doc.text();
  const theirs = Y.createRelativePositionFromTypeIndex(other.text, 7);
  assert.deepEqual(Buffer.from(text.position(7)), Buffer.from(Y.encodeRelativePosition(theirs)));
  assert.equal(doc.resolve(Y.encodeRelativePosition(theirs)).index, 7);
  for (const at of [8, 99]) assert.throws(() => text.insert(at, 'x'), RangeError);
  assert.throws(() => text.insert(0, '\ud83d'), RangeError);
  assert.throws(() => map.set('k', new Map()), TypeError);
  // Undo takes back ours only.
  const history = doc.undoHistory(text, { origins: ['me'] });
  doc.transact(() => text.insert(0, 'mine '), 'me');
  other.text.insert(other.text.length, ' theirs');
  await until(
    'both to be there',
    () => text.toString().startsWith('mine') && text.toString().endsWith('theirs'),
  );
  assert.ok(history.undo());
  assert.equal(text.toString(), 'shared 😀 text theirs');
  await until('Yjs to see it undone', () => other.text.toString() === text.toString());
  assert.ok(history.redo());
  await until('Yjs to see it done again', () => other.text.toString() === text.toString());
  // Presence, both ways.
  doc.setPresence({ mood: 'awake' });
  other.awareness.setLocalStateField('mood', 'asleep');
  await until('each to see the other', () => {
    const seen = other.awareness.getStates().get(doc.clientId)?.mood;
    return seen === 'awake' && doc.others.get(other.doc.clientID)?.mood === 'asleep';
  });
  const { clientId } = doc;
  room.destroy();
  await until('ours to be gone', () => !other.awareness.getStates().has(clientId));
  assert.throws(() => text.toString(), /destroyed/);
});

scenario('whoever may only read is told so, and whoever may not is denied', async (stage) => {
  const server = await stage.server();
  const person = await server.person('Ada');
  const room = await person.createRoom('python');
  const asked = [];
  const token = ({ document, because }) => {
    asked.push({ document, because });
    return because ? person.token : 'nonsense';
  };
  const one = await client(stage, server, { token });
  const tree = one.open(`${room.id}/tree:main`);
  await tree.whenSynced();
  assert.equal(asked.length, 2, 'a refused token is asked for once more');
  assert.ok(tree.readOnly);
  assert.throws(() => tree.map('nodes').set('forged', {}), /may be read, not changed/);
  assert.ok(tree.map('nodes').size > 0);
  const stranger = await client(stage, server, { token: 'nonsense' });
  const closed = stranger.open(`${room.id}/tree:main`);
  await assert.rejects(closed.whenSynced());
  assert.equal(closed.state, 'denied');
  assert.ok(closed.reason.length > 0);
  closed.close();
  const anybody = await client(stage, server);
  await anybody.open('plain').whenSaved();
});

test('hostile updates change nothing, and documents are as Yjs has them', () => {
  const folder = new URL('../../crdt/tests/hostile/', import.meta.url);
  let tried = 0;
  for (const name of [
    'poison',
    'to-json-hangs-1',
    'to-json-hangs-2',
    'use-after-free-1',
    'use-after-free-2',
    'use-after-free-3',
  ]) {
    const doc = createDocument();
    doc.text().observeDeep(() => undefined);
    doc.array('array').observeDeep(() => undefined);
    for (const line of readFileSync(new URL(`${name}.txt`, folder), 'utf8')
      .trim()
      .split('\n')) {
      const before = vector(doc.encodeStateVector());
      try {
        doc.applyUpdate(Buffer.from(line, 'hex'));
      } catch (error) {
        assert.ok(!(error instanceof WebAssembly.RuntimeError), `${name}: ${error}`);
        assert.equal(vector(doc.encodeStateVector()), before);
      }
      tried += 1;
    }
    doc.text().toString();
    Y.applyUpdate(new Y.Doc(), doc.encodeState());
    doc.client.destroy();
  }
  assert.ok(tried > 10);
  const doc = createDocument();
  for (const bytes of [[], [255, 255, 255, 127], [1, 1, 1, 0], [0, 0, 0]])
    assert.throws(() => doc.applyUpdate(Uint8Array.from(bytes)), /malformed/);
  doc.text().insert(0, 'as before');
  assert.equal(doc.text().toString(), 'as before');
});

test('numbers that JSON has not, bytes and subdocuments come and go as they are', () => {
  const held = new TextEncoder().encode('\0buildspaces/hidden\0\x02abcdefgh');
  const values = [0, -0, [123n, -(2n ** 63n), 2n ** 63n - 1n], { deep: [held, -0, 5n] }, held];
  const theirs = new Y.Doc();
  theirs.getMap('m').set('theirs', values);
  theirs.getMap('m').set('bytes', held);
  theirs.getMap('m').set('sub', new Y.Doc({ guid: 'inner' }));
  const doc = createDocument();
  doc.applyUpdate(Y.encodeStateAsUpdate(theirs));
  const map = doc.map('m');
  assert.deepStrictEqual(map.get('theirs'), values);
  assert.deepStrictEqual(map.get('bytes'), held);
  const history = doc.undoHistory(map);
  map.set('ours', values);
  history.cut();
  map.delete('sub');
  assert.ok(history.undo());
  const later = new Y.Doc();
  Y.applyUpdate(later, doc.encodeState());
  Y.applyUpdate(theirs, doc.diff(Y.encodeStateVector(theirs)));
  for (const seen of [later.getMap('m'), theirs.getMap('m')]) {
    for (const key of ['theirs', 'ours']) assert.deepStrictEqual(seen.get(key), values);
    assert.deepStrictEqual(seen.get('bytes'), held);
    assert.equal(seen.get('sub').guid, 'inner');
  }
  doc.client.destroy();
});

test('what is no string, and values that run code, are refused and leave the document as it was', () => {
  const doc = createDocument();
  const [text, map, list, tree] = [doc.text(), doc.map('m'), doc.array('a'), doc.xml('x')];
  const element = tree.insertElement(0, 'p');
  text.insert(0, 'a😀b');
  const no = /is no string/;
  for (const wrong of [5, {}, null, undefined, [], Symbol('s'), true]) {
    assert.throws(() => text.insert(0, wrong), no);
    assert.throws(() => map.set(wrong, 1), no);
    assert.throws(() => map.get(wrong), no);
    assert.throws(() => map.setText(wrong), no);
    assert.throws(() => map.delete(wrong), no);
    assert.throws(() => tree.insertElement(0, wrong), no);
    assert.throws(() => element.setAttribute(wrong, 'v'), no);
    assert.throws(() => element.removeAttribute(wrong), no);
    assert.throws(() => doc.map(wrong), no);
    assert.throws(() => doc.sendMessage(wrong), no);
    assert.throws(() => doc.client.open(wrong), no);
    if (wrong !== undefined) assert.throws(() => doc.transact(() => undefined, wrong), no);
  }
  assert.throws(() => map.set('\ud800', 1), RangeError);
  for (const name of ['', 'x'.repeat(513), 'ä'.repeat(257)])
    assert.throws(() => doc.client.open(name), /1 to 512 bytes/);

  const thrower = {
    get a() {
      throw new Error('mine');
    },
  };
  assert.throws(() => map.set('k', thrower), /mine/);
  assert.throws(() => list.push(1, [thrower]), /mine/);
  assert.throws(() => text.format(0, 1, thrower), /mine/);
  assert.throws(() => text.embed(0, thrower), /mine/);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assert.throws(() => list.push(proxy), TypeError);
  const reader = {
    get length() {
      return text.length;
    },
  };
  map.set('k', { reader: new Proxy(reader, {}), bytes: Uint8Array.of(1), big: 1n << 60n, none: null });
  assert.deepEqual(map.get('k'), {
    reader: { length: 4 },
    bytes: Uint8Array.of(1),
    big: 1n << 60n,
    none: null,
  });
  const circle = [];
  circle.push(circle);
  assert.throws(() => list.push(circle), /nested/);
  assert.throws(() => map.set('k', new Map()));
  for (const much of ['ä'.repeat(8e6), new Uint8Array(16e6)])
    assert.throws(() => map.set('k', { much }), /too many/);
  assert.throws(() => text.insert(0, 'x'.repeat(16e6)), /too many/);
  for (const enough of ['x'.repeat(8e6), new Uint8Array(8e6)]) map.set('k', enough);
  assert.equal(text.toString(), 'a😀b');
  assert.equal(list.length, 0);
  doc.client.destroy();
});

scenario('a listener may end the client, also within a change', async (stage) => {
  const server = await stage.server();
  const room = await client(stage, server);
  const doc = room.open('last-words');
  await doc.whenSaved();
  const ended = new Promise((end) => {
    doc.on('unsaved', ({ count }) => {
      if (count > 0) return;
      room.destroy();
      end();
    });
  });
  doc.text().insert(0, 'saved and gone');
  await ended;
  const other = (await client(stage, server)).open('last-words');
  await other.whenSynced();
  assert.equal(other.text().toString(), 'saved and gone');
  other.transact(() => {
    other.text().insert(0, 'x');
    other.close();
  });
  const apart = createDocument();
  apart.on('update', () => apart.client.destroy());
  apart.text().insert(0, 'x');
  assert.throws(() => apart.text(), /destroyed/);
});

test('a snapshot that this client makes is read by Yjs, and the other way', () => {
  const theirs = new Y.Doc({ gc: false });
  const ours = createDocument('snapshots', { keepDeleted: true });
  theirs.on('update', (update, origin) => {
    if (origin !== ours) ours.applyUpdate(update);
  });
  ours.on('update', ({ update }) => Y.applyUpdate(theirs, update, ours));
  const texts = [ours.text(), theirs.getText('text')];
  const maps = [ours.map('map'), theirs.getMap('map')];
  const random = seeded(11);
  const moments = [];
  for (let step = 0; step < 400; step++) {
    const text = texts[Math.floor(random() * 2)];
    const at = Math.floor(random() * (text.length + 1));
    const action = random();
    if (action < 0.6) text.insert(at, String.fromCharCode(97 + (step % 26)).repeat(1 + (step % 4)));
    else if (action < 0.9 && at < text.length) text.delete(at, 1);
    else maps[step % 2].set(`k${step % 5}`, step);
    assert.equal(texts[0].toString(), texts[1].toString());
    moments.push({
      text: texts[0].toString(),
      map: { ...maps[0].toJSON() },
      made: ours.snapshot(),
      theirs: Y.snapshot(theirs),
    });
  }
  for (const { text, map, made, theirs: snapshot } of moments) {
    assert.ok(Y.equalSnapshots(Y.decodeSnapshot(made), snapshot), 'both say the same');
    const seen = Y.createDocFromSnapshot(theirs, Y.decodeSnapshot(made));
    assert.equal(seen.getText('text').toString(), text);
    assert.deepEqual(seen.getMap('map').toJSON(), map);
    const past = documentAt(ours, Y.encodeSnapshot(snapshot));
    assert.equal(past.text().toString(), text);
    assert.deepEqual({ ...past.map('map').toJSON() }, map);
    past.client.destroy();
  }
  const forgetful = createDocument();
  forgetful.text().insert(0, 'gone');
  assert.throws(() => documentAt(forgetful, forgetful.snapshot()), /does not keep what is deleted/);
  assert.throws(
    () =>
      documentAt(ours, Y.encodeSnapshot(Y.snapshot(new Y.Doc())))
        .text()
        .insert(9, 'x'),
    RangeError,
  );
  assert.throws(() => documentAt(ours, Uint8Array.of(7, 7)), /malformed/);
  for (const doc of [ours, forgetful]) doc.client.destroy();
});

/** A new app with the package in it, as `npm install` puts it there from what `npm pack` makes. */
async function appWith(folder, files) {
  const packed = new URL('../../client-wasm/pkg', import.meta.url).pathname;
  const { stdout } = await run('npm', ['pack', packed, '--pack-destination', folder, '--silent']);
  const archive = join(folder, stdout.trim());
  assert.ok(existsSync(archive));
  const app = join(folder, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{"private":true,"type":"module"}');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(app, name), text);
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', archive], { cwd: app });
  return app;
}

test('the package is small', () => {
  const pkg = new URL('../../client-wasm/pkg/', import.meta.url);
  const sent = readdirSync(pkg).filter((name) => /\.(js|wasm)$/.test(name));
  const bytes = sent.reduce(
    (sum, name) => sum + brotliCompressSync(readFileSync(new URL(name, pkg))).length,
    0,
  );
  assert.ok(bytes > 100_000 && bytes <= 200_000, `${bytes} bytes with brotli`);
});

scenario('the package installs from its archive into plain Node.js', async (stage) => {
  const server = await stage.server();
  const [other] = await openAll(stage, server, 'parcel', ['y-websocket 3.0']);
  other.text.insert(0, 'from Yjs, ');
  const folder = temporaryFolder();
  try {
    const ws = new URL('../node_modules/ws/wrapper.mjs', import.meta.url).href;
    const app = await appWith(folder, {
      'main.mjs': `import { connect } from '@buildspaces/client';
import WebSocket from '${ws}';
const client = await connect({ url: process.argv[2], WebSocket });
const doc = client.open('parcel');
await doc.whenSynced();
const text = doc.text();
while (text.length === 0) await new Promise((done) => text.observe(done));
text.insert(text.length, 'from a parcel');
await doc.whenSaved();
console.log(text.toString());
client.destroy();
`,
    });
    const { stdout: said } = await run(process.execPath, [join(app, 'main.mjs'), collab(server)], {
      timeout: 30_000,
    });
    assert.equal(said.trim(), 'from Yjs, from a parcel');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

scenario(
  'the package installs from its archive into a new Vite app, built and in development',
  async (stage) => {
    const folder = temporaryFolder();
    try {
      const root = await appWith(folder, {
        'index.html':
          '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><p></p><script type="module" src="/main.js"></script>',
        'main.js': `import { connect } from '@buildspaces/client';
const client = await connect({ url: new URLSearchParams(location.search).get('server'), offline: true });
const doc = client.open('vite');
await doc.whenSynced();
doc.text().insert(doc.text().length, import.meta.env.MODE + ' ');
await doc.whenSaved();
document.querySelector('p').textContent = doc.text().toString();
`,
      });
      const options = { root, configFile: false, logLevel: 'error' };
      await build(options);
      const origins = [await site(stage, { folders: { '/': join(root, 'dist') } })];
      const development = await createServer({
        ...options,
        server: { host: '127.0.0.1', port: 0 },
      });
      await development.listen();
      stage.own({ destroy: () => void development.close() });
      origins.push(`http://127.0.0.1:${development.httpServer.address().port}`);
      const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify(origins) });
      const ada = await stage.person('Ada');
      for (const [at, words] of ['production', 'production development'].entries()) {
        await ada.page.goto(`${origins[at]}/?server=${collab(server)}`);
        await ada.page.getByText(words).waitFor();
      }
      assert.deepEqual(ada.problems, []);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

scenario(
  'the interface of the server is there, with types that hold for those who use them',
  async (stage) => {
    const server = await stage.server();
    const { token } = await server.person('Ada');
    const api = new Api({ server: server.url, token: async () => token });
    const room = await api.call('POST /api/v1/rooms', { body: { title: 'Typed', template: 'python' } });
    const path = { room: room.id };
    const body = { parent: null, name: 'a b.md', kind: 'text', text: '# Hello' };
    const node = await api.call('POST /api/v1/rooms/{room}/nodes', { path, body });
    assert.equal(node.name, 'a b.md');
    assert.deepEqual(await api.call('GET /api/v1/rooms/{room}/runs', { path }), []);
    const content = await api.fetch('GET /api/v1/rooms/{room}/nodes/{node}/content', {
      path: { ...path, node: node.id },
    });
    assert.equal(await content.text(), '# Hello');
    const clash = api.call('POST /api/v1/rooms/{room}/nodes', { path, body });
    await assert.rejects(
      clash,
      (error) => error instanceof Refused && error.status === 409 && error.code !== '',
    );
    const gone = api.call('GET /api/v1/rooms/{room}/runs', { path: { room: 'none' } });
    await assert.rejects(gone, { status: 404 });
    const nobody = new Api({ server: 'http://127.0.0.1:1' }).call('GET /api/v1/status', {});
    await assert.rejects(nobody, { status: 0, code: 'unreachable' });
    assert.equal(
      await api.call('DELETE /api/v1/rooms/{room}/nodes/{node}', {
        path: { ...path, node: node.id },
        query: { rev: node.rev },
      }),
      undefined,
    );
    // Who is there is the server's word.
    const one = (await client(stage, server, { token })).open(`${room.id}/tree:main`);
    const two = (await client(stage, server)).open(`${room.id}/tree:main`);
    const other = (await client(stage, server, { token: (await server.person('Bo')).token })).open(
      `${room.id}/tree:main`,
    );
    await Promise.all([one.whenSynced(), other.whenSynced(), two.whenSynced().catch(() => undefined)]);
    one.setPresence({ user: { id: 'forged', name: 'Somebody else', color: '#000000' } });
    await until('Bo to see Ada', () => [...peopleIn(other).values()].some(({ name }) => name === 'Ada'));

    const folder = temporaryFolder();
    try {
      const app = await appWith(folder, {
        'main.ts': `import { Api, type Schemas } from '@buildspaces/client';
const api = new Api({ server: 'https://rooms.example' });
const path = { room: 'r' };
const runs: Schemas['Run'][] = await api.call('GET /api/v1/rooms/{room}/runs', { path });
const made: string = (await api.call('POST /api/v1/rooms/{room}/runs', { path, body: {} })).id;
const none: undefined = await api.call('DELETE /api/v1/rooms/{room}/nodes/{node}', { path: { ...path, node: 'n' } });
// @ts-expect-error a parameter is missing
await api.call('GET /api/v1/rooms/{room}/runs', {});
// @ts-expect-error there is no such call
await api.call('PUT /api/v1/rooms/{room}/runs', { path });
export { made, none, runs };
`,
      });
      const tsc = new URL('../node_modules/.bin/tsc', import.meta.url).pathname;
      const options =
        '--noEmit --strict --target es2022 --module es2022 --moduleResolution bundler --lib es2023,dom'.split(
          ' ',
        );
      await run(tsc, [...options, 'main.ts'], { cwd: app }).catch(({ stdout }) => assert.fail(stdout));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

/** A store that is as old as this test. */
class Memory {
  #updates = new Map();
  async load(name) {
    const updates = [...(this.#updates.get(name) ?? [])];
    return { updates, isUnsaved: updates.length > 0 };
  }
  async append(name, updates) {
    this.#updates.set(name, [...(this.#updates.get(name) ?? []), ...updates]);
  }
  close() {}
}

scenario('what a store has kept is there before any connection, and arrives once', async (stage) => {
  const server = await stage.server();
  const store = new Memory();
  const offline = new RoomClient({ store });
  const first = offline.open('diary');
  first.text().insert(0, 'written on a train;');
  assert.equal(first.unsavedChanges, 1);
  offline.destroy();
  // Another day, still without a network.
  const again = new RoomClient({ store });
  const second = again.open('diary');
  await until('it to be there', () => second.text().toString() === 'written on a train;');
  assert.ok(second.unsavedChanges > 0, 'nobody knows whether the server has it');
  again.destroy();
  for (let day = 0; day < 2; day++) {
    const doc = (await client(stage, server, { store })).open('diary');
    await until('all to be saved', () => doc.state === 'saved' && doc.text().length > 0);
    assert.equal(doc.unsavedChanges, 0);
    doc.client.destroy();
  }
  const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
  assert.equal(other.text.toString(), 'written on a train;', 'once');
});

test('every kind of client the others test is there', () => {
  // The rounds above name two of them; a rename there must not turn them into rounds among ourselves.
  assert.ok('y-websocket 3.0' in KINDS && 'Hocuspocus 4' in KINDS);
  assert.equal(typeof connect, 'function');
});
