/** What an OpenTelemetry collector is told: each step of a keystroke, by the names of docs/keystroke.md. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

const STEPS = [
  'next',
  'decode',
  'receive',
  'check',
  'admit',
  'apply',
  'edited',
  'end_updates',
  'perform',
  'push',
  'write_once',
  'commit',
  'Durable',
];

scenario('a collector hears of each step from a socket to the disk', async (stage) => {
  const heard = [];
  const collector = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    heard.push({ path: request.url, type: request.headers['content-type'], body });
    response.end();
  });
  await new Promise((done) => collector.listen(0, '127.0.0.1', done));
  stage.own({ destroy: () => collector.close() });
  const server = await stage.server({
    BUILDSPACES_OTLP_ENDPOINT: `http://127.0.0.1:${collector.address().port}`,
    BUILDSPACES_OTLP_SHARE: '1',
  });
  const [ada, bo] = await openAll(stage, server, 'notes', ['y-websocket 3.0', 'Hocuspocus 4']);
  ada.doc.getText('text').insert(0, 'a');
  await until('the edit to arrive', () => bo.doc.getText('text').toString() === 'a');
  // A name is a string of the message: its length, then its letters.
  const isNamed = (name, { body }) => body.includes(`${String.fromCharCode(name.length)}${name}`);
  await until('every step to be told', () => {
    const missing = STEPS.filter((name) => !heard.some((request) => isNamed(name, request)));
    if (missing.length > 0) throw new Error(`not told: ${missing.join(', ')}`);
    return true;
  });
  for (const { path, type } of heard)
    assert.deepEqual([path, type], ['/v1/traces', 'application/x-protobuf']);
  assert.ok(heard.some((request) => isNamed('buildspaces', request)));
});
