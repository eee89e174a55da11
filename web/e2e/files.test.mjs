/** Files that are no documents: sent in from a page, shown, kept beside the workspace; and what stays in the sandbox alone. Without an engine. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { treeOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

const NOWHERE = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };

const picture = Buffer.from(Array.from({ length: 3000 }, (_, i) => i % 256));
const octets = 'application/octet-stream';

async function upload(person, ...files) {
  await person.get('tree-picker').setInputFiles(files);
}

scenario(
  'a file that is no text is sent in, shown, and there again when the workspace is lost',
  async (stage) => {
    const server = await stage.server({ ...NOWHERE, BUILDSPACES_MAX_KEPT_MIB: '1' });
    const ada = await stage.person('Ada');
    const room = await ada.createRoom(server, 'python');
    const api = await server.person('Witness');
    const node = async (path) => (await treeOf(api, room)).get(path);

    await upload(
      ada,
      { name: 'logo.png', mimeType: 'image/png', buffer: picture },
      { name: 'notes.md', mimeType: 'text/markdown', buffer: Buffer.from('# Notes\n') },
    );
    await ada.sees('notes.md');
    await ada.open('notes.md');
    await ada.seesText('notes.md', '# Notes');
    assert.equal(await ada.item('logo.png').getByTestId('tree-size').innerText(), '2.9 KB');
    await ada.item('logo.png').click();
    assert.match(await ada.get('file-panel').innerText(), /binary file · 2\.9 KB/i);
    const [download] = await Promise.all([
      ada.page.waitForEvent('download'),
      ada.get('file-download').click(),
    ]);
    assert.deepEqual(await readFile(await download.path()), picture);
    await upload(ada, { name: 'LOGO.png', mimeType: 'image/png', buffer: picture });
    await until('a sentence about the name', async () =>
      /logo\.png/.test(await ada.get('tree-error').innerText()),
    );

    // More than the room may have kept.
    await upload(ada, { name: 'large.bin', mimeType: octets, buffer: Buffer.alloc(2 << 20, 1) });
    await ada.item('large.bin').click();
    await ada.get('file-unkept').waitFor();
    await until('the picture to be kept', async () => /^[0-9a-f]{64}$/.test((await node('logo.png')).blob));
    assert.deepEqual(await api.content(room, (await node('large.bin')).id), Buffer.alloc(2 << 20, 1));

    assert.equal(await server.stop(), 0);
    rmSync(join(server.data, 'rooms', room), { recursive: true });
    await server.start();
    const { id } = await node('logo.png');
    assert.deepEqual(await api.content(room, id), picture);
    await ada.seesNot('large.bin');
    await ada.sees('logo.png');
    await api.deleteNode(room, id);
    await ada.seesNot('logo.png');
  },
);

scenario('what is ignored stays in the sandbox, and is listed when somebody asks', async (stage) => {
  const server = await stage.server(NOWHERE);
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  const api = await server.person('Witness');
  const items = () => ada.get('unshared-item').evaluateAll((rows) => rows.map((row) => row.title));

  await ada.get('unshared').click();
  await until('an empty list', async () =>
    /all of the workspace/.test(await ada.page.locator('.unshared').innerText()),
  );
  await api.createNode(room, { name: '.gitignore', kind: 'text', text: '*.log\n/out/\n' });
  const workspace = join(server.data, 'rooms', room, 'workspace');
  await until('it to be on disk', () => existsSync(join(workspace, '.gitignore')));
  await upload(ada, { name: 'a.log', mimeType: 'text/plain', buffer: Buffer.from('a line\n') });
  await until('a sentence about it', async () => /gitignore/.test(await ada.get('tree-error').innerText()));
  // What programs in a sandbox would do.
  mkdirSync(join(workspace, 'out', 'deep'), { recursive: true });
  for (let number = 0; number < 520; number++) writeFileSync(join(workspace, 'out', `${number}.o`), 'x');
  writeFileSync(join(workspace, 'shown.txt'), 'shown\n');
  await ada.sees('shown.txt');
  await ada.page.getByRole('button', { name: 'Look again' }).click();
  await until('the list', async () => JSON.stringify(await items()) === JSON.stringify(['out', 'a.log']));
  await ada.page.locator('[data-testid="unshared-item"][title="out"]').focus();
  await ada.page.keyboard.press('Enter');
  await until('what is in the folder', async () => (await items()).includes('out/deep'));
  assert.match(await ada.page.locator('.unshared').innerText(), /and 21 more/);
  assert.equal((await items()).length, 502);

  // A document is one whatever is ignored from now on, and what is wanted again comes.
  await ada.open('.gitignore');
  await ada.insert('.gitignore', 'shown.txt\n!a.log\n');
  await ada.sees('a.log');
  writeFileSync(join(workspace, 'shown.txt'), 'still shown\n');
  await ada.open('shown.txt');
  await ada.seesText('shown.txt', 'still shown');
});
