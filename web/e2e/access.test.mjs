/** Who comes in where tokens are needed: a guest looks and does not write, until the link expires or is taken back. */
import assert from 'node:assert/strict';
import { Api } from './support/api.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { stays, until } from './support/wait.mjs';

const CLOSED = {
  DOCKER_HOST: 'unix:///nowhere/docker.sock',
  BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef',
};

/** What `buildspaces token` prints: the token, and a link if it is for a room. */
async function mint(...args) {
  const { code, output } = await runProgram(['token', ...args], CLOSED);
  assert.equal(code, 0, output);
  const [token, link] = output.trim().split('\n');
  return { token, link };
}

scenario('a guest looks and does not write, until the link is taken back', async (stage) => {
  const server = await stage.server(CLOSED);
  const host = new Api(server.url, (await mint('--role', 'host', '--name', 'Host')).token);
  const { id: room } = await host.createRoom('python');

  // Nobody comes in without a token.
  const stranger = await stage.person('Stranger');
  await stranger.page.goto(`${server.url}/r/${room}`);
  await stranger.get('join-name').fill('Eve');
  await stranger.get('join-button').click();
  await stranger.page.getByText('use the link you were given').waitFor();

  const { url } = await host.call('POST', `/rooms/${room}/links`, {
    role: 'viewer',
    name: 'Grace',
    expires_in: 600,
  });
  assert.ok(url.startsWith(`${server.url}/r/${room}#token=`), url);
  const grace = await stage.person('Grace');
  await grace.page.goto(url);
  await grace.inRoom();
  assert.equal(new URL(grace.page.url()).hash, '', 'the token is in the address no more');
  await until('Grace to see herself', async () => (await grace.names()).includes('Grace'));

  // The page says what she is, and takes nothing that it could not keep.
  assert.equal(await grace.get('role').getAttribute('data-role'), 'viewer');
  await grace.open('basket.py');
  await grace.caret('basket.py', 'end');
  await grace.page.keyboard.type('# forged');
  await grace.editor('basket.py').getByText('You are here as a viewer: you can read').waitFor();
  await grace.page.keyboard.press('Control+v');
  await grace.page.keyboard.press('Backspace');
  await grace.seesNoText('basket.py', 'forged');
  const node = await grace.item('basket.py').getAttribute('data-node');
  const words = await grace.text('basket.py');
  assert.doesNotMatch((await host.content(room, node)).toString(), /forged/);
  await stays('Grace to be told that she sees the latest', 1500, async () => {
    return (await grace.connection()).text === 'Synced' && (await grace.text('basket.py')) === words;
  });
  for (const id of ['tree-new-file', 'tree-new-folder', 'run-now'])
    assert.equal(await grace.get(id).count(), 0, id);
  await grace.item('basket.py').click({ button: 'right' });
  await grace.get('menu-download').waitFor();
  for (const id of ['menu-rename', 'menu-move', 'menu-delete'])
    assert.equal(await grace.get(id).count(), 0, id);
  await grace.page.keyboard.press('Escape');
  await grace.get('menu').waitFor({ state: 'detached' });
  await grace.get('tree').focus();
  await grace.page.keyboard.press('Delete');
  assert.match(await grace.get('tree-error').first().innerText(), /here as a viewer/);

  // What others write reaches her all the same.
  const ada = await stage.person('Ada');
  const { url: invitation } = await host.call('POST', `/rooms/${room}/links`, {
    role: 'editor',
    name: 'Ada',
    expires_in: 600,
  });
  await ada.page.goto(invitation);
  await ada.inRoom();
  await ada.open('basket.py');
  await ada.insert('basket.py', '# by an editor\n', 'home');
  await grace.caret('basket.py', 'home');
  await grace.seesText('basket.py', '# by an editor');
  assert.equal((await grace.connection()).text, 'Synced');

  // A reload stays in the room.
  await grace.page.reload();
  await grace.inRoom();

  const { person } = await new Api(
    server.url,
    new URLSearchParams(new URL(url).hash.slice(1)).get('token'),
  ).call('GET', '/session');
  const { ended } = await host.call('POST', '/revocations', {
    user: person.id,
    room,
    reason: 'the talk is over',
  });
  assert.ok(ended >= 2, `${ended} connections`);
  await grace.get('access-ended').waitFor();
  assert.match(await grace.get('access-ended').innerText(), /taken back: the talk is over/);
  await grace.page.goto(url);
  await grace.get('access-ended').waitFor();
});

scenario('a link ends when its time is over', async (stage) => {
  const server = await stage.server(CLOSED);
  const host = new Api(server.url, (await mint('--role', 'host')).token);
  const { id: room } = await host.createRoom('python');
  const { link } = await mint('--room', room, '--role', 'editor', '--name', 'Grace', '--expires', '12s');
  const grace = await stage.person('Grace');
  await grace.page.goto(`${server.url}${new URL(link).pathname}${new URL(link).hash}`);
  await grace.inRoom();
  await grace.get('access-ended').waitFor();
  assert.match(await grace.get('access-ended').innerText(), /expired/);
});
