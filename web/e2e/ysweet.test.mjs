/** y-sweet's SDK and provider, moved here by changing a connection string. */
import assert from 'node:assert/strict';
import { DocumentManager } from '@y-sweet/sdk';
import WebSocket from 'ws';
import * as Y from 'yjs';
import { connectionString, KINDS, openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

const open = (stage, server, name, options) =>
  openAll(stage, server, name, ['y-sweet 0.9'], options).then(([client]) => client);

function sample(word) {
  const doc = new Y.Doc();
  doc.getText('text').insert(0, word);
  return doc;
}

const textOf = (update) => {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, update);
  return doc.getText('text').toString();
};

scenario(
  'the SDK creates documents, fills them, reads them, and gives out what clients connect with',
  async (stage) => {
    const server = await stage.server();
    const manager = new DocumentManager(connectionString(server));
    assert.deepEqual(await manager.checkStore(), { ok: true });
    assert.deepEqual(await (await fetch(`${server.url}/check_store`)).json(), { ok: true });
    assert.deepEqual(await (await fetch(`${server.url}/ready`)).json(), { ok: true });

    const { docId } = await manager.createDoc();
    assert.match(docId, /^[\w-]{20,}$/);
    assert.deepEqual(await manager.createDoc('My_doc-123'), { docId: 'My_doc-123' });
    assert.deepEqual(await manager.createDoc('My_doc-123'), { docId: 'My_doc-123' }, 'twice is once');
    await assert.rejects(manager.createDoc('my doc!'), /400/);
    await assert.rejects(manager.getClientToken('nobody-made-it'), /404/);

    const token = await manager.getClientToken(docId);
    const host = server.url.replace('http://', '');
    assert.deepEqual(token, {
      url: `ws://${host}/d/${docId}/ws`,
      baseUrl: `http://${host}/d/${docId}`,
      docId,
      authorization: 'full',
    });
    const bare = await fetch(`${server.url}/doc/${docId}/auth`, { method: 'POST' });
    assert.equal((await bare.json()).authorization, 'full', 'without a body');
    assert.equal(
      (await manager.getClientToken(docId, { authorization: 'read-only' })).authorization,
      'read-only',
    );

    await manager.updateDoc(docId, Y.encodeStateAsUpdate(sample('Hello')));
    assert.equal(textOf(await manager.getDocAsUpdate(docId)), 'Hello');
    const filled = await manager.createDocWithContent(Y.encodeStateAsUpdate(sample('initial content')));
    await server.kill();
    await server.start();
    assert.equal(textOf(await manager.getDocAsUpdate(filled.docId)), 'initial content', 'it was on disk');
    await manager.getClientToken('My_doc-123');

    // As old SDKs do it.
    const old = `${server.url}/doc/${docId}`;
    const body = Y.encodeStateAsUpdate(sample('old '));
    assert.equal((await fetch(`${old}/update`, { method: 'POST', body })).status, 200);
    assert.match(textOf(new Uint8Array(await (await fetch(`${old}/as-update`)).arrayBuffer())), /old /);
    const broken = await fetch(`${server.url}/d/${docId}/update`, { method: 'POST', body: 'no update' });
    assert.equal(broken.status, 400);
  },
);

scenario('the provider knows what is not saved yet, and a crash proves it right', async (stage) => {
  const server = await stage.server();
  const client = await open(stage, server, 'ledger');
  await until('the greeting to be acknowledged', () => !client.provider.hasLocalChanges);
  const heard = [];
  client.provider.on('local-changes', (has) => heard.push(has));
  for (let i = 0; i < 100; i++) client.text.insert(client.text.length, `entry ${i}\n`);
  assert.ok(client.provider.hasLocalChanges);
  await until('all to be acknowledged', () => !client.provider.hasLocalChanges);
  assert.deepEqual(heard, [true, false]);
  await server.kill();
  await server.start();
  const other = await open(stage, server, 'ledger');
  assert.equal(other.text.toString(), client.text.toString());
  await until('the first to be back', () => client.isSynced());
});

scenario('old addresses lead to the same document', async (stage) => {
  const server = await stage.server();
  const client = await open(stage, server, 'moved');
  client.text.insert(0, 'here');
  await until('it to be saved', () => !client.provider.hasLocalChanges);
  const ws = server.url.replace(/^http/, 'ws');
  const old = await KINDS['y-websocket 3.0']({ url: server.url }, 'moved', {});
  stage.own(old);
  for (const path of ['/doc/ws/moved', '/d/moved/ws/moved']) {
    const socket = new WebSocket(`${ws}${path}`);
    stage.own({ destroy: () => socket.terminate() });
    const first = await new Promise((done, fail) => {
      socket.once('message', (data) => done(new Uint8Array(data)));
      socket.once('error', fail);
    });
    assert.deepEqual([...first.slice(0, 2)], [0, 0], `${path} greets with the server's state vector`);
  }
  await until('the others to have it', () => old.text.toString() === 'here');
});

scenario('behind a proxy clients are sent to the public address', async (stage) => {
  const server = await stage.server({ BUILDSPACES_PUBLIC_URL: 'https://rooms.example/sync/' });
  const manager = new DocumentManager(connectionString(server));
  const { url, baseUrl } = await manager.getOrCreateDocAndToken('far-away');
  assert.equal(url, 'wss://rooms.example/sync/d/far-away/ws');
  assert.equal(baseUrl, 'https://rooms.example/sync/d/far-away');
});

scenario(
  'with keys an app hands out tokens for one document, for reading or writing, for a while',
  async (stage) => {
    const serverToken = 'an-administrator-s-token-of-some-length';
    const server = await stage.server({
      BUILDSPACES_AUTH_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
      BUILDSPACES_AUTH_ADMIN_TOKEN: serverToken,
    });
    const manager = new DocumentManager(connectionString(server, serverToken));
    await assert.rejects(new DocumentManager(connectionString(server)).createDoc('mine'), /auth/i);
    await manager.createDoc('mine');
    await manager.createDoc('yours');
    const writer = await open(stage, server, 'mine', { serverToken });
    writer.text.insert(0, 'written');
    await until('it to be saved', () => !writer.provider.hasLocalChanges);

    // A reader sees it, is not believed to have saved anything, and changes nothing.
    const reader = await open(stage, server, 'mine', { serverToken, authorization: 'read-only' });
    await until('the reader to have it', () => reader.text.toString() === 'written');
    await until('the reader to know that nothing is unsaved', () => !reader.provider.hasLocalChanges);
    reader.text.insert(0, 'forged ');
    const readOnly = await manager.getClientToken('mine', { authorization: 'read-only', userId: 'somebody' });
    const body = Y.encodeStateAsUpdate(reader.doc);
    const headers = { authorization: `Bearer ${readOnly.token}` };
    assert.equal((await fetch(`${readOnly.baseUrl}/update`, { method: 'POST', body, headers })).status, 403);
    assert.equal(textOf(await manager.getDocAsUpdate('mine')), 'written');
    assert.ok(reader.provider.hasLocalChanges, 'the reader is not told that it is saved');

    // For one document, and not without a token.
    const other = `${server.url}/d/yours/as-update`;
    assert.equal((await fetch(other, { headers })).status, 403);
    assert.equal((await fetch(other)).status, 401);
    const socket = new WebSocket(`${readOnly.url}/mine`);
    stage.own({ destroy: () => socket.terminate() });
    assert.equal(await new Promise((done) => socket.once('close', done)), 4401);

    const brief = await manager.getDocConnection('mine', { validForSeconds: 1 });
    await until('a brief token to end', () =>
      brief.getAsUpdate().then(
        () => false,
        (error) => /auth/i.test(error.message),
      ),
    );
  },
);
