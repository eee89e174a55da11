/** Two people in one room: text, carets, names, undo, files. Two browser profiles, one real server. */
import assert from 'node:assert/strict';
import { textOf } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

scenario('two people create, join and edit a room together', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const api = await server.person('Witness');

  const room = await ada.createRoom(server, 'python', 'Our basket');
  for (const path of ['README.md', 'basket.py', 'test_basket.py']) await ada.sees(path);
  assert.equal(await ada.get('room-name').innerText(), 'Our basket');
  await bob.join(server, room);
  for (const person of [ada, bob]) {
    const names = () => person.names();
    await until(`${person.name} to see both names`, async () => (await names()).sort().join() === 'Ada,Bob');
    await person.connected('synced', 'saved');
    await person.open('basket.py');
  }

  // Both type at the same time, at both ends of the same file.
  await Promise.all([
    ada.insert('basket.py', '# written by ada\n', 'home'),
    bob.insert('basket.py', '# and by bob'),
  ]);
  for (const person of [ada, bob]) {
    await person.caret('basket.py', 'home');
    await person.seesText('basket.py', '# written by ada');
    await person.caret('basket.py', 'end');
    await person.seesText('basket.py', '# and by bob');
  }
  const names = (person) => person.editor('basket.py').getByTestId('remote-caret').allTextContents();
  await until("Ada to see Bob's name at his caret", async () => (await names(ada)).includes('Bob'));
  await until("Bob to see Ada's name at her caret", async () => (await names(bob)).includes('Ada'));
  await until('Ada to see in the tree where Bob is', () =>
    ada.item('basket.py').locator('[data-testid="tree-presence"][data-name="Bob"]').count(),
  );
  const saved = await until('the server to have both edits', async () => {
    const text = await textOf(api, room, 'basket.py');
    return text.includes('# written by ada') && text.includes('# and by bob') && text;
  });
  assert.ok(saved.startsWith('# written by ada\n"""A shopping basket'), saved.slice(0, 80));
  assert.ok(saved.endsWith('# and by bob'), saved.slice(-80));

  // Undo takes back one's own typing only, however often it is asked for.
  await ada.caret('basket.py', 'home');
  for (let i = 0; i < 3; i++) await ada.page.keyboard.press('Control+z');
  await bob.caret('basket.py', 'home');
  await bob.seesNoText('basket.py', '# written by ada');
  await until(
    'the undo to be saved',
    async () => !(await textOf(api, room, 'basket.py')).includes('# written by ada'),
  );
  assert.ok((await textOf(api, room, 'basket.py')).endsWith('# and by bob'));
  await ada.page.keyboard.press('Control+y');
  await bob.seesText('basket.py', '# written by ada');
  await until(
    'Ada and Bob to be told that all is saved',
    async () => (await ada.connection()).state === 'saved' && (await bob.connection()).state === 'saved',
  );
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('on a phone the files lie over the page while one looks for one', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  await ada.createRoom(server, 'python');
  await ada.open('README.md');
  await ada.page.setViewportSize({ width: 390, height: 844 });
  await ada.item('basket.py').waitFor({ state: 'hidden' });
  const isFocused = (locator) =>
    until('it to have the keyboard', () => locator.evaluate((element) => element === document.activeElement));
  const text = ada.page.locator('.centre');
  assert.equal((await text.boundingBox()).width, 390);
  await ada.get('files').click();
  await ada.sees('basket.py');
  await isFocused(ada.get('tree'));
  await ada.page.keyboard.press('Escape');
  await ada.item('basket.py').waitFor({ state: 'hidden' });
  await isFocused(ada.get('files'));
  await ada.page.keyboard.press('Enter');
  await ada.sees('basket.py');
  await ada.get('files-backdrop').click({ position: { x: 370, y: 300 } });
  await ada.item('basket.py').waitFor({ state: 'hidden' });
  await ada.get('files').click();
  await ada.open('basket.py');
  await ada.item('basket.py').waitFor({ state: 'hidden' });
  await ada.page.setViewportSize({ width: 1440, height: 900 });
  await ada.sees('basket.py');
  assert.deepEqual(ada.problems, []);
});

scenario('files are created, renamed, moved and deleted for both', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'node');
  for (const path of ['README.md', 'package.json', 'src/words.js', 'test/words.test.js'])
    await ada.sees(path);
  await bob.join(server, room);
  await bob.sees('test/words.test.js');

  await ada.item('README.md').click();
  await ada.get('tree-new-file').click();
  await ada.nameIt('plan.txt');
  await ada.sees('plan.txt');
  await bob.sees('plan.txt');
  await ada.editor('plan.txt').locator('.view-lines').waitFor();
  await ada.insert('plan.txt', 'first things first');
  await bob.open('plan.txt');
  await bob.seesText('plan.txt', 'first things first');

  // A rename disturbs nobody who types in the file.
  await bob.caret('plan.txt', 'end');
  await ada.menu('plan.txt', 'rename');
  await ada.nameIt('plans.txt');
  await bob.sees('plans.txt');
  await bob.page.keyboard.type(', then the rest');
  await ada.seesText('plans.txt', 'first things first, then the rest');

  await bob.item('README.md').click();
  await bob.get('tree-new-folder').click();
  await bob.nameIt('docs');
  await ada.sees('docs');
  await ada.menu('plans.txt', 'move');
  await ada.page.locator('[data-testid="move-target"][data-path="docs"]').click();
  await bob.item('docs').waitFor();
  await bob.seesNot('plans.txt');
  if ((await bob.item('docs').getAttribute('aria-expanded')) === 'false') await bob.item('docs').click();
  await bob.sees('docs/plans.txt');
  await ada.sees('docs/plans.txt');
  await bob.open('docs/plans.txt');

  // Bob has the file open when Ada deletes it: his text stays until he closes the tab.
  await ada.menu('docs/plans.txt', 'delete');
  await ada.get('dialog-confirm').click();
  await bob.get('editor-deleted').waitFor();
  await bob.seesNot('docs/plans.txt');
  await bob.get('close-tab').click();
  await bob.get('editor-deleted').waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('two people who rename one file at once: one wins, the other is told', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  // Bob's command leaves with the revision he saw, after Ada's has arrived.
  let release;
  const held = new Promise((done) => {
    release = done;
  });
  await bob.page.route('**/nodes/*', async (route) => {
    await held;
    await route.continue();
  });
  await bob.menu('basket.py', 'rename');
  await bob.nameIt('bobs.py');
  await ada.menu('basket.py', 'rename');
  await ada.nameIt('adas.py');
  await ada.sees('adas.py');
  release();
  const sentence = await bob.get('tree-error').first().innerText();
  assert.match(sentence, /Ada changed it first.*"adas\.py"/s);
  await bob.page.keyboard.press('Escape');
  await bob.sees('adas.py');
  await bob.seesNot('bobs.py');
});

scenario('bad names are refused with a sentence, by the page and by the server', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  for (const [name, why] of [
    ['../x', /slash/],
    ['..', /not a name/],
    ['BASKET.py', /already/],
    ['a\u0007b', /control character/],
  ]) {
    await ada.get('tree-new-file').click();
    await ada.nameIt(name);
    assert.match(await ada.get('tree-error').first().innerText(), why);
    await ada.get('tree-name-input').press('Escape');
    await ada.get('tree-name-input').waitFor({ state: 'detached' });
  }
  const api = await server.person('Mallory');
  for (const name of ['../x', '..', '', 'BASKET.py', 'a\u0000b', 'a\nb', 'a\\b', 'x'.repeat(256)]) {
    const refusal = await api.createNode(room, { name, kind: 'text', text: '' }).catch((error) => error);
    assert.ok(
      [400, 409].includes(refusal.status),
      `${JSON.stringify(name)}: ${refusal.message ?? 'was taken'}`,
    );
    assert.match(refusal.sentence, /\w+ \w+ \w+/);
  }
  assert.equal(await ada.get('tree-item').count(), 3);
});

scenario('who reloads is the same person, who leaves is gone, and names are never markup', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada <b onmouseover=alert(1)>');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python', '<img src=x onerror=alert(1)>');
  await bob.join(server, room);
  const both = async (person) => (await person.names()).length === 2;
  await until('Ada to see Bob', () => both(ada));
  assert.equal(await bob.get('room-name').innerText(), '<img src=x onerror=alert(1)>');
  assert.deepEqual((await bob.names()).sort(), ['Ada <b onmouseover=alert(1)>', 'Bob']);
  const id = await ada.page.locator('[data-testid="person"][data-self="true"]').getAttribute('data-user-id');

  await ada.open('basket.py');
  await ada.page.reload();
  await ada.inRoom();
  await ada.editor('basket.py').waitFor();
  assert.equal(
    await ada.page.locator('[data-testid="person"][data-self="true"]').getAttribute('data-user-id'),
    id,
  );
  await until('Bob to see two people', () => both(bob));

  // A second window of the same person is no second person, and closing it takes nothing away.
  const second = await ada.context.newPage();
  await second.goto(`${server.url}/r/${room}`);
  await second.getByTestId('tree-item').first().waitFor();
  await second.locator('[data-testid="tree-item"][data-path="basket.py"]').click();
  await second.locator('[data-testid="connection"][data-state="synced"]').waitFor();
  assert.ok(await both(bob), 'two windows, one person');
  await second.close();
  assert.ok(await both(bob));

  await ada.page.goto(`${server.url}/`);
  await until('Bob to be alone', async () => (await bob.names()).join() === 'Bob', 10_000);
  await ada.page.locator(`[data-testid="recent-room"][data-room="${room}"]`).click();
  await until('Ada to be back', () => both(bob));
  await bob.leave();
  await until('Ada to be alone', async () => (await ada.names()).length === 1, 10_000);
  await ada.page.goto(`${server.url}/r/nosuchroom`);
  await ada.get('room-not-found').waitFor();
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});
