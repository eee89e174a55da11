/** Who comes in where tokens are needed: a guest looks and does not write, until the link expires or is taken back. */
import assert from 'node:assert/strict';
import { Api } from './support/api.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { until } from './support/wait.mjs';

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

  await grace.open('basket.py');
  await grace.insert('basket.py', '# forged');
  await grace.page.getByText('The server did not take your edit').first().waitFor();
  const nodes = await grace
    .item('basket.py')
    .getAttribute('data-node')
    .catch(() => null);
  if (nodes) assert.doesNotMatch((await host.content(room, nodes)).toString(), /forged/);

  // A reload stays in the room, without what was not taken.
  await grace.page.reload();
  await grace.inRoom();
  await grace.open('basket.py');
  await grace.seesNoText('basket.py', '# forged');

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
