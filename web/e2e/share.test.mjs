/** Bringing people in from the page, with a role and an end, and sending them out again. */
import assert from 'node:assert/strict';
import { Api } from './support/api.mjs';
import { textOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { until } from './support/wait.mjs';

const NO_DOCKER = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };
const CLOSED = { ...NO_DOCKER, BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef' };

async function mint(...args) {
  const { code, output } = await runProgram(['token', ...args], CLOSED);
  assert.equal(code, 0, output);
  const [token, link] = output.trim().split('\n');
  return { token, link };
}

/** Fills the share dialog's form and returns the link that it shows. */
async function makeLink(host, role, name, count, unit) {
  await host.get('share').click();
  await host.get(`link-role-${role}`).click();
  await host.get('link-name').fill(name);
  await host.get('link-count').fill(count);
  await host.get('link-unit').selectOption(unit);
  await host.get('link-create').click();
  const url = await host.get('link-url').inputValue();
  const words = await host.get('link-made').innerText();
  await host.page.keyboard.press('Escape');
  await host.get('share-dialog').waitFor({ state: 'detached' });
  return { url, words };
}

scenario('a host hands out links with a role, and takes one back', async (stage) => {
  const server = await stage.server(CLOSED);
  const api = new Api(server.url, (await mint('--role', 'host')).token);
  const { id: room } = await api.createRoom('python');
  const { link } = await mint('--room', room, '--role', 'host', '--name', 'Hope');
  const hope = await stage.person('Hope');
  await hope.page.goto(`${server.url}/r/${room}${new URL(link).hash}`);
  await hope.inRoom();
  assert.equal(await hope.get('role').getAttribute('data-role'), 'host');

  // A time that makes no sense is refused before anybody is asked.
  await hope.get('share').click();
  await hope.get('link-count').fill('0');
  await hope.get('link-create').click();
  assert.match(await hope.get('link-problem').innerText(), /whole number of days, 1 or more/);
  assert.match(await hope.get('share-dialog').innerText(), /lets nobody in/);
  await hope.page.keyboard.press('Escape');
  await hope.get('share-dialog').waitFor({ state: 'detached' });

  const viewer = await makeLink(hope, 'viewer', 'Vera', '2', 'hours');
  assert.match(viewer.words, /lets Vera in as viewer until/);
  const vera = await stage.person('Vera');
  await vera.page.goto(viewer.url);
  await vera.inRoom();
  assert.equal(await vera.get('role').getAttribute('data-role'), 'viewer');
  await until('Hope to see Vera', async () => (await hope.names()).includes('Vera'));
  await vera.get('share').click();
  assert.match(await vera.get('share-dialog').innerText(), /Viewers cannot hand out links/);
  assert.equal(await vera.get('share-remove').count(), 0, 'she sends nobody out');
  await vera.page.keyboard.press('Escape');

  const editor = await makeLink(hope, 'editor', 'Ed', '1', 'days');
  const ed = await stage.person('Ed');
  await ed.page.goto(editor.url);
  await ed.inRoom();
  assert.equal(await ed.get('role').getAttribute('data-role'), 'editor');
  await ed.open('basket.py');
  await ed.insert('basket.py', '# by a guest\n', 'home');
  await until('the edit to be saved', async () =>
    (await textOf(api, room, 'basket.py')).startsWith('# by a guest'),
  );

  await hope.get('share').click();
  await hope.page.locator('[data-testid="share-person"][data-name="Ed"]').getByTestId('share-remove').click();
  await hope.get('remove-reason').fill('the review is over');
  await hope.get('dialog-confirm').click();
  await ed.get('access-ended').waitFor();
  assert.match(await ed.get('access-ended').innerText(), /taken back: the review is over/);
  await until('Hope to see that Ed is gone', async () => !(await hope.names()).includes('Ed'));
  await ed.page.goto(editor.url);
  await ed.get('access-ended').waitFor();
  assert.ok((await vera.names()).includes('Vera'), 'others stay');
  assert.deepEqual([...hope.problems, ...vera.problems, ...ed.problems], []);
});

scenario(
  'an open server says who can come in, and who was sent out does not come back by itself',
  async (stage) => {
    const server = await stage.server(NO_DOCKER);
    const ada = await stage.person('Ada');
    const bob = await stage.person('Bob');
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    await until('Ada to see Bob', async () => (await ada.names()).includes('Bob'));
    assert.equal(await ada.get('role').getAttribute('data-role'), 'host');
    assert.equal(await bob.get('role').getAttribute('data-role'), 'editor');

    await bob.get('share').click();
    assert.match(await bob.get('share-no-links').innerText(), /auth\.secret/);
    assert.match(await bob.get('share-dialog').innerText(), /Whoever can reach this server .* and edit/);
    assert.equal(await bob.get('share-address').inputValue(), `${server.url}/r/${room}`);
    assert.equal(await bob.get('share-remove').count(), 0, 'only hosts send people out');
    await bob.page.keyboard.press('Escape');

    await ada.get('share').click();
    await ada.get('share-remove').click();
    assert.match(await ada.get('dialog').innerText(), /can still join under another name/);
    await ada.get('dialog-confirm').click();
    await bob.get('access-ended').waitFor();
    await until('Ada to be alone', async () => (await ada.names()).join() === 'Ada');
    await bob.page.reload();
    await bob.get('access-ended').waitFor();
    assert.equal((await ada.names()).join(), 'Ada');
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);
