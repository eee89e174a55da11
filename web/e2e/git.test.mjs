/** Git in a room: two people, the panel of one of them, and a real git in a real container. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Api } from './support/api.mjs';
import { textOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { temporaryFolder } from './support/server.mjs';
import { until } from './support/wait.mjs';

/** Longer than it takes to start a container on a busy machine. */
const START_MS = 60_000;
const FILE = 'basket.py';

/** A change of it starts no run, so nothing is written but what people write. */
const TEXT = 'README.md';

async function look(person) {
  await person.get('lower-changes').click();
  await until(
    'git to have answered',
    async () => (await person.get('git-panel').getAttribute('data-state')) !== 'unknown',
    START_MS,
  );
}

/** Path and kind of each change on screen. */
const changes = (person) =>
  person
    .get('change')
    .evaluateAll((rows) => rows.map((row) => `${row.dataset.kind} ${row.dataset.path}`).sort());

const seesChanges = (person, ...wanted) =>
  until(
    `${person.name} to see the changes ${wanted.join(', ')}`,
    async () => JSON.stringify(await changes(person)) === JSON.stringify(wanted),
    START_MS,
  );

const change = (person, path) => person.page.locator(`[data-testid="change"][data-path="${path}"]`);

async function commit(person, message) {
  await person.get('commit-message').fill(message);
  await person.get('commit-message').press('Control+Enter');
  await until('the message to be gone', async () => (await person.get('commit-message').inputValue()) === '');
}

scenario('a room gets a repository, and a commit names everybody whose edits are in it', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  await ada.open(TEXT);
  await bob.open(TEXT);

  await look(ada);
  await ada.get('start-repository').click();
  await seesChanges(ada, 'untracked README.md', `untracked ${FILE}`, 'untracked test_basket.py');
  await commit(ada, 'Begin');
  await ada.get('git-clean').waitFor();
  const api = new Api(server.url, await tokenOf(ada), null);
  const commits = async () => (await api.call('GET', `/rooms/${room}/git/commits`)).commits;
  const [first] = await commits();
  assert.deepEqual([first.author, first.subject, first.co_authors], ['Ada', 'Begin', []]);

  // Git counts in seconds: what is typed from here on is after that commit.
  await until('the second to be over', () => Date.now() >= first.at + 1000);
  await bob.insert(TEXT, '\n# by Bob\n');
  // The panel looks again by itself, because the file is open here.
  await seesChanges(ada, `modified ${TEXT}`);
  await change(ada, TEXT).locator('button').click();
  await until('the difference to be shown', async () => {
    const rows = await ada.get('patch').locator('[data-is="added"] code').allInnerTexts();
    return rows.includes('# by Bob');
  });
  await commit(ada, 'Add a remark');
  const [second] = await commits();
  assert.deepEqual([second.author, second.subject], ['Ada', 'Add a remark']);
  assert.equal(second.co_authors.length, 1);
  assert.match(second.co_authors[0], /^Bob <[^>]+@users\.buildspaces\.invalid>$/);

  await ada.get('git-view-history').click();
  await until('both commits to be listed', async () => (await ada.get('commit-row').count()) === 2);
  assert.match(await ada.get('commit-row').first().innerText(), /Add a remark[\s\S]*Ada and Bob/);
  await ada.get('git-view-changes').click();

  // A branch, an edit in it, and back: the text follows in both pages.
  await ada.get('branch').click();
  await ada.get('new-branch').fill('idea');
  await ada.get('create-branch').click();
  await until('the branch to be shown', async () => (await ada.get('branch').innerText()).includes('idea'));
  await ada.insert(TEXT, '\n# an idea\n');
  await seesChanges(ada, `modified ${TEXT}`);
  await commit(ada, 'Try an idea');
  await ada.get('branch').click();
  await ada.page.locator('[data-testid="branch-row"][data-branch="main"]').click();
  await until('main to be shown', async () => (await ada.get('branch').innerText()).includes('main'));
  assert.ok(!(await textOf(api, room, TEXT)).includes('an idea'));
  await bob.seesNoText(TEXT, 'an idea');

  // What would be lost is said, and nothing happens.
  await bob.insert(TEXT, '\n# in the way\n', 'end');
  await seesChanges(ada, `modified ${TEXT}`);
  await ada.get('branch').click();
  await ada.page.locator('[data-testid="branch-row"][data-branch="idea"]').click();
  await until('the reason to be shown', async () =>
    (await ada.get('git-problem').innerText()).includes(`would be lost in ${TEXT}`),
  );
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('only chosen files are committed, by the keyboard too', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  await look(ada);
  await ada.get('start-repository').click();
  await seesChanges(ada, 'untracked README.md', `untracked ${FILE}`, 'untracked test_basket.py');
  await change(ada, 'README.md').locator('button').focus();
  await ada.page.keyboard.press('ArrowDown');
  await until(
    'the next file to be shown',
    async () => (await ada.get('patch').getAttribute('data-name')) === FILE,
  );
  await change(ada, 'README.md').locator('input').uncheck();
  assert.equal((await ada.get('commit').innerText()).trim(), 'Commit 2 of 3');
  await commit(ada, 'Begin with the code');
  await seesChanges(ada, 'untracked README.md');
  const api = new Api(server.url, await tokenOf(ada), null);
  const [{ id }] = (await api.call('GET', `/rooms/${room}/git/commits`)).commits;
  const { patch } = await api.call('GET', `/rooms/${room}/git/diff?commit=${id}`);
  assert.ok(patch.includes(`+++ b/${FILE}`) && !patch.includes('README.md'), patch);

  // While a run holds the files still, a commit says that it waits for it, and is made afterwards.
  await ada.open('test_basket.py');
  await ada.insert('test_basket.py', 'import time; time.sleep(8)\n', 'home');
  await until(
    'the run to be at work',
    async () => (await api.call('GET', `/rooms/${room}/runs`))[0]?.state === 'running',
    START_MS,
  );
  await ada.get('commit-message').fill('Wait');
  await ada.get('commit-message').press('Control+Enter');
  await until('it to say what it waits for', async () =>
    (await ada.get('git-busy').innerText()).includes('the run “Tests” to end'),
  );
  await until(
    'the commit to be made',
    async () => (await ada.get('commit-message').inputValue()) === '',
    START_MS,
  );
  assert.deepEqual(ada.problems, []);
});

scenario('a repository that cannot be fetched is said so, in the room that waits for it', async (stage) => {
  const server = await stage.server();
  const api = await Api.signIn(server.url, 'Ada');
  const url = 'https://git.example.org/team/project.git';
  await assert.rejects(
    api.call('POST', '/rooms', { repository: { url: 'https://user:secret@git.example.org/a' } }),
    (error) => error.code === 'bad_url',
  );
  const room = await api.call('POST', '/rooms', { repository: { url } });
  assert.equal(room.title, 'project');
  const repository = await until(
    'the fetch to end',
    async () => {
      const found = await api.call('GET', `/rooms/${room.id}/git`);
      return found.state !== 'cloning' && found;
    },
    START_MS,
  );
  assert.deepEqual([repository.state, repository.url], ['failed', url]);
  assert.match(repository.message, /git\.example\.org.*sandbox\.egress/);
  // Also after a restart.
  await server.kill();
  await server.start();

  const ada = await stage.person('Ada');
  await ada.page.goto(`${server.url}/r/${room.id}`);
  await ada.get('join-name').fill('Ada');
  await ada.get('join-button').click();
  await ada.get('lower-changes').click();
  await until('the reason to be shown', async () =>
    (await ada.get('git-none').innerText()).includes('sandbox.egress'),
  );
  assert.deepEqual(ada.problems, []);
});

scenario('a project that is sent as one file becomes a room', async (stage) => {
  const server = await stage.server();
  const folder = temporaryFolder();
  const packed = join(folder, 'tool.tar.gz');
  mkdirSync(join(folder, 'tool', 'src'), { recursive: true });
  writeFileSync(join(folder, 'tool', 'src', 'main.py'), 'print("hello")\n');
  writeFileSync(join(folder, 'tool', 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(folder, 'tool', 'image.png'), Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 1, 2, 3]));
  execFileSync('tar', ['-C', folder, '-czf', packed, 'tool']);

  const ada = await stage.person('Ada');
  await ada.page.goto(`${server.url}/`);
  await ada.get('lobby-name').fill('Ada');
  await ada.page.locator('[data-testid="template-card"][data-template="upload"]').click();
  await ada.get('room-archive').setInputFiles(packed);
  await ada.get('create-room').click();
  await ada.page.waitForURL(/\/r\/[^/]+$/);
  await ada.inRoom();
  for (const path of ['run.sh', 'image.png', 'src']) await ada.sees(path);
  assert.match(await ada.page.title(), /^tool/);
  await look(ada);
  await ada.get('start-repository').click();
  await seesChanges(ada, 'untracked image.png', 'untracked run.sh', 'untracked src/main.py');
  await commit(ada, 'Begin');
  const room = new URL(ada.page.url()).pathname.split('/').at(-1);
  const api = new Api(server.url, await tokenOf(ada), null);
  const [{ id }] = (await api.call('GET', `/rooms/${room}/git/commits`)).commits;
  const { patch } = await api.call('GET', `/rooms/${room}/git/diff?commit=${id}`);
  assert.match(patch, /b\/run\.sh\nnew file mode 100755/);
  assert.match(patch, /Binary files \/dev\/null and b\/image\.png differ/);
  assert.deepEqual(ada.problems, []);
});

/** The token of the person's session, as their page keeps it. */
async function tokenOf(person) {
  const request = person.page.waitForRequest((sent) => sent.headers().authorization !== undefined);
  await person.get('git-refresh').click();
  return (await (await request).allHeaders()).authorization.replace('Bearer ', '');
}
