/** All populations of clients in one document: y-websocket, Hocuspocus 3 and 4, y-sweet, and a database in the browser. */
import assert from 'node:assert/strict';
import 'fake-indexeddb/auto';
import { WebsocketProvider as ProviderNext } from '@y/websocket';
import * as YNext from '@y/y';
import WebSocket from 'ws';
import { IndexeddbPersistence } from 'y-indexeddb';
import * as Y from 'yjs';
import { seeded } from './support/clients.mjs';
import { KINDS, openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { pause, stays, until } from './support/wait.mjs';

/** Clients hang up when nothing came for 30 s; the server must speak before. */
const LONGER_THAN_CLIENTS_WAIT_MS = 36_000;

/** Clients say again every 15 s that they are there; what is seen before was seen at once. */
const BEFORE_THE_NEXT_RENEWAL_MS = 8_000;

const everyoneHas = (clients) => new Set(clients.map(({ text }) => text.toString())).size === 1;

function differing(clients) {
  if (everyoneHas(clients)) return true;
  throw new Error(clients.map(({ kind, text }) => `${kind}: ${text.toString().slice(0, 40)}`).join('; '));
}

scenario(
  'clients of every kind converge in one document under random edits and lost connections',
  async (stage) => {
    const server = await stage.server();
    const kinds = Object.keys(KINDS);
    const clients = await openAll(stage, server, 'meeting-point', [...kinds, ...kinds]);
    const seed = 11;
    const random = seeded(seed);
    for (let step = 0; step < 600; step++) {
      const client = clients[Math.floor(random() * clients.length)];
      const action = random();
      const at = Math.floor(random() * (client.text.length + 1));
      if (action < 0.65) client.text.insert(at, String.fromCharCode(97 + (step % 26)).repeat(1 + (step % 3)));
      else if (action < 0.85 && at < client.text.length) client.text.delete(at, 1);
      else if (action < 0.88) client.disconnect();
      else if (action < 0.91) client.cut();
      else client.connect();
      if (step % 5 === 0) await pause(2);
    }
    for (const client of clients) client.connect();
    await until(`all to have the same text (seed ${seed})`, () => differing(clients), 60_000);
    assert.ok(clients[0].text.length > 0);
    const late = await openAll(stage, server, 'meeting-point');
    await until('newcomers of every kind to have it too', () => differing([...clients, ...late]));
    const states = new Set(
      [...clients, ...late].map(({ doc }) =>
        JSON.stringify([...Y.decodeStateVector(Y.encodeStateVector(doc))].sort()),
      ),
    );
    assert.equal(states.size, 1, 'all know the same');
  },
);

scenario('somebody who goes is gone, and is seen at once when they come back', async (stage) => {
  const server = await stage.server();
  const kinds = Object.keys(KINDS);
  const [host, ...watchers] = await openAll(stage, server, 'party', [
    'y-websocket 3.0',
    'Hocuspocus 4',
    'y-sweet 0.9',
  ]);
  const guests = await openAll(stage, server, 'party', kinds);
  const all = [host, ...watchers];
  const sees = (who, guest) => who.awareness.getStates().get(guest.doc.clientID)?.mood;
  for (const guest of guests) guest.awareness.setLocalStateField('mood', 'cheerful');
  await until('all guests to be seen by all', () =>
    all.every((who) => guests.every((guest) => sees(who, guest) === 'cheerful')),
  );
  for (const guest of guests) {
    // The cable is pulled: no goodbye.
    guest.cut();
    await until(
      `${guest.kind} to be gone`,
      () => all.every((who) => !who.awareness.getStates().has(guest.doc.clientID)),
      BEFORE_THE_NEXT_RENEWAL_MS,
    );
    guest.connect();
    await until(
      `${guest.kind} to be seen again`,
      () => all.every((who) => sees(who, guest) === 'cheerful'),
      BEFORE_THE_NEXT_RENEWAL_MS,
    );
  }
  // Whoever comes back ignores what is no news about the others, until those say again that they are there.
  await until('the guests to see each other again', () =>
    guests.every((guest) => guests.every((other) => sees(guest, other) === 'cheerful')),
  );
  // And with a goodbye.
  for (const guest of guests) guest.destroy();
  await until('all to be gone', () =>
    all.every((who) => guests.every((guest) => !who.awareness.getStates().has(guest.doc.clientID))),
  );
});

scenario('whoever is alone and silent stays connected, whatever they connect with', async (stage) => {
  const server = await stage.server();
  const silent = [];
  for (const [index, kind] of Object.keys(KINDS).entries()) {
    const [one] = await openAll(stage, server, `hermitage-${index}`, [kind]);
    // Without an awareness state of its own, a client sends nothing after its greeting.
    one.awareness.setLocalState(null);
    silent.push(one);
  }
  await stays('nobody is disconnected', LONGER_THAN_CLIENTS_WAIT_MS, () =>
    silent.every((one) => one.isSynced()),
  );
});

scenario(
  'what was written without a connection arrives once, from a browser’s own database too',
  async (stage) => {
    const server = await stage.server();
    const [witness] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
    for (const [index, kind] of Object.keys(KINDS).entries()) {
      const line = `line of ${kind};`;
      const offline = new Y.Doc();
      const kept = new IndexeddbPersistence(`diary-${index}`, offline);
      await kept.whenSynced;
      offline.getText('text').insert(0, line);
      await until('the database to have it', async () => (await kept._db) && kept._dbsize > 0);
      await kept.destroy();
      // Another day: the page is opened anew.
      const doc = new Y.Doc();
      const database = new IndexeddbPersistence(`diary-${index}`, doc);
      stage.own({ destroy: () => database.destroy() });
      await database.whenSynced;
      assert.equal(doc.getText('text').toString(), line);
      const [writer] = await openAll(stage, server, 'diary', [kind], { doc });
      await until(`${kind}’s line to arrive`, () => witness.text.toString().includes(line));
      // Connecting again brings nothing twice.
      writer.disconnect();
      writer.connect();
      await until(`${kind} to be in sync again`, () => writer.isSynced());
    }
    const [newcomer] = await openAll(stage, server, 'diary', ['Hocuspocus 4']);
    await until('a newcomer to have all', () => everyoneHas([witness, newcomer]));
    const text = witness.text.toString();
    for (const kind of Object.keys(KINDS))
      assert.equal(text.split(`line of ${kind};`).length, 2, `${kind}: once`);
  },
);

scenario('the next major version learns that its changes have arrived', async (stage) => {
  const server = await stage.server();
  const doc = new YNext.Doc();
  const provider = new ProviderNext(`${server.url.replace(/^http/, 'ws')}/yjs`, 'tomorrow', doc, {
    WebSocketPolyfill: WebSocket,
    disableBc: true,
  });
  stage.own({
    destroy() {
      provider.destroy();
      provider.awareness.destroy();
    },
  });
  const [today] = await openAll(stage, server, 'tomorrow', ['Hocuspocus 4']);
  await until('it to be in sync', () => provider.synced);
  for (let i = 0; i < 50; i++) doc.get('text').insert(0, `${i} `);
  await until(
    'all its changes to be confirmed',
    () => provider.unconfirmedUpdates === undefined || isEmpty(provider.unconfirmedUpdates),
  );
  await until('today’s to have them', () => today.text.toString() === doc.get('text').toString());
});

const isEmpty = (updates) => (updates.length ?? updates.size ?? updates.inserts?.clients?.size ?? 0) === 0;

scenario('a large document reaches somebody whose line is slow', async (stage) => {
  const server = await stage.server();
  const [writer] = await openAll(stage, server, 'library', ['y-websocket 3.0']);
  // Twice what may wait for one connection.
  const shelf = 'words and more words, none of them new. '.repeat(25_000);
  for (let i = 0; i < 32; i++) writer.text.insert(writer.text.length, `${i}${shelf}`);
  const [witness] = await openAll(stage, server, 'library', ['Hocuspocus 4']);
  await until('the whole document to be stored', () => witness.text.length === writer.text.length, 60_000);
  class SlowWebSocket extends WebSocket {
    constructor(...args) {
      super(...args);
      this.on('upgrade', (response) => {
        const timer = setInterval(() => {
          response.socket.pause();
          setTimeout(() => response.socket.resume(), 8);
        }, 10);
        this.on('close', () => clearInterval(timer));
      });
    }
  }
  const doc = new Y.Doc();
  const reader = await KINDS['y-websocket 3.0'](server, 'library', { doc, WebSocketPolyfill: SlowWebSocket });
  stage.own(reader);
  let closes = 0;
  reader.provider.on('connection-close', () => {
    closes += 1;
  });
  await until('the slow one to have it all', () => reader.text.length === writer.text.length, 60_000);
  assert.equal(closes, 0, 'in one go');
});

scenario('somebody who does not read is let go, and has everything after coming back', async (stage) => {
  const server = await stage.server({ BUILDSPACES_MAX_WAITING_BYTES: '1048576' });
  for (const kind of ['y-websocket 3.0', 'Hocuspocus 4', 'y-sweet 0.9']) {
    const name = `avalanche-${kind.replaceAll(/\W/g, '-')}`;
    const [writer, reader] = await openAll(stage, server, name, ['y-websocket 3.0', kind]);
    const { provider } = reader;
    const socket = provider.ws ?? provider.websocket ?? provider.configuration.websocketProvider.webSocket;
    let code = null;
    socket.addEventListener('close', (event) => {
      code = event.code;
    });
    const before = await letGo(server);
    socket._socket.pause();
    // More than the kernel's buffers and the server's bound hold together, and nothing in it can be merged away.
    const random = seeded(5);
    const lump = () =>
      Array.from({ length: 65_536 }, () => String.fromCharCode(32 + Math.floor(random() * 90))).join('');
    const map = writer.doc.getMap('lumps');
    for (let i = 0; i < 320; i++) {
      map.set(`lump-${i}`, lump());
      if (i % 10 === 0) await pause(5);
    }
    await until(`${kind} to be let go`, async () => (await letGo(server)) > before);
    socket._socket.resume();
    await until(`${kind} to hear of it`, () => code !== null);
    assert.ok([1013, 1006].includes(code), `${kind} was closed with ${code}`);
    await until(`${kind} to have all lumps`, () => reader.doc.getMap('lumps').size === 320);
  }
});

/** How many readers were too slow so far. */
async function letGo(server) {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^buildspaces_slow_readers_closed_total (\d+)/m.exec(text)?.[1] ?? 0);
}
