/** `kill -9` in the middle of typing and of a run, and an orderly stop: what was acknowledged is there, nothing is left over. */
import assert from 'node:assert/strict';
import * as decoding from 'lib0/decoding';
import WebSocket from 'ws';
import { look, pythonTest, runEnded, seeded, textOf, treeOf, write } from './support/clients.mjs';
import { containersOf } from './support/docker.mjs';
import { hocuspocusSocket, onSocket, openAll } from './support/providers.mjs';
import { scenario } from './support/scenario.mjs';
import { pause, until } from './support/wait.mjs';

const slowTest = (seconds, ...work) =>
  pythonTest(
    `for second in range(${seconds}):`,
    '    print("second", second)',
    '    time.sleep(1)',
    ...work.map((line) => `    ${line}`),
  );

/** How often the server is killed in the middle of typing; by hand, 200 times. */
const KILLS = Number(process.env.BUILDSPACES_TEST_KILLS ?? 10);

/** Results a run may honestly have after the server died under it. */
const HONEST = ['passed', 'interrupted'];

/** Types numbered words and asks after each whether it is saved. */
class Typist {
  #stopped = false;

  constructor(client, mark, random) {
    Object.assign(this, { client, mark, random, written: 0 });
  }

  word(number) {
    return `<${this.mark}${number}>`;
  }

  async type() {
    while (!this.#stopped) {
      this.written += 1;
      const { text } = this.client;
      text.insert(Math.floor(this.random() * 2) * text.length, this.word(this.written));
      this.client.askWhetherSaved?.(this.written);
      await pause(this.random() * 6);
    }
  }

  stop() {
    this.#stopped = true;
  }

  /** The words whose save the server confirmed. */
  get acknowledged() {
    return Array.from({ length: this.client.acknowledged }, (_, index) => this.word(index + 1));
  }
}

/**
 * A WebSocket that knows what was acknowledged: `asks` and `answers` read frames and name what is asked for and what is answered.
 * `progress.written` is noted when something is asked, and becomes `progress.acknowledged` when it is answered.
 */
function witness(asks, answers, progress) {
  return class extends WebSocket {
    #asked = [];

    constructor(...args) {
      super(...args);
      this.on('error', () => undefined);
      this.on('message', (frame) => {
        const key = answers(decoding.createDecoder(new Uint8Array(frame)));
        const at = key === undefined ? -1 : this.#asked.findIndex((asked) => asked.key === key);
        if (at < 0) return;
        const [{ written }] = this.#asked.splice(at, 1);
        progress.acknowledged = Math.max(progress.acknowledged, written);
      });
    }

    send(frame, ...rest) {
      // Some providers connect again although they were destroyed.
      if (progress.isOver) return this.terminate();
      const key = asks(decoding.createDecoder(new Uint8Array(frame)));
      if (key !== undefined) this.#asked.push({ key, written: progress.written() });
      super.send(frame, ...rest);
    }
  };
}

/** Hocuspocus owes one SyncStatus (8) for each update (0, 1 or 2) of a document, in order. */
const HOCUSPOCUS = [
  (frame) => {
    decoding.readVarString(frame);
    return decoding.readVarUint(frame) === 0 && decoding.readVarUint(frame) !== 0 ? 'update' : undefined;
  },
  (frame) => {
    decoding.readVarString(frame);
    if (decoding.readVarUint(frame) !== 8) return undefined;
    assert.equal(decoding.readVarInt(frame), 1, 'nothing is refused');
    return 'update';
  },
];

/** y-sweet asks with message 102 and a number, and gets the same bytes back. */
const saveStatus = (frame) =>
  decoding.readVarUint(frame) === 102 ? decoding.readVarUint8Array(frame).join() : undefined;

/** Who types in each protocol: opens `name` and says how far the typing of `typist()` is acknowledged. */
const POPULATIONS = {
  async 'y-websocket'(stage, server, name, api) {
    const client = stage.client(server.url, name, api);
    await client.synced();
    return client;
  },
  async Hocuspocus(stage, server, name, api, typist) {
    const progress = { acknowledged: 0, written: () => typist()?.written ?? 0 };
    const socket = hocuspocusSocket(stage, server, { WebSocketPolyfill: witness(...HOCUSPOCUS, progress) });
    const client = onSocket(stage, socket, name, { token: api.token });
    await until('a Hocuspocus client to be in sync', () => client.isSynced());
    return Object.assign(progress, {
      text: client.text,
      destroy() {
        client.destroy();
        socket.destroy();
      },
    });
  },
  async 'y-sweet'(stage, server, name, _api, typist) {
    const progress = { acknowledged: 0, written: () => typist()?.written ?? 0 };
    const WebSocketPolyfill = witness(saveStatus, saveStatus, progress);
    const [client] = await openAll(stage, server, name, ['y-sweet 0.9'], { WebSocketPolyfill });
    return Object.assign(progress, { text: client.text, destroy: () => client.destroy() });
  },
};

async function typistOf(kind, stage, server, name, api, mark, random) {
  let typist;
  const client = await POPULATIONS[kind](stage, server, name, api, () => typist);
  typist = new Typist(client, mark, random);
  return typist;
}

scenario(
  'nothing that was acknowledged in any protocol is missing after kill -9',
  async (stage, t) => {
    const seed = 20261122;
    const random = seeded(seed);
    const server = await stage.server();
    const api = await server.person('Witness');
    const room = await api.createRoom('python');
    const node = await api.createNode(room.id, { name: 'typed.txt', kind: 'text', text: '' });
    const documents = {
      [`${room.id}/file:${node.id}`]: ['y-websocket', 'Hocuspocus'],
      'a-plain-document': Object.keys(POPULATIONS),
    };
    const acknowledged = new Map(Object.keys(documents).map((name) => [name, []]));
    const counts = Object.fromEntries(Object.keys(POPULATIONS).map((kind) => [kind, 0]));
    for (let round = 0; round < KILLS; round++) {
      const typists = [];
      for (const [name, kinds] of Object.entries(documents))
        for (const [i, kind] of kinds.entries())
          typists.push({
            name,
            kind,
            typist: await typistOf(kind, stage, server, name, api, `${round}${'abc'[i]}`, random),
          });
      const typing = typists.map(({ typist }) => typist.type());
      await until('some words to be acknowledged', () =>
        typists.every(({ typist }) => typist.client.acknowledged > 10),
      );
      await pause(random() * 400);
      await server.kill();
      for (const { name, kind, typist } of typists) {
        typist.stop();
        typist.client.isOver = true;
        acknowledged.get(name).push(...typist.acknowledged);
        counts[kind] += typist.acknowledged.length;
        // They must not bring back what the server lost.
        typist.client.destroy();
      }
      await Promise.all(typing);
      await server.start();
      for (const name of Object.keys(documents)) {
        const texts = [];
        for (let i = 0; i < 2; i++) texts.push(await look(api, name, ({ text }) => text.toString()));
        assert.equal(texts[0], texts[1], 'everybody gets the same');
        const missing = acknowledged.get(name).filter((word) => !texts[0].includes(word));
        assert.deepEqual(missing, [], `${name}, round ${round}, seed ${seed}`);
      }
    }
    t.diagnostic(`acknowledged edits that survived ${KILLS} kills: ${JSON.stringify(counts)}`);
  },
  { ms: 150_000 + KILLS * 15_000 },
);

scenario(
  'an orderly stop in the middle of typing tells everybody to come back and loses nothing',
  async (stage, t) => {
    const random = seeded(20261125);
    const server = await stage.server();
    const api = await server.person('Witness');
    const name = 'stopped-in-the-middle';
    const typists = [];
    for (const mark of 'abcd') {
      const client = stage.client(server.url, name, api);
      await client.synced();
      typists.push(new Typist(client, mark, random));
    }
    const typing = typists.map((typist) => typist.type());
    await until('some words to be acknowledged', () =>
      typists.every(({ client }) => client.acknowledged > 20),
    );
    const begin = Date.now();
    assert.equal(await server.stop(), 0, 'an orderly stop ends with 0');
    const took = Date.now() - begin;
    assert.ok(took < 15_000, `the stop took ${took} ms, longer than stop_grace_seconds`);
    for (const typist of typists) typist.stop();
    await Promise.all(typing);
    for (const { client } of typists)
      assert.equal(client.closes[0]?.code, 1012, 'the server is stopping: come back');
    const acknowledged = typists.flatMap((typist) => typist.acknowledged);
    await server.start();
    await look(api, name, ({ text }) => {
      const now = text.toString();
      assert.deepEqual(
        acknowledged.filter((word) => !now.includes(word)),
        [],
      );
    });
    // They bring what was not acknowledged.
    const whole = () => new Set(typists.map(({ client }) => client.text.toString()));
    await until(
      'all to be equal',
      () => typists.every(({ client }) => client.provider.synced) && whole().size === 1,
    );
    const [text] = whole();
    for (const typist of typists)
      for (let number = 1; number <= typist.written; number++) assert.ok(text.includes(typist.word(number)));
    t.diagnostic(`${acknowledged.length} acknowledged edits; the stop took ${took} ms`);
  },
);

scenario('browsers survive kill -9 in the middle of typing and of a run', async (stage, t) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  await write(api, room, 'test_basket.py', slowTest(8));
  for (const person of [ada, bob]) await person.open('README.md');
  const [run] = await until('a run', async () => {
    const runs = await api.runs(room);
    return runs.length > 0 && runs;
  });
  await ada.seesRun(run.id, 'running');
  await until('the run to have written something', async () =>
    (await api.runLog(room, run.id)).includes('second 1'),
  );

  await ada.caret('README.md', 'end');
  await ada.page.keyboard.insertText('Ada before. ');
  await ada.connected('saved');
  const typing = ada.page.keyboard.type('Ada keeps typing while the server dies under her. ', { delay: 25 });
  await ada.seesText('README.md', 'Ada keeps');
  await server.kill();
  await typing;
  for (const person of [ada, bob]) {
    await person.connected('reconnecting');
    assert.match((await person.connection()).text, /Reconnecting/);
  }
  // On a slow machine all of the above may have been saved before the end.
  await ada.page.keyboard.insertText('Ada after. ');
  await until('the page to say that something is not saved', async () =>
    /edits? (is|are) kept here/.test((await ada.connection()).text),
  );
  await bob.caret('README.md', 'home');
  await bob.page.keyboard.insertText('Bob typed this while the server was away. ');
  await server.start();
  for (const person of [ada, bob]) await person.connected('reconnected', 'saved', 'synced');
  const expected = [
    'Ada before. ',
    'Ada keeps typing while the server dies under her. ',
    'Bob typed this while the server was away. ',
  ];
  for (const person of [ada, bob])
    for (const part of expected) await person.seesText('README.md', part.trim());
  await until('the server to have all of it', async () => {
    const text = await textOf(api, room, 'README.md');
    return expected.every((part) => text.split(part).length === 2);
  });
  assert.equal((await ada.text('README.md')).trim(), (await bob.text('README.md')).trim());

  const ended = await runEnded(api, room, run.id);
  assert.ok(HONEST.includes(ended.state), `the run ended as ${ended.state}: ${ended.message}`);
  if (ended.state === 'passed') {
    assert.equal(ended.exit_code, 0);
    assert.match(await api.runLog(room, run.id), /second 0\nsecond 1\n(.*\n)*second 7\n/, 'the log is whole');
  } else assert.match(ended.message, /\w+ \w+/);
  t.diagnostic(`the run that was under way ended as ${ended.state}`);
  for (const person of [ada, bob]) await person.seesRun(run.id, ended.state);
  assert.ok((await server.containers()).length <= 1, 'one room has at most one container');

  // The room goes on working.
  await ada.get('run-now').click();
  await until(
    'a run after the crash to be running',
    async () => (await api.runs(room))[0].state === 'running',
  );

  // An orderly stop in the middle of that run.
  const { instance } = server;
  assert.equal(await server.stop(), 0, 'an orderly stop ends with 0');
  assert.deepEqual(await containersOf(instance), []);
  await server.start();
  for (const person of [ada, bob]) await person.connected('reconnected', 'saved', 'synced');
  const stopped = await until('the run that the stop ended', async () => {
    const [last] = await api.runs(room);
    return !['queued', 'running'].includes(last.state) && last;
  });
  assert.equal(stopped.state, 'interrupted');
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('containers that kill -9 left behind are taken up or removed by the next start', async (stage) => {
  const server = await stage.server();
  const api = await server.person('Witness');
  const room = await api.createRoom('python');
  const run = await api.runNow(room.id);
  await runEnded(api, room.id, run.id);
  assert.equal((await server.containers()).length, 1);
  await server.kill();
  assert.equal((await server.containers()).length, 1, 'nothing could tidy up');
  await server.start();
  await until(
    'the container that no run needs to be gone, or in use',
    async () => (await server.containers()).length <= 1,
  );
  const again = await api.runNow(room.id);
  assert.equal((await runEnded(api, room.id, again.id)).state, 'passed');
  assert.equal((await server.containers()).length, 1);
});

scenario(
  'whenever in its life a run is hit by kill -9, it ends truly and the next one works',
  async (stage, t) => {
    const server = await stage.server();
    const api = await server.person('Witness');
    const { id: room } = await api.createRoom('python');
    const ends = [];
    for (const after of [0, 60, 150, 300, 450, 600, 900]) {
      const run = await api.runNow(room);
      await pause(after);
      await server.kill();
      await server.start();
      const ended = await runEnded(api, room, run.id);
      assert.ok(
        HONEST.includes(ended.state),
        `killed after ${after} ms, it ended as ${ended.state}: ${ended.message}`,
      );
      if (ended.state === 'passed') assert.match(await api.runLog(room, run.id), /Ran 4 tests[\s\S]*OK/);
      ends.push(`${after} ms: ${ended.state}`);
      assert.ok((await server.containers()).length <= 1);
    }
    t.diagnostic(ends.join(', '));
  },
);

scenario(
  'what was typed before kill -9 fires after it, and what the program wrote meanwhile appears',
  async (stage) => {
    const server = await stage.server();
    const api = await server.person('Witness');
    const { id: room } = await api.createRoom('python');
    const writing = slowTest(4, 'Path(f"out-{second}.txt").write_text("from the program")');
    await write(api, room, 'test_basket.py', writing);
    // The rule waits for the end of the typing when the server dies.
    await server.kill();
    await server.start();
    const run = await until('the rule to fire after the restart', async () => (await api.runs(room))[0]);
    assert.equal(run.trigger, 'text');
    await until('the program to run', async () => (await api.runLog(room, run.id)).includes('second 1'));
    await server.kill();
    // The program goes on in its container while nobody looks.
    await pause(1500);
    await server.start();
    const ended = await runEnded(api, room, run.id);
    assert.ok(HONEST.includes(ended.state), ended.state);
    await until('the files of the program to be in the tree', async () => {
      const tree = await treeOf(api, room);
      return [0, 1].every((second) => tree.has(`out-${second}.txt`));
    });
    assert.equal(await textOf(api, room, 'out-0.txt'), 'from the program');
    if (ended.state === 'passed') assert.equal(await textOf(api, room, 'out-3.txt'), 'from the program');
    assert.equal(await textOf(api, room, 'test_basket.py'), writing);
  },
);
