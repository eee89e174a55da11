/** The examples of the documentation, built and run as they are, against the real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'vite';
import { openAll } from './support/providers.mjs';
import { PYTHON } from './support/pycrdt.mjs';
import { scenario } from './support/scenario.mjs';
import { temporaryFolder } from './support/server.mjs';
import { site } from './support/site.mjs';
import { until } from './support/wait.mjs';

const EXAMPLES = fileURLToPath(new URL('../../docs/examples/', import.meta.url));

/** Whoever tries an example installs its packages; the test takes the same versions from its own. */
const packages = {
  name: 'packages of the tests',
  enforce: 'pre',
  resolveId(source, importer, options) {
    if (!importer?.startsWith(EXAMPLES) || /^[./\0]/.test(source)) return null;
    return this.resolve(source, fileURLToPath(import.meta.url), { ...options, skipSelf: true });
  },
};

/** Builds an example and serves it; returns the page's address. */
async function page(stage, name) {
  const outDir = temporaryFolder();
  const root = join(EXAMPLES, name);
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    plugins: [packages],
    build: { outDir, emptyOutDir: true, chunkSizeWarningLimit: 2000 },
  });
  return site(stage, { folders: { '/': outDir } });
}

async function serverFor(stage, page) {
  return stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([page]) });
}

const address = (page, server) => `${page}/?server=${server.url.replace(/^http/, 'ws')}`;

scenario('two people tick off one list, and a program adds to it', async (stage) => {
  const list = await page(stage, 'list');
  const server = await serverFor(stage, list);
  const [ada, bo] = [await stage.person('Ada'), await stage.person('Bo')];
  for (const { page } of [ada, bo]) {
    await page.goto(address(list, server));
    await page.getByText('Connected').waitFor();
  }
  await ada.page.getByText('Nothing yet.').waitFor();
  await ada.page.getByPlaceholder('What is missing?').fill('Bread');
  await ada.page.getByPlaceholder('What is missing?').press('Enter');
  await bo.page.getByLabel('Bread').first().check();
  await ada.page.locator('li.done', { hasText: 'Bread' }).waitFor();
  assert.equal(await ada.page.locator('#people li').count(), 2);

  assert.ok(existsSync(PYTHON), `${PYTHON} is missing: run scripts/setup --test`);
  const run = promisify(execFile);
  const env = { ...process.env, BUILDSPACES_SERVER: server.url.replace(/^http/, 'ws') };
  const python = async (...items) =>
    (await run(PYTHON, [join(EXAMPLES, 'python/add.py'), ...items], { env, timeout: 30_000 })).stdout;
  assert.equal(await python('Käse 🧀', 'Olives'), '[x] Bread\n[ ] Käse 🧀\n[ ] Olives\n');
  await bo.page.getByText('Käse 🧀').waitFor();

  // What the program was told is saved is saved.
  await server.kill();
  await ada.page.getByText('No connection.').waitFor();
  await ada.page.getByLabel('Olives').first().check();
  await server.start();
  await bo.page.locator('li.done', { hasText: 'Olives' }).waitFor();
  assert.equal(await python(), '[x] Bread\n[ ] Käse 🧀\n[x] Olives\n');
  await ada.page.getByText('Remove what is done').click();
  await until('the rest to be left', async () => (await bo.page.locator('#items li').count()) === 1);
  assert.deepEqual([...ada.problems, ...bo.problems], []);
});

scenario('two people write one document, and see each other and that it is saved', async (stage) => {
  const document = await page(stage, 'document');
  const server = await serverFor(stage, document);
  const [ada, bo] = [await stage.person('Ada'), await stage.person('Bo')];
  for (const { page } of [ada, bo]) {
    await page.goto(address(document, server));
    await page.getByText('Saved', { exact: true }).waitFor();
  }
  await ada.page.getByRole('button', { name: 'Heading' }).click();
  await ada.page.keyboard.type('Dear all');
  await bo.page.getByRole('heading', { name: 'Dear all' }).waitFor();
  await bo.page.locator('.collaboration-carets__label').waitFor();
  await bo.page.locator('.tiptap').click();
  await bo.page.keyboard.press('Control+End');
  await bo.page.keyboard.type('It was Bo who wrote this.');
  await ada.page.getByText('It was Bo who wrote this.').waitFor();
  // A provider that had to connect anew while somebody typed counts the answers of what waited and not what waited, and says so too early.
  const stored = `${server.url}/api/v1/documents/letter?as=markdown&root=default`;
  await until('it to be on the disk', async () =>
    /Bo who wrote this\./.test(await (await fetch(stored)).text()),
  );
  for (const { page } of [ada, bo]) await page.getByText('Saved', { exact: true }).waitFor();
  await server.kill();
  await ada.page.getByText('No connection').waitFor();
  await server.start();
  const [reader] = await openAll(stage, server, 'letter', ['Hocuspocus 4']);
  assert.match(reader.doc.getXmlFragment('default').toString(), /Dear all.*It was Bo who wrote this\./);
  // Undo takes back only one's own.
  await bo.page.getByText('Saved', { exact: true }).waitFor();
  await bo.page.getByRole('button', { name: 'Undo' }).click();
  await ada.page.getByText('It was Bo who wrote this.').waitFor({ state: 'detached' });
  await ada.page.getByRole('heading', { name: 'Dear all' }).waitFor();
  assert.deepEqual([...ada.problems, ...bo.problems], []);
});
