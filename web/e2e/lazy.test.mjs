/** Parts of the page that are loaded later, from a server that is killed meanwhile. */
import assert from 'node:assert/strict';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

/** Holds what the page asks for of the editor. `lose` lets it go on, to a server that is away. */
async function holding(person, kinds) {
  const held = [];
  const lost = [];
  const pattern = new RegExp(`/assets/editorArea-[^/]*\\.(${kinds.join('|')})$`);
  let isHolding = true;
  await person.page.route(pattern, (route) => (isHolding ? held.push(route) : route.continue()));
  person.page.on('requestfailed', (request) => pattern.test(request.url()) && lost.push(request));
  return {
    asked: () => until('the editor to be asked for', () => held.length === kinds.length),
    lose: async () => {
      isHolding = false;
      await Promise.all(held.map((route) => route.continue()));
      await until('the editor to be lost', () => lost.length >= kinds.length);
    },
  };
}

const editor = (person) => person.editor('README.md').locator('.view-lines');

/** Without its style nothing holds the tabs above the text. */
const isStyled = (person) =>
  person.page
    .locator('.centre .dv-tabs-container')
    .evaluate((tabs) => getComputedStyle(tabs).display === 'flex');

for (const kinds of [['js'], ['css'], ['css', 'js']])
  scenario(`an editor whose ${kinds.join(' and ')} is lost comes when the server is back`, async (stage) => {
    const server = await stage.server();
    const room = (await (await server.person('Ada')).createRoom('python')).id;
    const bob = await stage.person('Bob');
    const held = await holding(bob, kinds);
    await bob.join(server, room);
    await held.asked();
    await server.kill();
    await held.lose();
    await server.start();
    await editor(bob).waitFor();
    assert.ok(await isStyled(bob));
    assert.equal(await bob.get('page-failed').count(), 0);
    assert.deepEqual(bob.problems, []);
  });

scenario('an editor that does not come says so, and comes when it is asked for again', async (stage) => {
  const server = await stage.server();
  const room = (await (await server.person('Ada')).createRoom('python')).id;
  const bob = await stage.person('Bob');
  const held = await holding(bob, ['css', 'js']);
  await bob.join(server, room);
  await held.asked();
  await server.kill();
  await held.lose();
  await bob.get('part-missing').waitFor();
  assert.match(await bob.get('part-missing').innerText(), /The editor could not be loaded/);
  await server.start();
  await bob.get('part-again').click();
  await editor(bob).waitFor();
  assert.ok(await isStyled(bob));
  assert.deepEqual(bob.problems, []);
});
