/** Takes the README's pictures of a room in use into `docs/images/`: two people, their carets, a run that passed; dark and light. */
import { mkdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launch, Person } from './support/browser.mjs';
import { Server } from './support/server.mjs';
import { until } from './support/wait.mjs';

const FOLDER = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const MOST_BYTES = 300_000;
const FILE = 'basket.py';

mkdirSync(FOLDER, { recursive: true });
const server = await new Server().start();
const browser = await launch();
try {
  const ada = await Person.arrive(browser, 'Ada Lovelace');
  const grace = await Person.arrive(browser, 'Grace Hopper');
  const room = await ada.createRoom(server, 'python', 'Shopping basket');
  await grace.join(server, room);
  for (const person of [ada, grace]) await person.open(FILE);
  // Grace marks a line and Ada watches; what Grace adds makes the tests run.
  await grace.caret(FILE, 'home');
  for (let line = 0; line < 4; line++) await grace.page.keyboard.press('ArrowDown');
  await grace.page.keyboard.press('End');
  await grace.page.keyboard.insertText('  # ten per cent');
  await until('a run that passed', async () => (await ada.runs())[0]?.state === 'passed', 60_000);
  await ada.page.mouse.move(700, 500);
  await ada.caret(FILE, 'home');
  for (let line = 0; line < 15; line++) await ada.page.keyboard.press('ArrowDown');
  for (const [scheme, key] of [
    ['dark', 'Shift+Home'],
    ['light', 'Control+Shift+ArrowRight'],
  ]) {
    if ((await ada.page.locator('html').getAttribute('data-theme')) !== scheme)
      await ada.get('theme-toggle').click();
    await until(
      `the ${scheme} theme`,
      async () => (await ada.page.locator('html').getAttribute('data-theme')) === scheme,
    );
    // A moving caret shows its owner's name for a moment.
    await grace.page.keyboard.press(key);
    const name = ada.editor(FILE).locator('[data-testid="remote-caret"][data-shown="true"]');
    await name.waitFor({ state: 'visible' });
    await until('the name to have faded in', () =>
      name.evaluate((label) => getComputedStyle(label).opacity === '1'),
    );
    await ada.page.evaluate(() => document.fonts.ready);
    const path = `${FOLDER}room-${scheme}.png`;
    await ada.page.screenshot({ path });
    const { size } = statSync(path);
    if (size > MOST_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MOST_BYTES}`);
    process.stdout.write(`${path}: ${size} bytes\n`);
  }
} finally {
  await browser.close();
  await server.stop();
  server.removeData();
}
