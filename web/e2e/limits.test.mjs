/** Who comes to a limit is told by the code that the documentation has, and the operator can count it. */
import assert from 'node:assert/strict';
import * as encoding from 'lib0/encoding';
import WebSocket from 'ws';
import * as Y from 'yjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

/** A message from its parts: numbers, texts, and bytes with their length. */
function message(...parts) {
  const encoder = encoding.createEncoder();
  for (const part of parts) {
    if (typeof part === 'number') encoding.writeVarUint(encoder, part);
    else if (typeof part === 'string') encoding.writeVarString(encoder, part);
    else encoding.writeVarUint8Array(encoder, part);
  }
  return encoding.toUint8Array(encoder);
}

const [SYNC, AUTH, STEP_1, UPDATE, TOKEN, DENIED] = [0, 2, 0, 2, 0, 1];

/** A text of so many characters, as an update. */
function written(length) {
  const doc = new Y.Doc();
  doc.getText('text').insert(0, 'x'.repeat(length));
  return Y.encodeStateAsUpdate(doc);
}

async function connect(stage, server, path, headers = {}) {
  const socket = new WebSocket(`${server.url.replace(/^http/, 'ws')}${path}`, { headers });
  const seen = { socket, code: null, messages: [] };
  socket.on('message', (data) => seen.messages.push(new Uint8Array(data)));
  socket.on('close', (code) => {
    seen.code = code;
  });
  socket.on('error', () => undefined);
  stage.own({ destroy: () => socket.terminate() });
  await until('a connection', () => socket.readyState !== WebSocket.CONNECTING);
  return seen;
}

/** A counter of `/metrics`, with one label. */
async function counted(server, name, label) {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((line) => line.startsWith(`${name}{${label}} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

scenario('who comes to a limit is told by its code, and is counted', async (stage) => {
  const server = await stage.server({
    BUILDSPACES_MAX_DOCUMENT_MIB: '1',
    BUILDSPACES_MAX_FRAME_BYTES: String(4 << 20),
    BUILDSPACES_LIMITS_DOCUMENTS_PER_SOCKET: '2',
    BUILDSPACES_LIMITS_CONNECTIONS_PER_ADDRESS: '2',
    BUILDSPACES_LIMITS_BEHIND_PROXY: 'true',
    BUILDSPACES_LIMITS_MESSAGES_PER_SECOND: '1',
    BUILDSPACES_LIMITS_MESSAGES_BURST: '100',
  });
  const stepOne = message(SYNC, STEP_1, Uint8Array.of(0));
  const cases = [
    ['a document that is too large', 4413, [message(SYNC, UPDATE, written(1_500_000))]],
    ['messages that come too fast', 1008, Array(200).fill(stepOne)],
    ['a frame that is too large', 1009, [new Uint8Array(5 << 20)]],
    ['what is no message', 1002, [Uint8Array.of(0, 2, 40, ...Array(40).fill(0xff))]],
    ['a text that is none', 1007, [{ text: Buffer.of(0xff, 0xfe) }]],
  ];
  for (const [what, code, frames] of cases) {
    const client = await connect(stage, server, '/yjs/limits');
    for (const frame of frames) client.socket.send(frame.text ?? frame, { binary: !frame.text });
    await until(`${what} to end the connection`, () => client.code !== null);
    assert.equal(client.code, code, what);
    assert.equal(await counted(server, 'buildspaces_connections_closed_total', `code="${code}"`), 1, what);
  }
  for (const [limit, times] of [
    ['message_rate', 1],
    ['frame_bytes', 1],
  ])
    assert.equal(await counted(server, 'buildspaces_limited_total', `limit="${limit}"`), times, limit);

  // One address on the other side of a proxy.
  const headers = { 'x-forwarded-for': '203.0.113.7' };
  const [first, second] = [
    await connect(stage, server, '/yjs/limits', headers),
    await connect(stage, server, '/yjs/limits', headers),
  ];
  const third = await connect(stage, server, '/yjs/limits', headers);
  await until('one too many to be let go', () => third.code !== null);
  assert.equal(third.code, 4529);
  assert.deepEqual([first.code, second.code], [null, null]);
  assert.equal(await counted(server, 'buildspaces_limited_total', 'limit="connections_address"'), 1);

  // On a socket of many documents only the one is denied that is too much.
  const many = await connect(stage, server, '/collab');
  const answers = (name) => many.messages.filter((found) => isFor(found, name));
  for (const name of ['one', 'two', 'three']) many.socket.send(message(name, AUTH, TOKEN, ''));
  await until('all to be answered', () => ['one', 'two', 'three'].every((name) => answers(name).length > 0));
  assert.deepEqual(kinds(answers('three')[0], 'three'), [AUTH, DENIED]);
  assert.equal(await counted(server, 'buildspaces_limited_total', 'limit="documents"'), 1);
  many.socket.send(message('one', SYNC, UPDATE, written(1_500_000)));
  await until('the large document to be denied', () =>
    answers('one').some((found) => kinds(found, 'one').join() === [AUTH, DENIED].join()),
  );
  many.socket.send(message('two', SYNC, UPDATE, written(5)));
  // Kind 8 is SyncStatus.
  await until('the other to go on', () =>
    answers('two').some((found) => kinds(found, 'two').join() === '8,1'),
  );
  assert.equal(many.code, null);
});

const prefix = (name) => message(name);
const isFor = (found, name) => prefix(name).every((byte, at) => found[at] === byte);

/** The two numbers behind an address that say what a message is. */
function kinds(found, name) {
  const at = prefix(name).length;
  return [...found.slice(at, at + 2)];
}
