/** Secrets of a room: a host sets one from the page, a step uses it, and nobody reads it anywhere. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pythonTest, runEnded, write } from './support/clients.mjs';
import { inspect } from './support/docker.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram, temporaryFolder } from './support/server.mjs';
import { until } from './support/wait.mjs';

const VALUE = 's3cr3t/t0ken+of=ada';
/** What a step prints of it, on purpose. */
const PRINTS = [
  'import base64, os, urllib.parse',
  'value = os.environ["API_TOKEN"]',
  'print("plain:", value)',
  'print("base64:", base64.b64encode(value.encode()).decode())',
  'print("within:", base64.urlsafe_b64encode(b"user:" + value.encode() + b"!").decode())',
  'print("url:", urllib.parse.quote(value, safe=""))',
  'print("hex:", value.encode().hex())',
  'print("pieces:", end=" ", flush=True)',
  'for letter in value: print(letter, end="", flush=True); time.sleep(0.03)',
  'print()',
];
const spellings = [
  VALUE,
  Buffer.from(VALUE).toString('base64').slice(0, 20),
  Buffer.from(VALUE).toString('hex'),
  encodeURIComponent(VALUE),
];

function key() {
  const file = join(temporaryFolder(), 'key');
  writeFileSync(file, `${'0123456789abcdef'.repeat(4)}\n`);
  return file;
}

/** Files below a folder that hold one of the spellings. */
function leaks(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => spellings.some((text) => readFileSync(file).includes(text)));
}

const clean = (what, text) => {
  for (const spelling of spellings) assert.ok(!text.includes(spelling), `${what} holds ${spelling}`);
};

async function add(person, name, value) {
  await person.get('secret-add').click();
  await person.get('secret-name').fill(name);
  await person.get('secret-value').fill(value);
  await person.get('secret-save').click();
}

scenario('a secret is set in the page, used by a step, and read by nobody', async (stage) => {
  const environment = { BUILDSPACES_SECRETS_KEY_FILE: key(), BUILDSPACES_LOG: 'debug' };
  const server = await stage.server(environment);
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  assert.equal(await bob.get('secrets').count(), 0, 'secrets are hosts’ business');

  // With the keyboard alone.
  const keys = ada.page.keyboard;
  await ada.get('secrets').focus();
  await keys.press('Enter');
  await ada.get('secrets-empty').waitFor();
  await ada.get('secret-add').focus();
  await keys.press('Enter');
  await keys.type('API TOKEN');
  await keys.press('Enter');
  assert.match(await ada.get('secret-problem').innerText(), /letters, digits and underscores/);
  await keys.press('Control+A');
  await keys.type('API_TOKEN');
  await keys.press('Tab');
  await keys.press('Tab');
  await keys.type('short');
  await keys.press('Tab');
  await keys.press('Tab');
  await keys.press('Tab');
  await keys.press('Enter');
  assert.match(await ada.get('secret-problem').innerText(), /8 characters or more/);
  await ada.get('secret-value').fill(VALUE);
  await ada.get('secret-save').click();
  const row = ada.page.locator('[data-testid="secret"][data-name="API_TOKEN"]');
  await row.waitFor();
  assert.match(await row.innerText(), /variable \$API_TOKEN[\s\S]*Given to Tests[\s\S]*not used yet/);
  await keys.press('Escape');
  await ada.get('secrets-dialog').waitFor({ state: 'detached' });
  clean('the page', await ada.page.content());

  const api = await server.person('Witness');
  await write(api, room, 'test_basket.py', pythonTest(...PRINTS));
  const watcher = stage.client(server.url, `${room}/runs:main`, api);
  const shown = [];
  watcher.doc.on('update', () => shown.push(JSON.stringify(watcher.doc.getMap('logs').toJSON())));
  await ada.get('run-now').click();
  const run = await until('a run', async () => (await api.runs(room))[0]);
  assert.equal((await runEnded(api, room, run.id)).state, 'passed', await api.runLog(room, run.id));
  const log = await api.runLog(room, run.id);
  for (const line of ['plain: ***', 'base64: ***', 'url: ***', 'hex: ***', 'pieces: ***'])
    assert.ok(log.includes(`${line}\n`) || log.includes(`${line}=\n`), `${line} is not in ${log}`);
  assert.match(log, /within: dXNlcj.?\*\*\*IQ==\n/);
  clean('the log', log);
  const detail = await ada.detail(run.id);
  await until('the masked log in the page', async () =>
    (await detail.getByTestId('run-log').innerText()).includes('plain: ***'),
  );
  clean('the page', await ada.page.content());
  for (const picture of shown) clean('the document', picture);
  assert.ok(shown.some((picture) => picture.includes('plain: ***')));
  const [container] = await server.containers();
  clean('docker inspect', JSON.stringify(await inspect(container)));
  clean('the server’s log', server.log);
  assert.deepEqual(leaks(server.data), []);

  assert.deepEqual([...ada.problems, ...bob.problems], []);

  // It is still there after a restart, and an archive does not have it.
  assert.equal(await server.stop(), 0);
  assert.deepEqual(leaks(server.data), []);
  const archive = join(temporaryFolder(), 'room.tar');
  const exported = await runProgram(['export', '--room', room, '--data', server.data, '-o', archive]);
  assert.equal(exported.code, 0, exported.output);
  const bytes = readFileSync(archive);
  assert.ok(bytes.includes('test_basket.py') && !bytes.includes('API_TOKEN\0'));
  for (const spelling of spellings) assert.ok(!bytes.includes(spelling), 'the archive');
  await server.start();
  await ada.connected('reconnected', 'saved', 'synced');
  await until('a run after the restart', async () => {
    if ((await api.runs(room)).length === 1) await ada.get('run-now').click();
    return (await api.runs(room)).length > 1;
  });
  const again = (await api.runs(room))[0];
  assert.equal((await runEnded(api, room, again.id)).state, 'passed');
  assert.match(await api.runLog(room, again.id), /plain: \*\*\*\n/);

  // Replaced by a file, then gone.
  await ada.get('secrets').click();
  assert.match(await row.innerText(), /last used/);
  await row.getByTestId('secret-replace').click();
  await ada.get('secret-kind-file').click();
  await ada.get('secret-value').fill(VALUE);
  await ada.get('secret-save').click();
  await until('the file', async () => /file \/run\/secrets\/API_TOKEN/.test(await row.innerText()));
  await add(ada, 'OTHER', 'another value');
  await ada.page.locator('[data-testid="secret"][data-name="OTHER"]').getByTestId('secret-delete').click();
  await ada.get('dialog-confirm').click();
  await ada.page.locator('[data-testid="secret"][data-name="OTHER"]').waitFor({ state: 'detached' });
  await keys.press('Escape');
  await write(
    api,
    room,
    'test_basket.py',
    pythonTest(
      'import os, stat',
      'path = Path("/run/secrets/API_TOKEN")',
      'print("file:", path.read_text(), oct(stat.S_IMODE(path.stat().st_mode)), os.environ.get("API_TOKEN"))',
    ),
  );
  const third = await until('a run with the file', async () => {
    const run = (await api.runs(room))[0];
    return run.id !== again.id && run;
  });
  assert.equal((await runEnded(api, room, third.id)).state, 'passed');
  assert.match(await api.runLog(room, third.id), /file: \*\*\* 0o400 None\n/);
  assert.deepEqual(leaks(server.data), []);
});

scenario('without a key the page says which setting to make', async (stage) => {
  const server = await stage.server({ DOCKER_HOST: 'unix:///nowhere/docker.sock' });
  const ada = await stage.person('Ada');
  await ada.createRoom(server, 'python');
  await ada.get('secrets').click();
  assert.match(await ada.get('secrets-problem').innerText(), /secrets\.key_file/);
  assert.equal(await ada.get('secret-add').count(), 0);
});
