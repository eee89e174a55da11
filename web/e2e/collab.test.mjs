/** The Hocuspocus protocol, as its own providers speak it and as hostile programs do. */
import assert from 'node:assert/strict';
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider';
import {
  HocuspocusProvider as Provider3,
  HocuspocusProviderWebsocket as Socket3,
} from '@hocuspocus/provider-3';
import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import WebSocket from 'ws';
import { hocuspocusSocket, onSocket } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { until } from './support/wait.mjs';

/** Both versions that are in use. */
const VERSIONS = [
  ['3', Provider3, Socket3],
  ['4', HocuspocusProvider, HocuspocusProviderWebsocket],
];

const SYNC = 0;
const SYNC_STATUS = 8;

scenario('every change is acknowledged once, and only when a crash cannot undo it', async (stage) => {
  for (const [version, Provider, Socket] of VERSIONS) {
    const server = await stage.server();
    const { sent, received, WebSocketPolyfill } = recording();
    const mine = hocuspocusSocket(stage, server, { WebSocketPolyfill }, Socket);
    const client = onSocket(stage, mine, 'ledger', {}, Provider);
    await until(
      'the greeting to be acknowledged',
      () => client.isSynced() && client.provider.unsyncedChanges === 0,
    );
    for (let i = 0; i < 100; i++) client.text.insert(client.text.length, `entry ${i}\n`);
    assert.equal(client.provider.unsyncedChanges, 100, 'nothing is acknowledged in advance');
    await until('all to be acknowledged', () => client.provider.unsyncedChanges === 0);
    await server.kill();
    const answered = received.filter(({ kind }) => kind === SYNC_STATUS);
    const wanted = sent.filter(({ kind, sub }) => kind === SYNC && sub !== 0);
    assert.equal(answered.length, wanted.length, `version ${version}: one status for each message`);
    assert.ok(answered.every(({ sub }) => sub === 1));
    await server.start();
    const other = onSocket(stage, hocuspocusSocket(stage, server, {}, Socket), 'ledger', {}, Provider);
    await until('somebody else to be in sync', () => other.isSynced());
    assert.equal(other.text.toString(), client.text.toString());
  }
});

scenario('whoever may only read is refused message by message', async (stage) => {
  const server = await stage.server();
  const person = await server.person('Ada');
  const room = await person.createRoom('python');
  for (const [version, Provider, Socket] of VERSIONS) {
    const { received, WebSocketPolyfill } = recording();
    const socket = hocuspocusSocket(stage, server, { WebSocketPolyfill }, Socket);
    const tree = onSocket(stage, socket, `${room.id}/tree:main`, { token: person.token }, Provider);
    await until('the tree to be in sync', () => tree.isSynced() && tree.scopes.length > 0);
    assert.deepEqual(tree.scopes, ['readonly'], `version ${version}`);
    // Answering the server's greeting with nothing new is no attempt to write.
    await until('the greeting to be acknowledged', () => tree.provider.unsyncedChanges === 0);
    tree.doc.getMap('nodes').set('forged', { id: 'forged', name: 'forged', kind: 'text' });
    await until('the change to be refused', () =>
      received.some(({ kind, sub }) => kind === SYNC_STATUS && sub === 0),
    );
    assert.equal(tree.provider.unsyncedChanges, 1, 'the provider knows that it is not saved');
    assert.deepEqual(socket.closes, [], 'the connection goes on');
    const fresh = onSocket(stage, hocuspocusSocket(stage, server), `${room.id}/tree:main`, {
      token: person.token,
    });
    await until('somebody else to be in sync', () => fresh.isSynced());
    assert.ok(!fresh.doc.getMap('nodes').has('forged'));
    // Coming back with it is an attempt to write too.
    const before = received.length;
    socket.disconnect();
    await until('the connection to be gone', () => socket.closes.length === 1);
    socket.connect();
    await until('the change to be refused again', () =>
      received.slice(before).some(({ kind, sub }) => kind === SYNC_STATUS && sub === 0),
    );
  }
});

scenario(
  'who is turned away may try again on the same socket, and the neighbours do not notice',
  async (stage) => {
    const server = await stage.server();
    const person = await server.person('Ada');
    const room = await person.createRoom('python');
    for (const [version, Provider, Socket] of VERSIONS) {
      const socket = hocuspocusSocket(stage, server, {}, Socket);
      const plain = onSocket(stage, socket, `plain-${version}`, {}, Provider);
      let token = 'nonsense';
      const tree = onSocket(stage, socket, `${room.id}/tree:main`, { token: () => token }, Provider);
      await until('the plain document to be in sync', () => plain.isSynced());
      await until('the wrong token to be refused', () => tree.denials.length === 1);
      assert.ok(tree.denials[0].length > 0, 'with a reason');
      assert.ok(!tree.isSynced() && tree.scopes.length === 0);
      token = '';
      await tree.provider.sendToken();
      await until('no token to be refused', () => tree.denials.length === 2);
      token = person.token;
      await tree.provider.sendToken();
      tree.provider.startSync();
      await until(
        'the right token to let them in',
        () => tree.isSynced() && tree.doc.getMap('nodes').size > 0,
      );
      plain.text.insert(0, 'still here');
      await until('the neighbour’s change to be saved', () => plain.provider.unsyncedChanges === 0);
      assert.deepEqual(socket.closes, []);
    }
  },
);

scenario('many documents share a socket, each with its own text, people and end', async (stage) => {
  const server = await stage.server();
  const [mine, yours] = [hocuspocusSocket(stage, server), hocuspocusSocket(stage, server)];
  const names = Array.from({ length: 40 }, (_, index) => `volume ${index} / ⅷ`);
  const open = (socket) => names.map((name) => onSocket(stage, socket, name));
  const [here, there] = [open(mine), open(yours)];
  await until('all to be in sync', () => [...here, ...there].every((one) => one.isSynced()));
  for (const [index, one] of here.entries()) {
    one.text.insert(0, `text of ${index}`);
    one.awareness.setLocalStateField('page', index);
  }
  await until('each text to be where it belongs', () =>
    there.every((one, index) => one.text.toString() === `text of ${index}`),
  );
  await until('each reader to be where they belong', () =>
    there.every((one, index) => one.awareness.getStates().get(here[index].doc.clientID)?.page === index),
  );
  // One is closed; the others stay.
  here[0].provider.destroy();
  await until('its reader to be gone', () => !there[0].awareness.getStates().has(here[0].doc.clientID));
  there[1].text.insert(0, 'more ');
  await until('the next to go on', () => here[1].text.toString().startsWith('more '));
  there[0].text.insert(0, 'unheard ');
  await until('a change of the closed one to be saved', () => there[0].provider.unsyncedChanges === 0);
  assert.ok(!here[0].text.toString().startsWith('unheard'));
  // And opened again on the same socket.
  const again = onSocket(stage, mine, names[0]);
  await until(
    'it to be opened again',
    () => again.isSynced() && again.text.toString().startsWith('unheard '),
  );
  assert.deepEqual([...mine.closes, ...yours.closes], []);
});

scenario('two views of one document share a socket under addresses of their own', async (stage) => {
  const server = await stage.server();
  const socket = hocuspocusSocket(stage, server);
  const view = (extra) => onSocket(stage, socket, 'plan', { sessionAwareness: true, ...extra });
  const [left, right] = [view(), view()];
  const far = onSocket(stage, hocuspocusSocket(stage, server), 'plan');
  await until('all to be in sync', () => [left, right, far].every((one) => one.isSynced()));
  left.text.insert(0, 'from the left');
  await until('the other view to have it', () => right.text.toString() === 'from the left');
  await until('somebody far away to have it', () => far.text.toString() === 'from the left');
  left.awareness.setLocalStateField('side', 'left');
  right.awareness.setLocalStateField('side', 'right');
  const sides = (one) =>
    [...one.awareness.getStates().values()]
      .map(({ side }) => side)
      .filter(Boolean)
      .sort();
  await until('everybody to see both', () =>
    [left, right, far].every((one) => sides(one).join() === 'left,right'),
  );
  left.provider.destroy();
  await until('one view to be gone', () => sides(far).join() === 'right');
  right.text.insert(0, 'right goes on ');
  await until('the other to go on', () => far.text.toString().startsWith('right goes on '));
  assert.deepEqual(socket.closes, []);
});

scenario('an application’s own messages reach the others in the document', async (stage) => {
  const server = await stage.server();
  const [one, two, three] = VERSIONS.concat([VERSIONS[1]]).map(([, Provider, Socket]) =>
    onSocket(stage, hocuspocusSocket(stage, server, {}, Socket), 'choir', {}, Provider),
  );
  const elsewhere = onSocket(stage, hocuspocusSocket(stage, server), 'another choir');
  await until('all to be in sync', () => [one, two, three, elsewhere].every((client) => client.isSynced()));
  const song = JSON.stringify({ song: 'Für Elise', notes: [1, 2, 3] });
  one.provider.sendStateless(song);
  await until('the others to have it', () => [two, three].every((client) => client.stateless.includes(song)));
  elsewhere.provider.sendStateless('done');
  three.provider.sendStateless('done');
  await until('the answer', () => one.stateless.includes('done'));
  assert.deepEqual(elsewhere.stateless, [], 'other documents hear nothing');
});

scenario('asking again for a sync is answered and counted', async (stage) => {
  const server = await stage.server();
  for (const [, Provider, Socket] of VERSIONS) {
    const client = onSocket(stage, hocuspocusSocket(stage, server, {}, Socket), 'echo', {}, Provider);
    await until('it to be in sync', () => client.isSynced() && client.provider.unsyncedChanges === 0);
    for (let i = 0; i < 5; i++) {
      client.provider.forceSync();
      await until('the sync to be acknowledged', () => client.provider.unsyncedChanges === 0);
    }
  }
});

scenario('what comes before a token is kept for a while and within bounds', async (stage) => {
  const server = await stage.server();
  const bystander = onSocket(stage, hocuspocusSocket(stage, server), 'market');
  await until('the bystander to be in sync', () => bystander.isSynced());
  const closedAfter = async (what, frames) => {
    const socket = await raw(stage, server);
    for (const frame of frames) socket.send(frame);
    return until(`${what} to end the connection`, () => socket.closeCode);
  };
  const stepOne = (name) => address(name, 0, 0, 1, 0);
  assert.equal(await closedAfter('4,001 messages', Array(4001).fill(stepOne('market'))), 4205);
  const large = Buffer.concat([address('market', 0, 2), varUint(1 << 20), new Uint8Array(1 << 20)]);
  assert.equal(await closedAfter('6 MiB', Array(6).fill(large)), 4205);
  const many = Array.from({ length: 1001 }, (_, index) => stepOne(`market-${index}`));
  assert.equal(await closedAfter('1,001 documents', many), 4205);
  assert.equal(await closedAfter('a message of servers', [address('market', 6, 1, 120)]), 4205);
  // Within bounds everything is answered after the token, in order.
  const patient = await raw(stage, server);
  for (let i = 0; i < 999; i++) patient.send(stepOne('market'));
  patient.send(token('market', ''));
  await until('all to be answered', () => patient.messages.filter((m) => sync(m) === 1).length === 999);
  assert.deepEqual(patient.messages[0], authenticated('market'));
  assert.deepEqual(bystander.closes, []);
});

scenario('a frame that is no message ends its own connection and nothing else', async (stage) => {
  const server = await stage.server();
  const socket = hocuspocusSocket(stage, server);
  const bystander = onSocket(stage, socket, 'market');
  await until('the bystander to be in sync', () => bystander.isSynced());
  const endless = new Uint8Array(12).fill(0xff);
  const hostile = [
    ['nothing', new Uint8Array()],
    ['no name', Uint8Array.of(0, 0, 0, 1, 0)],
    ['half a name', Uint8Array.of(9, 97)],
    ['a name that is not UTF-8', Uint8Array.of(1, 0xff, 0)],
    ['a name without a message', address('market')],
    ['an unknown kind', address('market', 99)],
    ['an endless number', Uint8Array.of(...address('market'), ...endless)],
    ['an update of 40 hostile bytes', address('market', 0, 2, 40, ...new Array(40).fill(0xff))],
    ['a state vector of very many', address('market', 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 1)],
    ['awareness of very many', address('market', 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f)],
    ['awareness that is not JSON', address('market', 1, 5, 1, 7, 1, 1, 0x7b)],
    ['more than a message', address('market', 0, 0, 1, 0, 3)],
    ['a text frame', 'hello'],
  ];
  for (const [what, bytes] of hostile) {
    const attacker = await raw(stage, server);
    attacker.send(token('market', ''));
    await until('the attacker to be let in', () => attacker.messages.length > 0);
    attacker.send(bytes);
    assert.equal(await until(`${what} to end the connection`, () => attacker.closeCode), 1002, what);
  }
  const huge = await raw(stage, server);
  huge.send(token('market', ''));
  await until('whoever sends much to be let in', () => huge.messages.length > 0);
  huge.send(new Uint8Array(17 << 20));
  assert.equal(await until('a frame too large to end the connection', () => huge.closeCode), 1009);
  bystander.text.insert(0, 'wares');
  await until('the bystander’s change to be saved', () => bystander.provider.unsyncedChanges === 0);
  assert.deepEqual(socket.closes, []);
});

scenario(
  'a server that stops tells everybody to come back, and everything acknowledged is there',
  async (stage) => {
    const server = await stage.server();
    const socket = hocuspocusSocket(stage, server);
    const clients = ['one', 'two'].map((name) => onSocket(stage, socket, name));
    await until('all to be in sync', () => clients.every((client) => client.isSynced()));
    for (const client of clients) client.text.insert(0, 'kept');
    await server.stop();
    await until('the close', () => socket.closes.length > 0);
    assert.equal(socket.closes[0], 1012);
    for (const client of clients) client.text.insert(0, 'and ');
    await server.start();
    await until('all to be in sync again', () =>
      clients.every((client) => client.isSynced() && client.provider.unsyncedChanges === 0),
    );
    const other = onSocket(stage, hocuspocusSocket(stage, server), 'one');
    await until('all of it to be there', () => other.text.toString() === 'and kept');
  },
);

scenario('a token that ends is replaced on the open connection, or the document ends', async (stage) => {
  const environment = { BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef' };
  const server = await stage.server(environment);
  const mint = async (...args) => {
    const { code, output } = await runProgram(['token', ...args], environment);
    assert.equal(code, 0, output);
    return output.trim();
  };
  const short = await mint('--role', 'viewer', '--expires', '32s');
  const ends = Date.now() + 32_000;
  const long = await mint('--role', 'editor');
  const pairs = VERSIONS.map(([version, Provider, Socket]) => {
    const socket = hocuspocusSocket(stage, server, {}, Socket);
    let asked = 0;
    // The server asks half a minute before the end.
    const token = async () => (asked++ === 0 ? short : long);
    const renewed = onSocket(stage, socket, `ledger-${version}`, { token }, Provider);
    const left = onSocket(stage, socket, `diary-${version}`, { token: short }, Provider);
    return { version, socket, renewed, left, asked: () => asked };
  });
  await until('all to be in sync', () =>
    pairs.every(({ renewed, left }) => renewed.isSynced() && left.isSynced()),
  );
  await until('the server to ask for another token', () => pairs.every(({ asked }) => asked() === 2));
  await until('what it allows to count', () =>
    pairs.every(({ renewed }) => renewed.scopes.at(-1) === 'read-write'),
  );
  for (const { renewed } of pairs) renewed.text.insert(0, 'written');
  const isSaved = () => pairs.every(({ renewed }) => renewed.provider.unsyncedChanges === 0);
  await until('a change to be saved', isSaved);
  await until(
    'the documents to end whose token was not replaced',
    () => pairs.every(({ left }) => left.denials.length === 1),
    60_000,
  );
  assert.ok(Date.now() >= ends - 1000, 'not before its time');
  for (const { version, socket, renewed, left } of pairs) {
    assert.match(left.denials[0], /expired/, `version ${version}`);
    assert.deepEqual(renewed.scopes, ['readonly', 'read-write'], `version ${version}`);
    assert.deepEqual([renewed.denials, socket.closes], [[], []], `version ${version}`);
    renewed.text.insert(0, 'still ');
  }
  await until('a change after the first token’s end to be saved', isSaved);
});

/** What a frame says: kind, and the byte behind it. */
function kindOf(bytes) {
  const decoder = decoding.createDecoder(bytes);
  decoding.readVarString(decoder);
  const kind = decoding.readVarUint(decoder);
  return { kind, sub: decoding.hasContent(decoder) ? decoding.readVarUint(decoder) : null };
}

/** A WebSocket that notes what is sent and received. */
function recording() {
  const [sent, received] = [[], []];
  class WebSocketPolyfill extends WebSocket {
    constructor(...args) {
      super(...args);
      this.on('message', (data) => received.push(kindOf(new Uint8Array(data))));
    }
    send(data) {
      sent.push(kindOf(data));
      super.send(data);
    }
  }
  return { sent, received, WebSocketPolyfill };
}

/** The kind of a sync message, or null. */
function sync(bytes) {
  const { kind, sub } = kindOf(bytes);
  return kind === SYNC ? sub : null;
}

function varUint(number) {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, number);
  return encoding.toUint8Array(encoder);
}

/** An addressed frame with these bytes behind the address. */
function address(name, ...rest) {
  const encoder = encoding.createEncoder();
  encoding.writeVarString(encoder, name);
  return Uint8Array.of(...encoding.toUint8Array(encoder), ...rest);
}

function token(name, text) {
  const encoder = encoding.createEncoder();
  encoding.writeVarString(encoder, text);
  return address(name, 2, 0, ...encoding.toUint8Array(encoder));
}

function authenticated(name) {
  const encoder = encoding.createEncoder();
  encoding.writeVarString(encoder, 'read-write');
  return address(name, 2, 2, ...encoding.toUint8Array(encoder));
}

/** A connection that keeps what it is sent. */
async function raw(stage, server) {
  const socket = new WebSocket(`${server.url.replace(/^http/, 'ws')}/collab`);
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
