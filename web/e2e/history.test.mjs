/** The past of a file: versions, what they changed, who wrote what, and the way back. Two people and one real server. */
import assert from 'node:assert/strict';
import { textOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

const NO_DOCKER = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };
const FILE = 'basket.py';

/** The texts on the two sides of the comparison, as far as they are on screen. */
async function sides(person) {
  const read = (side) =>
    person
      .get('version-diff')
      .locator(`.editor.${side} .view-lines`)
      .evaluate((lines) =>
        [...lines.querySelectorAll('.view-line')].map((line) => line.textContent.replaceAll('\u00a0', ' ')),
      );
  return { before: await read('original'), after: await read('modified') };
}

const versions = (person) =>
  person.get('version').evaluateAll((rows) =>
    rows.map((row) => ({
      seq: Number(row.dataset.seq),
      name: row.dataset.name ?? null,
      chosen: row.getAttribute('aria-selected') === 'true',
      authors: [...row.querySelectorAll('[data-testid="author-mark"]')].map((mark) => mark.dataset.name),
    })),
  );

const named = (person, name) => person.page.locator(`[data-testid="version"][data-name="${name}"]`);

/** The file's own tab to the front again. */
const toText = (person) => person.page.locator(`[data-testid="editor-tab"][data-path="${FILE}"]`).click();

scenario('two people name a version, go on, compare, and go back', async (stage) => {
  const server = await stage.server(NO_DOCKER);
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  for (const person of [ada, bob]) await person.open(FILE);
  await ada.insert(FILE, '# first by ada\n', 'home');
  await bob.caret(FILE, 'home');
  await bob.seesText(FILE, '# first by ada');
  await bob.insert(FILE, '# then by bob', 'end');
  await until('both edits to be saved', async () =>
    (await textOf(api, room, FILE)).endsWith('# then by bob'),
  );

  // Ada gives what is there a name, and Bob finds it.
  await ada.get('open-history').click();
  await ada.get('version').first().waitFor();
  await ada.get('name-version').click();
  await ada.get('version-name').fill('before the rewrite');
  await ada.get('version-name-save').click();
  await named(ada, 'before the rewrite').waitFor();
  const [first] = await versions(ada);
  assert.equal(first.name, 'before the rewrite');
  assert.deepEqual(first.authors.toSorted(), ['Ada', 'Bob']);
  await bob.menu(FILE, 'history');
  await named(bob, 'before the rewrite').waitFor();

  // What a version changed is compared with the one before it.
  await named(ada, 'before the rewrite').click();
  await until('Ada to see what the version changed', async () => {
    const { before, after } = await sides(ada);
    return after.some((line) => line.includes('first by ada')) && !before.join().includes('first by ada');
  });

  // Bob goes on, and the version is compared with now while he types.
  await toText(bob);
  await bob.insert(FILE, '# later by bob\n', 'home');
  await ada.get('mode-now').click();
  await until('Ada to see what Bob did since', async () => {
    const { before, after } = await sides(ada);
    return after.join().includes('later by bob') && !before.join().includes('later by bob');
  });
  await until(
    'the change to be counted',
    async () => (await ada.get('change-count').innerText()) === '1 change',
  );
  await until(
    'the list to have a newer version',
    async () => (await versions(ada)).length > 1 && (await versions(ada))[0].name === null,
  );
  await ada.get('mode-text').click();
  await ada.get('version-text').getByText('# first by ada').waitFor();
  assert.equal(await ada.get('version-text').getByText('later by bob').count(), 0);

  // By keyboard: up to the newest version and down again.
  await named(ada, 'before the rewrite').focus();
  await ada.page.keyboard.press('Home');
  await until('the newest to be chosen', async () => (await versions(ada))[0].chosen);
  assert.equal(await ada.get('restore').getAttribute('aria-disabled'), 'true', 'it is what is there');
  await ada.page.keyboard.press('ArrowDown');
  await until('the named one to be chosen', async () => (await versions(ada))[1].chosen);

  // Back, for both.
  await until(
    'the way back to be open',
    async () => (await ada.get('restore').getAttribute('aria-disabled')) === 'false',
  );
  await ada.get('restore').click();
  assert.match(await ada.get('dialog').innerText(), /new edit of yours: nothing of the history is lost/);
  await ada.get('dialog-confirm').click();
  await ada.editor(FILE).locator('.view-lines').waitFor();
  for (const person of [ada, bob]) {
    await person.caret(FILE, 'home');
    await person.seesNoText(FILE, 'later by bob');
    await person.seesText(FILE, '# first by ada');
  }
  await until('it to be saved', async () => (await textOf(api, room, FILE)).startsWith('# first by ada\n'));

  // One undo takes it back, for both, and redo does it again.
  await ada.page.keyboard.press('Control+z');
  for (const person of [ada, bob]) await person.seesText(FILE, '# later by bob');
  await ada.page.keyboard.press('Control+y');
  for (const person of [ada, bob]) await person.seesNoText(FILE, 'later by bob');
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('who wrote each line stands beside it and follows the text', async (stage) => {
  const server = await stage.server(NO_DOCKER);
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  for (const person of [ada, bob]) await person.open(FILE);
  await bob.insert(FILE, '# by bob\n', 'home');
  await ada.caret(FILE, 'home');
  await ada.seesText(FILE, '# by bob');
  const authors = () =>
    ada
      .get('blame-group')
      .evaluateAll((groups) => groups.map((g) => `${g.dataset.from} ${g.dataset.author}`));
  await ada.page.keyboard.press('Alt+Shift+b');
  await until('the column to name Bob', async () => (await authors())[0] === '1 Bob');
  assert.equal((await authors()).length, 2, 'the template is of the server');
  assert.match(await ada.get('blame-line').innerText(), /Line 1: Bob/);

  // A new line pushes what is known down, and has its author once it is saved.
  await ada.insert(FILE, '# by ada\n', 'home');
  await until('the column to name both', async () => {
    const [one, two] = await authors();
    return one === '1 Ada' && two === '2 Bob';
  });
  await ada.get('blame-toggle').click();
  await ada.get('blame').waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a deleted file keeps its past, and what has none says so', async (stage) => {
  const server = await stage.server(NO_DOCKER);
  const ada = await stage.person('Ada');
  await ada.createRoom(server, 'python');
  await ada.get('tree-new-file').click();
  await ada.nameIt('notes.txt');
  await ada.editor('notes.txt').locator('.view-lines').waitFor();
  await ada.menu('notes.txt', 'history');
  await ada.get('history-empty').waitFor();
  await ada.page.locator('[data-testid="editor-tab"][data-path="notes.txt"]').click();
  await ada.insert('notes.txt', 'what I wanted to say');
  await ada.menu('notes.txt', 'history');
  await ada.get('version').first().waitFor();

  // While the server is away the page says so, and reads again when it is back.
  await ada.context.setOffline(true);
  await server.kill();
  await ada.connected('offline', 'reconnecting');
  await server.start();
  await ada.context.setOffline(false);
  await ada.connected('synced', 'saved');

  await ada.menu('notes.txt', 'delete');
  await ada.get('dialog-confirm').click();
  await ada.get('history-deleted').waitFor();
  assert.equal(await ada.get('restore').count(), 0);
  await ada.get('mode-text').click();
  await ada.get('version-text').getByText('what I wanted to say').waitFor();
  await ada.get('copy-version').waitFor();
  assert.deepEqual(ada.problems, []);
});
