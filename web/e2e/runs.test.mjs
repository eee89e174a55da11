/** What people type runs: when, how often, on which text, and what they see of it. */
import assert from 'node:assert/strict';
import { look, pythonTest, runEnded, textOf, treeOf, write } from './support/clients.mjs';
import { scenario } from './support/scenario.mjs';
import { stays, until } from './support/wait.mjs';

/** A rule fires this long after the last keystroke. */
const DEBOUNCE_MS = 1500;
/** Long enough for a rule to have fired, had it been going to. */
const SURELY_FIRED_MS = 3500;

const count = async (api, room) => (await api.runs(room)).filter((run) => run.state !== 'superseded').length;

/** A run that was not there before. */
function newRun(api, room, before) {
  const known = new Set(before.map((run) => run.id));
  return until('a new run', async () => (await api.runs(room)).find((run) => !known.has(run.id)));
}

scenario('typing fires the rule, and both people see the run from its queue to its end', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  const seen = new Map();
  const watcher = stage.client(server.url, `${room}/runs:main`, api);
  const runs = watcher.doc.getMap('runs');
  runs.observeDeep(() => {
    for (const run of Object.values(runs.toJSON()))
      seen.set(run.id, [...new Set([...(seen.get(run.id) ?? []), run.state])]);
  });
  await watcher.synced();

  await ada.open('test_basket.py');
  await ada.insert('test_basket.py', 'import time; time.sleep(1); print("MARKER-ONE")\n', 'home');
  const typed = Date.now();
  const first = await newRun(api, room, []);
  const waited = first.queued_at - typed;
  assert.ok(waited > DEBOUNCE_MS - 400 && waited < DEBOUNCE_MS + 3000, `it was queued after ${waited} ms`);
  for (const person of [ada, bob]) await person.seesRun(first.id, 'queued', 'running');
  for (const person of [ada, bob]) await person.seesRun(first.id, 'passed');
  const passed = await runEnded(api, room, first.id);
  assert.equal(passed.exit_code, 0);
  assert.equal(passed.requested_by_name, 'Ada', 'a run names the person whose typing caused it');
  assert.deepEqual(seen.get(first.id), ['queued', 'running', 'passed']);
  for (const person of [ada, bob]) {
    const detail = await person.detail(first.id);
    await until('the log to show what the text prints', async () =>
      (await detail.getByTestId('run-log').innerText()).includes('MARKER-ONE'),
    );
    assert.match(await detail.getByTestId('run-exit').innerText(), /exit code 0/);
    assert.match(await detail.getByTestId('run-command').innerText(), /python3 -m unittest/);
  }
  assert.match(await bob.get('run-duration').first().innerText(), /^\d+(\.\d)? (ms|s)$/);

  // Break it.
  await bob.open('test_basket.py');
  const before = await api.runs(room);
  await bob.insert('test_basket.py', 'assert 1 == 2, "MARKER-TWO"\n', 'home');
  const second = await newRun(api, room, before);
  for (const person of [ada, bob]) await person.seesRun(second.id, 'failed');
  const failed = await runEnded(api, room, second.id);
  assert.equal(failed.exit_code, 1);
  assert.equal(failed.requested_by_name, 'Bob');
  assert.ok(failed.finished_at > failed.started_at);
  const detail = await ada.detail(second.id);
  await until('the failure in the log', async () =>
    (await detail.getByTestId('run-log').innerText()).includes('MARKER-TWO'),
  );
  assert.match(await detail.getByTestId('run-exit').innerText(), /exit code 1/);
  assert.match(await api.runLog(room, second.id), /AssertionError: MARKER-TWO/);
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario(
  'the same text does not run twice, and typing during a run queues exactly one more',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const api = await server.person('Witness');
    const room = await ada.createRoom(server, 'python');
    await ada.open('test_basket.py');
    await write(api, room, 'test_basket.py', pythonTest('print("quick")'));
    await ada.seesText('test_basket.py', 'quick');
    const quick = await newRun(api, room, []);
    assert.equal((await runEnded(api, room, quick.id)).state, 'passed');

    // Typed and taken back.
    await ada.caret('test_basket.py', 'end');
    await ada.page.keyboard.type('#');
    await ada.page.keyboard.press('Backspace');
    await ada.connected('saved');
    await stays('there is one run', SURELY_FIRED_MS, async () => (await count(api, room)) === 1);

    // Another text, then the first one again, which has a result.
    await ada.insert('test_basket.py', '# another', 'end');
    const another = await newRun(api, room, [quick]);
    await runEnded(api, room, another.id);
    await write(api, room, 'test_basket.py', pythonTest('print("quick")'));
    await stays('there are two runs', SURELY_FIRED_MS, async () => (await count(api, room)) === 2);

    // Three edits, each long enough after the other to fire, while one run is under way.
    await write(api, room, 'test_basket.py', pythonTest('time.sleep(9)', 'print("slow")'));
    const slow = await newRun(api, room, [quick, another]);
    await until('the slow run to be running', async () => (await api.runs(room))[0].state === 'running');
    for (const edit of ['first', 'second', 'third']) {
      await write(api, room, 'test_basket.py', pythonTest(`print("${edit} edit")`));
      await until(`the ${edit} edit to be queued`, async () => {
        const queued = (await api.runs(room)).filter((run) => run.state === 'queued');
        assert.ok(queued.length <= 1, 'at most one is queued');
        return queued.length === 1;
      });
      if (edit !== 'third')
        await stays('one is queued', 1800, async () => {
          const open = (await api.runs(room)).filter((run) => ['queued', 'running'].includes(run.state));
          return open.length <= 2;
        });
    }
    assert.equal((await runEnded(api, room, slow.id)).state, 'passed');
    await until('everything to be over', async () =>
      (await api.runs(room)).every((run) => !['queued', 'running'].includes(run.state)),
    );
    await stays('one more run came of it', SURELY_FIRED_MS, async () => (await count(api, room)) === 4);
    const last = (await api.runs(room)).find((run) => run.state !== 'superseded');
    assert.match(await api.runLog(room, last.id), /third edit/, 'the last run ran the last text');
  },
);

scenario('Run now runs the same text again, and Cancel ends a run for both', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'node');
  await bob.join(server, room);
  await ada.get('run-now').click();
  const first = await newRun(api, room, []);
  for (const person of [ada, bob]) await person.seesRun(first.id, 'passed');
  await bob.get('run-now').click();
  const second = await newRun(api, room, [first]);
  for (const person of [ada, bob]) await person.seesRun(second.id, 'passed');
  assert.equal((await runEnded(api, room, second.id)).requested_by_name, 'Bob');

  await write(api, room, 'test/words.test.js', 'console.log("begun"); setTimeout(() => {}, 60000);\n');
  const slow = await newRun(api, room, [first, second]);
  for (const person of [ada, bob]) await person.seesRun(slow.id, 'running');
  const detail = await bob.detail(slow.id);
  const asked = Date.now();
  await detail.getByTestId('run-cancel').click();
  for (const person of [ada, bob]) await person.seesRun(slow.id, 'cancelled');
  assert.ok(Date.now() - asked < 15_000, 'a cancelled program does not run to its end');
  await bob.get('run-now').click();
  const third = await newRun(api, room, [first, second, slow]);
  await ada.seesRun(third.id, 'running');
  await api.cancel(room, third.id);
  await ada.seesRun(third.id, 'cancelled');
});

scenario(
  'a file that the program writes appears for both, and what they type in it reaches the program',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const bob = await stage.person('Bob');
    const api = await server.person('Witness');
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    await write(
      api,
      room,
      'test_basket.py',
      pythonTest(
        'notes = Path("out/notes.txt")',
        'notes.parent.mkdir(exist_ok=True)',
        'if notes.exists(): print("THE NOTES SAY", notes.read_text())',
        'else: notes.write_text("written by the program\\n")',
      ),
    );
    const first = await newRun(api, room, []);
    assert.equal((await runEnded(api, room, first.id)).state, 'passed');
    for (const person of [ada, bob]) {
      await person.sees('out');
      if ((await person.item('out').getAttribute('aria-expanded')) === 'false')
        await person.item('out').click();
      await person.open('out/notes.txt');
      await person.seesText('out/notes.txt', 'written by the program');
    }
    await ada.type('out/notes.txt', 'seen by ada');
    await bob.seesText('out/notes.txt', 'seen by ada');
    await ada.connected('saved');
    await ada.get('run-now').click();
    const second = await newRun(api, room, [first]);
    assert.equal((await runEnded(api, room, second.id)).state, 'passed');
    assert.match(await api.runLog(room, second.id), /THE NOTES SAY written by the program\nseen by ada/);
    assert.equal(await textOf(api, room, 'out/notes.txt'), 'written by the program\nseen by ada');
    // A file's own appearance fires nothing: only people's edits do.
    assert.equal(await count(api, room), 2);
    const node = (await treeOf(api, room)).get('out/notes.txt');
    assert.equal((await api.content(room, node.id)).toString(), 'written by the program\nseen by ada');
    assert.equal(await look(api, `${room}/file:${node.id}`, ({ text }) => text.length), 34);
  },
);

scenario(
  'people type in a file while the program rewrites it, and nothing of either is lost',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const api = await server.person('Witness');
    const room = await ada.createRoom(server, 'python');
    await api.createNode(room, { name: 'shared.txt', kind: 'text', text: 'the first line\n' });
    await write(
      api,
      room,
      'test_basket.py',
      pythonTest(
        'shared = Path("shared.txt")',
        'for number in range(12):',
        '    shared.write_text(shared.read_text() + f"program {number}\\n")',
        '    time.sleep(0.25)',
      ),
    );
    const run = await newRun(api, room, []);
    await ada.open('shared.txt');
    await ada.seesText('shared.txt', 'program 0');
    const typed = 'ada types all the while, letter by letter. ';
    await ada.caret('shared.txt', 'home');
    await ada.page.keyboard.type(typed, { delay: 50 });
    assert.equal((await runEnded(api, room, run.id)).state, 'passed');
    const expected = ['the first line', ...Array.from({ length: 12 }, (_, number) => `program ${number}`)];
    await until('both to be there', async () => {
      const text = await textOf(api, room, 'shared.txt');
      return text.includes(typed) && expected.every((line) => text.split(line).length >= 2) && { text };
    });
    await ada.seesText('shared.txt', 'program 11');
    assert.ok((await ada.text('shared.txt')).includes(typed));
  },
);

scenario('a program that takes too much ends with the limit that it came to', async (stage) => {
  const server = await stage.server({
    BUILDSPACES_SANDBOX_OUTPUT_MIB: '2',
    BUILDSPACES_SANDBOX_STEP_SECONDS: '6',
    BUILDSPACES_SANDBOX_PIDS: '64',
    BUILDSPACES_SANDBOX_TMP_MIB: '8',
  });
  const ada = await stage.person('Ada');
  const api = await server.person('Witness');
  const room = await ada.createRoom(server, 'python');
  for (const [lines, says] of [
    [['while True: print("on and on " * 100)'], /printed more than 2 MiB.*\(sandbox\.output_mib\)/],
    [['time.sleep(900)'], /ran for more than 6 s.*\(sandbox\.step_seconds\)/],
    [
      ['import threading', 'for _ in range(99): threading.Thread(target=time.sleep, args=(3,)).start()'],
      /more processes and threads than the 64.*\(sandbox\.pids\)/,
    ],
    [['Path("/tmp/full").write_bytes(bytes(20_000_000))'], /\/tmp was full.*8 MiB \(sandbox\.tmp_mib\)/],
  ]) {
    const before = await api.runs(room);
    await write(api, room, 'test_basket.py', pythonTest(...lines));
    const { id } = await newRun(api, room, before);
    const run = await runEnded(api, room, id);
    assert.equal(run.state, 'failed');
    assert.match(run.message, says);
    const detail = await ada.detail(id);
    await until('the page to say so', async () => says.test(await detail.innerText()));
  }
  // Nobody else notices, and the room goes on.
  const before = await api.runs(room);
  await write(api, room, 'test_basket.py', pythonTest('pass'));
  const { id } = await newRun(api, room, before);
  assert.equal((await runEnded(api, room, id)).state, 'passed');
});

scenario('a room’s first run gets a container that was waiting, with the room’s files', async (stage) => {
  const server = await stage.server();
  const api = await server.person('Witness');
  const [waiting] = await until('a container that waits', async () => {
    const containers = await server.everyContainer();
    return containers.length === 1 && containers;
  });
  assert.deepEqual(await server.containers(), [], 'it is nobody’s');
  // Its agent has to dial, too.
  const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
  await until('its agent', async () => (await metrics()).includes('buildspaces_sandboxes_warm 1'));

  const { id: room } = await api.createRoom('python');
  await write(
    api,
    room,
    'test_basket.py',
    pythonTest('print("kept:", Path("README.md").exists())', 'Path("made.txt").write_text("by the run")'),
  );
  const first = await until('a run', async () => (await api.runs(room))[0]);
  const ended = await runEnded(api, room, first.id);
  assert.equal(ended.state, 'passed');
  assert.match(ended.image, /^sha256:[0-9a-f]{64}$/);
  assert.match(await api.runLog(room, first.id), /kept: True/);
  assert.deepEqual(await server.containers(), [waiting]);
  assert.match(await metrics(), /buildspaces_sandbox_starts_total\{from="warm"\} 1/);
  assert.equal(await textOf(api, room, 'made.txt'), 'by the run');
  await write(api, room, 'made.txt', 'by a person');
  const second = await api.runNow(room);
  assert.equal((await runEnded(api, room, second.id)).state, 'passed');
  await until('another that waits', async () => (await server.everyContainer()).length > 1);
  assert.deepEqual(await server.containers(), [waiting], 'and the room keeps its own');
});
