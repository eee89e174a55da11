/**
 * Measures, on the real server with two real pages, what people feel: from a key to the letter on the other person's screen,
 * and from the last key to the start of the run, less the time the rule waits on purpose. Prints one line of JSON.
 */
import { launch, Person } from './support/browser.mjs';
import { runEnded, textOf, write } from './support/clients.mjs';
import { summary } from './support/quantiles.mjs';
import { Server } from './support/server.mjs';
import { pause, until } from './support/wait.mjs';

const KEYS = 200;
const RUNS = 8;
const DEBOUNCE_MS = 1500;
const FILE = 'basket.py';
const TESTS = 'test_basket.py';

/** Notes when a key goes down here. */
const watchKeys = (page) =>
  page.evaluate(() => {
    window.addEventListener(
      'keydown',
      () => {
        window.keyAt = performance.timeOrigin + performance.now();
      },
      true,
    );
  });

/** Notes when the first line on screen becomes longer. */
const watchLine = (page) =>
  page.evaluate(() => {
    const lines = document.querySelector('.view-lines');
    const length = () =>
      Math.max(
        0,
        ...[...lines.querySelectorAll('.view-line')].map((l) =>
          l.textContent.startsWith('#') ? l.textContent.length : 0,
        ),
      );
    window.lineLength = length();
    new MutationObserver(() => {
      const now = length();
      if (now > window.lineLength) window.lineAt = performance.timeOrigin + performance.now();
      window.lineLength = now;
    }).observe(lines, { subtree: true, childList: true, characterData: true });
  });

const server = await new Server().start();
const browser = await launch();
try {
  const [ada, bob] = [await Person.arrive(browser, 'Ada'), await Person.arrive(browser, 'Bob')];
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  for (const person of [ada, bob]) await person.open(FILE);
  // The program under test tells when it begins, by the clock that the pages and the server have, too.
  const tests = await textOf(api, room, TESTS);
  await write(api, room, TESTS, `import time\nprint("BEGUN", time.time(), flush=True)\n${tests}`);
  const begun = async (run) => Number(/BEGUN (\S+)/.exec(await api.runLog(room, run))[1]) * 1000;
  await ada.insert(FILE, '#\n', 'home');
  await bob.seesText(FILE, '#\n');
  const [first] = await until('the first run', async () => {
    const runs = await api.runs(room);
    return runs.length > 0 && runs;
  });
  const cold = await runEnded(api, room, first.id);
  const firstBegun = await begun(cold.id);

  await ada.caret(FILE, 'home');
  await ada.page.keyboard.press('End');
  await watchKeys(ada.page);
  await watchLine(bob.page);
  const screens = [];
  for (let i = 1; i <= KEYS; i++) {
    await ada.page.keyboard.press('x');
    await bob.page.waitForFunction((length) => window.lineLength >= length, 1 + i, { polling: 5 });
    const [key, line] = [
      await ada.page.evaluate(() => window.keyAt),
      await bob.page.evaluate(() => window.lineAt),
    ];
    screens.push(line - key);
    await pause(20 + (i % 7) * 5);
  }

  const settled = async () =>
    (await api.runs(room)).every((run) => !['queued', 'running'].includes(run.state));
  const [queues, starts, programs] = [[], [], []];
  for (let i = 0; i < RUNS; i++) {
    await until('the runs to be over', settled);
    // The keys before may have made the rule wait still.
    await pause(DEBOUNCE_MS + 500);
    await until('the runs to be over', settled);
    const before = new Set((await api.runs(room)).map((run) => run.id));
    await ada.page.keyboard.type('yz', { delay: 30 });
    const key = await ada.page.evaluate(() => window.keyAt);
    const run = await until('a run', async () => (await api.runs(room)).find(({ id }) => !before.has(id)));
    const { queued_at, started_at } = await runEnded(api, room, run.id);
    queues.push(queued_at - key - DEBOUNCE_MS);
    starts.push(started_at - key - DEBOUNCE_MS);
    programs.push((await begun(run.id)) - key - DEBOUNCE_MS);
  }
  const line = {
    key_to_other_screen_ms: summary(screens),
    last_key_to_queued_less_debounce_ms: summary(queues),
    last_key_to_running_less_debounce_ms: summary(starts),
    last_key_to_program_less_debounce_ms: summary(programs),
    first_run_queued_to_program_ms: Math.round(firstBegun - cold.queued_at),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
} finally {
  await browser.close();
  await server.stop();
  server.removeData();
}
