/** `@buildspaces/client` without a connection, and in several tabs: in Chromium, on a page of another origin. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as Y from 'yjs';
import { openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { site } from './support/site.mjs';
import { until } from './support/wait.mjs';

const PACKAGE = fileURLToPath(new URL('../../client-wasm/pkg/', import.meta.url));

const PAGE = `<!doctype html><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<script type="module">
  import * as client from '/pkg/index.js';
  window.client = client;
  window.ready = true;
</script>`;

/** A server, a site, and one browser profile in which tabs of that site are opened. */
async function browser(stage, options = {}) {
  const origin = await site(stage, { files: { '/index.html': PAGE }, folders: { '/pkg/': PACKAGE } });
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
  const ada = await stage.person('Ada', options);
  await ada.page.close();
  const url = `${server.url.replace(/^http/, 'ws')}/collab`;
  return { origin, server, ada, url, tab: (settings) => tab(ada, origin, url, settings) };
}

/** A tab in which `doc` and `text` are a document. What it said of its storage is in `storage`. */
async function tab(person, origin, url, { init, name = 'diary', account = '' } = {}) {
  const page = await person.context.newPage();
  page.on('pageerror', (error) => person.problems.push(String(error)));
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));
  if (init) await page.addInitScript(init);
  await page.goto(origin);
  await page.waitForFunction('window.ready');
  await page.evaluate(
    async ([url, name, account]) => {
      const room = await window.client.connect({ url, offline: { account }, longestPauseMs: 1000 });
      const doc = room.open(name);
      Object.assign(window, { room, doc, text: doc.text(), storage: [] });
      doc.on('storage', (said) => window.storage.push(said));
      await doc.whenRestored();
    },
    [url, name, account],
  );
  return {
    page,
    sockets,
    open: () => sockets.filter((socket) => !socket.isClosed()).length,
    text: () => page.evaluate(() => window.text.toString()),
    write: (words) => page.evaluate((words) => window.text.insert(window.text.length, words), words),
    status: () =>
      page.evaluate(() => {
        const { state, unsavedChanges, isKept, storageReason } = window.doc;
        return { state, unsavedChanges, isKept, storageReason };
      }),
    storage: () => page.evaluate(() => window.storage),
    sees(words) {
      return until(`a tab to see ${words}`, async () => (await this.text()) === words);
    },
    is(state) {
      return until(`a tab to be ${state}`, async () => {
        const status = await this.status();
        if (status.state === state) return true;
        throw new Error(JSON.stringify(status));
      });
    },
  };
}

scenario('what is written without a connection outlives its tab, and arrives once', async (stage) => {
  const { server, ada, tab } = await browser(stage);
  const first = await tab();
  await first.is('saved');
  await first.write('Monday: rain. ');
  await first.is('saved');
  // That it is saved is noted in the copy a moment after it is shown; a tab that closes before sends it once more.
  await first.page.waitForTimeout(1000);
  await first.page.close();
  await server.kill();

  // A copy is there, and nothing in it is ours alone.
  const second = await tab();
  await second.is('offline');
  assert.equal(await second.text(), 'Monday: rain. ');
  assert.deepEqual(
    { ...(await second.status()), state: '' },
    { state: '', unsavedChanges: 0, isKept: true, storageReason: '' },
  );
  // Written, and the tab closed in the same breath.
  await second.page.evaluate(() => {
    for (const word of ['Tuesday', ': ', 'sun', '. ']) window.text.insert(window.text.length, word);
    window.close();
  });
  if (!second.page.isClosed()) await second.page.close();

  const third = await tab();
  assert.equal(await third.text(), 'Monday: rain. Tuesday: sun. ');
  assert.ok((await third.status()).unsavedChanges > 0, 'the server does not have it');
  await third.write('Still no network.');
  await server.start();
  await third.is('saved');
  assert.equal((await third.status()).unsavedChanges, 0);
  const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
  assert.equal(other.text.toString(), 'Monday: rain. Tuesday: sun. Still no network.');
  // Once more, with everything at the server already.
  await third.page.close();
  const fourth = await tab();
  await fourth.is('saved');
  assert.equal(await fourth.text(), other.text.toString());
  // Somebody else in the same browser sees nothing of it before the server has let them in.
  await server.kill();
  const stranger = await tab({ account: 'bo' });
  assert.equal(await stranger.text(), '');
  // And nothing is left of what was to be forgotten.
  await fourth.page.evaluate(() => window.room.forget('diary'));
  const fifth = await tab();
  assert.equal(await fifth.text(), '');
  assert.deepEqual(ada.problems, []);
});

scenario('tabs share one connection, and go on when the tab that has it is closed', async (stage) => {
  const { server, ada, tab } = await browser(stage);
  const tabs = [await tab(), await tab(), await tab({ name: 'other' })];
  for (const one of tabs) await one.is('saved');
  assert.deepEqual(
    tabs.map((one) => one.open()),
    [1, 0, 0],
    'one socket for all',
  );
  const [first, second, third] = tabs;
  await first.write('from the first, ');
  await second.sees('from the first, ');
  await second.write('from the second');
  await first.sees('from the first, from the second');
  for (const one of [first, second]) await one.is('saved');
  // Each is somebody of its own to the others.
  await first.page.evaluate(() => window.doc.setPresence({ tab: 1 }));
  await until('the second to see the first', () =>
    second.page.evaluate(() => [...window.doc.others.values()].some((state) => state?.tab === 1)),
  );
  // The holder goes with a change on its way.
  await first.page.evaluate(() => {
    window.text.insert(0, 'last words; ');
    window.close();
  });
  if (!first.page.isClosed()) await first.page.close();
  await second.sees('last words; from the first, from the second');
  for (const one of [second, third]) await one.is('saved');
  await until('again one socket for all', () => second.open() + third.open() === 1);
  await until('the first to be gone', () => second.page.evaluate(() => window.doc.others.size === 0));
  await second.write('!');
  await second.is('saved');
  const [other] = await openAll(stage, server, 'diary', ['Hocuspocus 4']);
  assert.equal(other.text.toString(), 'last words; from the first, from the second!');
  // A tab that closes is gone for the others at once, though the socket stays.
  const fourth = await tab();
  await fourth.is('saved');
  await fourth.page.evaluate(() => window.doc.setPresence({ tab: 4 }));
  await until('somebody else to see it', () =>
    [...other.awareness.getStates().values()].some((state) => state.tab === 4),
  );
  await fourth.page.close();
  await until(
    'it to be gone',
    () => ![...other.awareness.getStates().values()].some((state) => state.tab === 4),
    10_000,
  );
  assert.deepEqual(ada.problems, []);
});

scenario(
  'tabs without a connection have the same document, and what one wrote another can send',
  async (stage) => {
    const { server, ada, tab } = await browser(stage);
    const [first, second] = [await tab(), await tab()];
    for (const one of [first, second]) await one.is('saved');
    await server.kill();
    for (const one of [first, second]) await one.is('offline');
    await first.write('one, ');
    await second.sees('one, ');
    await second.write('two');
    await first.sees('one, two');
    assert.ok((await second.status()).unsavedChanges >= 2, 'what another tab wrote is not saved either');
    const third = await tab();
    assert.equal(await third.text(), 'one, two');
    await first.page.close();
    await second.page.close();
    await server.start();
    await third.is('saved');
    const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
    assert.equal(other.text.toString(), 'one, two');
    assert.deepEqual(ada.problems, []);
  },
);

scenario(
  'a device without room says so, loses nothing in the page, and keeps all when there is room',
  async (stage) => {
    const { origin, ada, server, tab } = await browser(stage);
    // Before anything is kept: a browser remembers for a while how much room there was.
    const quota = await ada.context.newPage();
    await quota.goto(origin);
    const devtools = await ada.context.newCDPSession(quota);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
    const one = await tab();
    await one.is('saved');
    await one.write(`kept. ${'x'.repeat(200_000)}`);
    await until('the page to hear of it', async () =>
      (await one.storage()).some(({ cause }) => cause === 'quota'),
    );
    const { isKept, storageReason } = await one.status();
    assert.equal(isKept, false);
    assert.match(storageReason, /no more on this device.*lost when this page is closed/);
    await one.is('saved');
    await one.write(' goes on');
    await devtools.send('Storage.overrideQuotaForOrigin', { origin });
    await until('it to be kept again', async () => (await one.status()).isKept);
    await one.is('saved');
    await server.kill();
    await one.page.close();
    const again = await tab();
    assert.equal(await again.text(), `kept. ${'x'.repeat(200_000)} goes on`);
    assert.deepEqual(ada.problems, []);
  },
);

for (const [what, init] of [
  ['without IndexedDB', () => Object.defineProperty(window, 'indexedDB', { value: undefined })],
  [
    'whose storage is blocked',
    () =>
      Object.defineProperty(window, 'indexedDB', {
        get() {
          throw new DOMException('The operation is insecure.', 'SecurityError');
        },
      }),
  ],
  [
    'that has neither storage nor locks nor channels for a page',
    () => {
      const blocked = () => new DOMException('The operation is insecure.', 'SecurityError');
      Object.defineProperty(window, 'indexedDB', {
        get() {
          throw blocked();
        },
      });
      navigator.locks.request = () => Promise.reject(blocked());
      window.BroadcastChannel = class {
        constructor() {
          throw blocked();
        }
      };
    },
  ],
]) {
  scenario(`a browser ${what} says so and works with a connection`, async (stage) => {
    const { ada, server, tab } = await browser(stage);
    const one = await tab({ init });
    await one.is('saved');
    const [said] = await one.storage();
    assert.equal(said.cause, 'unavailable');
    assert.match(said.reason, /keeps nothing for this page/);
    await one.write('by wire');
    await one.is('saved');
    const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
    assert.equal(other.text.toString(), 'by wire');
    assert.deepEqual(ada.problems, []);
  });
}

scenario('a page that may have no locks connects by itself at once', async (stage) => {
  const { ada, tab } = await browser(stage);
  const init = () => {
    navigator.locks.request = () => Promise.reject(new DOMException('denied', 'SecurityError'));
  };
  const [first, second] = [await tab({ init }), await tab({ init })];
  for (const one of [first, second]) await one.is('saved');
  assert.deepEqual([first.open(), second.open()], [1, 1]);
  await first.write('both');
  await second.sees('both');
  assert.deepEqual(ada.problems, []);
});

scenario('what was kept may be deleted under an open page, which keeps it again', async (stage) => {
  const { ada, server, tab, url } = await browser(stage);
  const one = await tab();
  await one.is('saved');
  await one.write('saved, ');
  await one.is('saved');
  const clear = () => one.page.evaluate(([url]) => window.client.forgetAll({ url }), [url]);
  await clear();
  await until('the page to hear of it', async () => !(await one.status()).isKept);
  // The server has everything, so it is kept again when there is something new.
  await one.write('new, ');
  await until('it to be kept again', async () => (await one.status()).isKept, 20_000);
  await one.is('saved');
  await server.kill();
  await one.is('offline');
  await one.write('only here, ');
  await clear();
  await until('the page to hear of it', async () => !(await one.status()).isKept);
  await until('what no server has to be kept again', async () => (await one.status()).isKept, 20_000);
  await one.write('and more');
  await until('all to be kept', async () => (await one.status()).isKept);
  await one.page.close();
  const again = await tab();
  assert.equal(await again.text(), 'saved, new, only here, and more');
  assert.ok((await again.status()).unsavedChanges > 0);
  await server.start();
  await again.is('saved');
  assert.deepEqual(ada.problems, []);
});

scenario('what a tab wrote that was never let in is sent by another', async (stage) => {
  const { ada, server, tab } = await browser(stage);
  const first = await tab();
  await first.is('saved');
  const second = await tab({ name: 'elsewhere' });
  await second.page.evaluate(
    async ([url]) => {
      const token = () => new Promise(() => undefined);
      const room = await window.client.connect({ url, offline: { account: '' }, token });
      const doc = room.open('diary');
      await doc.whenRestored();
      doc.text().insert(0, 'without being let in');
    },
    [`${server.url.replace(/^http/, 'ws')}/collab`],
  );
  await first.sees('without being let in');
  await second.page.close();
  await first.is('saved');
  const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
  await until('everybody to have it', () => other.text.toString() === 'without being let in');
  assert.deepEqual(ada.problems, []);
});

scenario('a browser without locks gives each tab a connection of its own', async (stage) => {
  const { ada, tab } = await browser(stage);
  const init = () => Object.defineProperty(navigator, 'locks', { value: undefined });
  const [first, second] = [await tab({ init }), await tab({ init })];
  for (const one of [first, second]) await one.is('saved');
  assert.deepEqual([first.open(), second.open()], [1, 1]);
  await first.write('both');
  await second.sees('both');
  assert.deepEqual(ada.problems, []);
});

scenario('what a log has before what it builds on waits for the server', async (stage) => {
  const { ada, server, tab, url } = await browser(stage);
  const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
  const updates = [];
  const doc = new Y.Doc();
  doc.on('update', (update) => updates.push([...update]));
  doc.getText('text').insert(0, 'base');
  doc.getText('text').insert(4, ', built on it');
  // Some other tab had written the second, and was closed before anybody wrote the first.
  const writer = await tab({ name: 'elsewhere' });
  await writer.page.evaluate(
    async ([url, update]) => {
      const name = `buildspaces ${JSON.stringify([url, ''])}`;
      const store = new window.client.IndexedDbStore(name);
      await store.append('diary', [Uint8Array.from(update), Uint8Array.from([9, 9, 9])], true);
      store.close();
    },
    [url, updates[1]],
  );
  const one = await tab();
  assert.equal(await one.text(), '');
  Y.applyUpdate(other.doc, Uint8Array.from(updates[0]));
  await one.sees('base, built on it');
  await one.is('saved');
  await until('everybody to have it', () => other.text.toString() === 'base, built on it');
  assert.deepEqual(ada.problems, []);
});

test('a long log is merged, whatever two tabs write to it meanwhile', async () => {
  await import('fake-indexeddb/auto');
  const { createDocument, IndexedDbStore, load } = await import('../../client-wasm/pkg/index.js');
  await load();
  const stores = [new IndexedDbStore('log'), new IndexedDbStore('log')];
  const doc = createDocument();
  const written = [];
  doc.on('update', ({ update }) => written.push(update));
  const merge = (updates) => [Y.mergeUpdates(updates)];
  for (let word = 0; word < 700; word++) {
    doc.text().insert(0, `${word} `);
    const store = stores[word % 2];
    await store.append('doc', written.splice(0), true);
    if (word % 50 === 0) await Promise.all(stores.map((one) => one.compact('doc', merge)));
  }
  const fresh = new IndexedDbStore('log');
  const kept = await fresh.load('doc');
  assert.ok(kept.isUnsaved);
  assert.ok(kept.updates.length < 600, `${kept.updates.length} entries`);
  const copy = new Y.Doc();
  for (const update of kept.updates) Y.applyUpdate(copy, update);
  assert.equal(copy.getText('text').toString(), doc.text().toString());
  // What another tab wrote after this one looked is not saved by what this one hears.
  await stores[0].append('doc', [kept.updates[0]], true);
  await fresh.saved('doc');
  assert.ok((await fresh.load('doc')).isUnsaved);
  for (const store of [...stores, fresh]) await store.saved('doc');
  assert.ok(!(await new IndexedDbStore('log').load('doc')).isUnsaved);
});
