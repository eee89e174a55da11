/** The elements for other sites' pages, in Chromium: the example of the documentation as it is, and pages that have the script among their own files. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Api } from './support/api.mjs';
import { seeded } from './support/clients.mjs';
import { openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { site } from './support/site.mjs';
import { until } from './support/wait.mjs';

const EXAMPLE = fileURLToPath(new URL('../../docs/examples/embed/', import.meta.url));
const EMBED = fileURLToPath(new URL('../embed/dist/', import.meta.url));

const SECRET = { BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef' };

/** A page with elements in it. Problems are what scripts throw and what the policy of the page forbids. */
async function visit(stage, name, address, options = {}) {
  const person = await stage.person(name, { colorScheme: 'light', ...options });
  await person.page.addInitScript(() => {
    window.forbidden = [];
    addEventListener('securitypolicyviolation', (event) =>
      window.forbidden.push(`${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  await person.page.goto(address);
  const editor = person.page.locator('buildspaces-editor');
  return Object.assign(person, {
    editor: () => editor,
    says: (words) => editor.locator('.words', { hasText: words }).waitFor(),
    content: () => editor.evaluate((element) => element.value),
    sees: (words) =>
      until(`${name} to see ${words}`, async () => {
        const value = await editor.evaluate((element) => element.value);
        if (value.includes(words)) return true;
        throw new Error(value);
      }),
    async types(words) {
      await editor.locator('.cm-content').click();
      await person.page.keyboard.press('Control+End');
      await person.page.keyboard.insertText(words);
    },
    async fine() {
      assert.deepEqual(person.problems, []);
      assert.deepEqual(await person.page.evaluate(() => window.forbidden), []);
    },
  });
}

/** A page of a site that serves the script itself. */
const page = (attributes, more = '') => `<!doctype html><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"><script type="module" src="/embed/embed.js"></script>
<buildspaces-editor ${attributes}></buildspaces-editor>${more}`;

async function own(stage, html) {
  return site(stage, { files: { '/index.html': html }, folders: { '/embed/': EMBED } });
}

scenario('readers of a page of another site write one text', async (stage) => {
  const folder = { origin: '', server: '' };
  const files = {};
  folder.origin = await site(stage, { files, folders: { '/': EXAMPLE } });
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([folder.origin]) });
  // The server's address is all that is another one.
  const html = await readFile(`${EXAMPLE}index.html`, 'utf8');
  files['/index.html'] = html.replaceAll(/(?<=http|ws):\/\/localhost:8080/g, `://127.0.0.1:${server.port}`);
  const [ada, bo] = [
    await visit(stage, 'Ada', folder.origin),
    await visit(stage, 'Bo', folder.origin, { colorScheme: 'dark' }),
  ];
  for (const one of [ada, bo]) {
    await one.says('Saved');
    await one.page.getByPlaceholder('Guest').fill(one.name);
    await one.page.getByPlaceholder('Guest').press('Tab');
    await one.says('Saved');
  }
  await ada.page.getByTitle('Bo').waitFor();
  await ada.types('def insertion_sort(cards):\n    hand = []');
  await bo.sees('hand = []');
  await bo.editor().locator('.caret .name', { hasText: 'Ada' }).waitFor({ state: 'attached' });
  await bo.editor().locator('.tok-keyword', { hasText: 'def' }).waitFor();
  await bo.types('\n    return hand');
  await ada.sees('return hand');
  // Undo is one's own.
  await ada.types('\n# mine');
  await ada.page.keyboard.press('Control+z');
  await until('what Ada wrote last to be gone', async () => !(await ada.content()).includes('# mine'));
  await ada.sees('return hand');
  await ada.says('Saved');

  await server.kill();
  await ada.says('No connection');
  await ada.types('\n# without a network');
  await ada.says('No connection: 1 edit kept on this device');
  await ada.page.close();
  await server.start();
  await bo.says('Saved');
  const back = await ada.context.newPage();
  await back.goto(folder.origin);
  await bo.sees('# without a network');
  const [other] = await openAll(stage, server, 'lesson-3.py', ['y-websocket 3.0']);
  assert.equal(
    other.text.toString(),
    'def insertion_sort(cards):\n    hand = []\n    return hand\n# without a network',
  );
  await bo.fine();
  assert.deepEqual(ada.problems, []);
});

scenario('a page of an origin that is not allowed gets neither the script nor an answer', async (stage) => {
  const server = await stage.server();
  const origin = await own(stage, page('doc="secret" server="SERVER"').replace('SERVER', server.url));
  const eve = await visit(stage, 'Eve', origin);
  await eve.says('No connection');
  assert.match(await eve.editor().locator('.message').innerText(), /cannot be reached/);
  // Each further try says nothing new, so that the words neither flicker nor are read out again.
  const moods = await eve.editor().evaluate(
    (editor) =>
      new Promise((done) => {
        const said = [];
        editor.addEventListener('state', ({ detail }) => {
          said.push(detail);
          if (said.filter(({ state }) => state === 'connecting').length === 2)
            done(said.map(({ mood }) => mood));
        });
      }),
  );
  assert.deepEqual([...new Set(moods)], ['offline']);
  const fetched = await eve.page.evaluate(
    async ([url]) =>
      Promise.all(
        ['/embed.js', '/api/v1/status'].map((path) =>
          fetch(url + path).then(
            () => 'read',
            () => 'refused',
          ),
        ),
      ),
    [server.url],
  );
  assert.deepEqual(fetched, ['refused', 'refused']);
});

scenario('a page of an allowed origin may use and read the interface, also with a token', async (stage) => {
  const origin = await own(stage, page('doc="open"'));
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
  const { token } = await server.person('Ada');
  const ada = await stage.person('Ada');
  await ada.page.goto(origin);
  const said = await ada.page.evaluate(
    async ([url, token]) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ title: 'From elsewhere', template: 'python' });
      const made = await fetch(`${url}/api/v1/rooms`, { method: 'POST', headers, body });
      const room = await made.json();
      const missing = await fetch(`${url}/api/v1/rooms/none`, { headers });
      await fetch(`${url}/api/v1/documents/text`, {
        method: 'PUT',
        headers: { 'content-type': 'text/plain' },
        body: 'x',
      });
      const text = await fetch(`${url}/api/v1/documents/text?as=text`);
      return [made.status, room.title, missing.status, text.headers.get('etag') !== null, await text.text()];
    },
    [server.url, token],
  );
  assert.deepEqual(said, [201, 'From elsewhere', 404, true, 'x']);
  const asked = await fetch(`${server.url}/api/v1/rooms`, { headers: { origin } });
  assert.equal(asked.headers.get('access-control-allow-origin'), origin);
  assert.equal(asked.headers.get('access-control-allow-credentials'), null, 'there is nothing to send along');
  assert.match(asked.headers.get('vary'), /origin/);
});

const CLOSED = {
  DOCKER_HOST: 'unix:///nowhere/docker.sock',
  BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef',
};

async function mint(...args) {
  const { code, output } = await runProgram(['token', ...args], CLOSED);
  assert.equal(code, 0, output);
  return output.trim().split('\n')[0];
}

scenario(
  'a file of a room by its path: for an editor, a viewer, and whoever has no access',
  async (stage) => {
    const files = {};
    const origin = await site(stage, { files, folders: { '/embed/': EMBED } });
    const server = await stage.server({ ...CLOSED, BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
    const host = new Api(server.url, await mint('--role', 'host', '--name', 'Host'));
    const { id: room } = await host.createRoom('python');
    const show = async (name, token, doc = 'basket.py', more = '') => {
      files['/index.html'] = page(
        `server="${server.url}" room="${room}" doc="${doc}" token="${token}" ${more}`,
        '<buildspaces-presence></buildspaces-presence>',
      ).replace(
        '<buildspaces-presence',
        `<buildspaces-presence room="${room}" server="${server.url}" doc="${doc}" token="${token}"`,
      );
      return visit(stage, name, origin);
    };
    const guest = (role, name) => mint('--room', room, '--role', role, '--name', name);

    const ada = await show(
      'Ada',
      await guest('editor', 'Ada of the token'),
      'basket.py',
      'user="Somebody else"',
    );
    await ada.says('Saved');
    await ada.types('\n# from a page of another site');
    const token = await guest('viewer', 'Vera');
    const vera = Object.assign(await show('Vera', token), { token });
    await vera.says('Read only');
    await vera.sees('# from a page of another site');
    assert.equal(await vera.editor().locator('.cm-content').getAttribute('contenteditable'), 'false');
    await vera.page.keyboard.press('Tab');
    await vera.page.keyboard.type('not this');
    assert.ok(!(await vera.content()).includes('not this'));
    // The server says who somebody is, whatever the page says.
    await ada.types('.');
    await vera
      .editor()
      .locator('.caret .name', { hasText: 'Ada of the token' })
      .waitFor({ state: 'attached' });
    await vera.page.getByTitle('Ada of the token').waitFor();

    const eve = await show('Eve', 'nonsense');
    await eve.says('No access');
    assert.match(
      await eve.editor().locator('.message').innerText(),
      /You have no access to this document\. .+Try again/s,
    );
    assert.equal(await eve.content(), '');

    // A file that is not there yet is waited for, and followed when it is called otherwise.
    const finn = await show('Finn', await guest('editor', 'Finn'), 'notes/new.md');
    await finn.says('Not there');
    const folder = await host.createNode(room, { name: 'notes', kind: 'folder' });
    const node = await host.createNode(room, {
      parent: folder.id,
      name: 'new.md',
      kind: 'text',
      text: '# New',
    });
    await finn.says('Saved');
    await host.changeNode(room, node.id, { name: 'renamed.md' });
    await finn.types('\nstill here');
    await finn.says('Saved');

    // Access that is taken back while the text is open leaves what was read, and says so.
    const { person } = await new Api(server.url, vera.token).call('GET', '/session');
    await host.call('POST', '/revocations', { user: person.id, room, reason: 'the lesson is over' });
    await vera.says('No access');
    assert.match(await vera.editor().locator('.message').innerText(), /the lesson is over/);
    await vera.sees('# from a page of another site');
    for (const one of [ada, vera, eve, finn]) await one.fine();
  },
);

scenario('whatever several people type, with line ends of both kinds, all have the same', async (stage) => {
  const files = { '/index.html': '' };
  const origin = await site(stage, { files, folders: { '/embed/': EMBED } });
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
  for (const [name, start] of [
    ['unix', 'one\ntwo\nthree\n'],
    ['windows', 'one\r\ntwo\r\nthree\r\n'],
  ]) {
    const [other] = await openAll(stage, server, name, ['Hocuspocus 4']);
    other.text.insert(0, start);
    files['/index.html'] = page(`server="${server.url}" doc="${name}" id="a"`).replace(
      '</buildspaces-editor>',
      `</buildspaces-editor><buildspaces-editor server="${server.url}" doc="${name}" id="b"></buildspaces-editor>`,
    );
    const ada = await stage.person('Ada');
    await ada.page.goto(origin);
    await ada.page.waitForFunction(() =>
      [...document.querySelectorAll('buildspaces-editor')].every(({ mood }) => mood === 'saved'),
    );
    const random = seeded(7);
    for (let step = 0; step < 120; step++) {
      const [who, where, what] = [random(), random(), random()];
      if (who < 0.4) {
        const at = Math.floor(where * (other.text.length + 1));
        // Also into the middle of a line end.
        if (what < 0.6) other.text.insert(at, ['x', '\n', '\r\n', 'ü', '\r'][Math.floor(what * 8.3)]);
        else if (at < other.text.length) other.text.delete(at, 1);
      } else {
        await ada.page.evaluate(
          ([id, where, what]) => {
            const { view } = document.getElementById(id);
            const { length } = view.state.doc;
            const [from, to] = [
              Math.floor(where * (length + 1)),
              Math.floor(where * (length + 1)) + (what < 0.4 ? 2 : 0),
            ];
            const insert = what < 0.7 ? 'ab\nc' : '';
            view.dispatch({ changes: { from, to: Math.min(to, length), insert } });
            if (what > 0.9)
              view.dispatch({
                changes: [
                  { from: 0, insert: 'first ' },
                  { from: view.state.doc.length, insert: ' last' },
                ],
              });
          },
          [who < 0.7 ? 'a' : 'b', where, what],
        );
      }
    }
    await until(`all to have the same text of ${name}`, async () => {
      const [a, b, whole] = await ada.page.evaluate(() => {
        const [a, b] = document.querySelectorAll('buildspaces-editor');
        return [a.value, b.value, a.document.text().toString()];
      });
      const wanted = other.text.toString();
      const lines = wanted.replaceAll(/\r\n?/g, '\n');
      if (a === lines && b === lines && whole === wanted) return true;
      throw new Error(JSON.stringify([a, b, whole, wanted]));
    });
    assert.ok(name === 'unix' || other.text.toString().includes('\r\n'));
    assert.deepEqual(ada.problems, []);
  }
});

scenario('what is discarded is discarded for every element of the page, and all go on', async (stage) => {
  const files = {};
  const origin = await site(stage, { files, folders: { '/embed/': EMBED } });
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
  const where = `server="${server.url}" doc="diary" offline`;
  files['/index.html'] = page(
    `${where} id="a"`,
    `<buildspaces-editor ${where} id="b"></buildspaces-editor><buildspaces-presence ${where}></buildspaces-presence>`,
  );
  const ada = await stage.person('Ada');
  await ada.page.goto(origin);
  const values = () =>
    ada.page.evaluate(() =>
      [...document.querySelectorAll('buildspaces-editor')].map(({ mood, value }) => [mood, value]),
    );
  const all = (words) =>
    until(`both to be saved with ${words}`, async () => {
      const seen = await values();
      if (seen.every(([mood, value]) => mood === 'saved' && value === words)) return true;
      throw new Error(JSON.stringify(seen));
    });
  await all('');
  await ada.page.evaluate(() => document.getElementById('a').document.text().insert(0, 'kept'));
  await all('kept');
  for (const [turn, id] of ['a', 'b'].entries()) {
    // As if the server had refused a change.
    await ada.page.evaluate((id) => document.getElementById(id).document.emit('refused', undefined), id);
    await ada.page.locator(`#${id}`).getByRole('button', { name: 'Discard my changes' }).click();
    await all(`kept${'!'.repeat(turn)}`);
    await ada.page.evaluate((id) => document.getElementById(id).document.text().insert(4, '!'), id);
    await all(`kept${'!'.repeat(turn + 1)}`);
  }
  const [other] = await openAll(stage, server, 'diary', ['y-websocket 3.0']);
  assert.equal(other.text.toString(), 'kept!!');
  await until('the list to know who is here', () =>
    ada.page.evaluate(() => document.querySelector('buildspaces-presence').people.length > 0),
  );
  assert.deepEqual(ada.problems, []);
});

scenario('what is not saved stays while an element is moved or looks another way', async (stage) => {
  const files = {};
  const origin = await site(stage, { files, folders: { '/embed/': EMBED } });
  const server = await stage.server({ BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]) });
  files['/index.html'] = page(`server="${server.url}" doc="moved"`, '<div id="there"></div>');
  const ada = await visit(stage, 'Ada', origin);
  await ada.says('Saved');
  await ada.types('before');
  await ada.says('Saved');
  await server.kill();
  await ada.says('No connection');
  await ada.types(' and after');
  await ada.says('1 edit kept in this page');
  await ada.editor().evaluate((editor) => document.getElementById('there').append(editor));
  await ada.sees('before and after');
  await ada.editor().evaluate((editor) => editor.setAttribute('label', 'Another label'));
  await ada.sees('before and after');
  await ada.editor().evaluate((editor) => editor.remove());
  await ada.page.waitForTimeout(200);
  await ada.page.evaluate((url) => {
    const editor = document.createElement('buildspaces-editor');
    editor.setAttribute('server', url);
    editor.setAttribute('doc', 'moved');
    document.body.append(editor);
  }, server.url);
  await ada.sees('before and after');
  await server.start();
  await ada.says('Saved');
  const [other] = await openAll(stage, server, 'moved', ['y-websocket 3.0']);
  assert.equal(other.text.toString(), 'before and after');
});

scenario('a new token counts for every element that has the document', async (stage) => {
  const files = {};
  const origin = await site(stage, { files, folders: { '/embed/': EMBED } });
  const server = await stage.server({
    BUILDSPACES_ALLOWED_ORIGINS: JSON.stringify([origin]),
    ...SECRET,
  });
  const where = `server="${server.url}" doc="theirs"`;
  files['/index.html'] = page(
    `${where} token="stale"`,
    `<buildspaces-presence ${where}></buildspaces-presence>`,
  );
  const ada = await visit(stage, 'Ada', origin);
  await ada.says('No access');
  const { output } = await runProgram(['token', '--role', 'host', '--name', 'Ada'], SECRET);
  const token = output.trim().split('\n')[0];
  await ada.editor().evaluate((editor, token) => editor.setAttribute('token', token), token);
  await ada.says('Saved');
});
