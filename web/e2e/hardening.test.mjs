/** What goes wrong on a machine, and what programs do that nobody wants: each gets a sentence, and nothing is lost. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pythonTest, runEnded, treeOf, write } from './support/clients.mjs';
import { inspect, killContainer } from './support/docker.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram, temporaryFolder } from './support/server.mjs';
import { until } from './support/wait.mjs';

const NOWHERE = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };

scenario('a start that cannot succeed says what to do', async (stage) => {
  const folder = temporaryFolder();
  const config = join(folder, 'config.toml');
  writeFileSync(config, 'listen = "127.0.0.1:0"\nlisten_on = "x"\n');
  const file = join(folder, 'a-file');
  writeFileSync(file, 'not a folder');
  const running = await stage.server(NOWHERE);
  const busy = createServer();
  await new Promise((done) => busy.listen(0, '127.0.0.1', done));
  const { port } = busy.address();

  const serve = (...args) => runProgram(['serve', ...args], NOWHERE);
  const free = ['--listen', '127.0.0.1:0'];
  const elsewhere = ['--data', join(folder, 'data')];
  const starts = [
    [
      () => serve('--config', config, ...elsewhere),
      /listen_on[\s\S]*configuration\.md|configuration\.md[\s\S]*listen_on/,
    ],
    [() => serve('--config', join(folder, 'none.toml')), /cannot read the configuration file/],
    [() => runProgram(['serve', ...elsewhere], { ...NOWHERE, BUILDSPACES_LISTN: 'x' }), /listn/],
    [() => serve('--listen', `127.0.0.1:${port}`, ...elsewhere), /in use.*--listen/],
    [() => serve(...free, '--data', file), /cannot create the data folder .*--data/],
    [() => serve(...free, '--data', '/proc/buildspaces'), /cannot create the data folder .*--data/],
    [() => serve(...free, '--data', running.data), /another BuildSpaces server.*--data/],
    [() => serve('--listen', '0.0.0.0:0', ...elsewhere), /other machines.*--insecure-open-access/],
    [() => serve('--listen', 'somewhere', ...elsewhere), /not an address/],
    [() => serve('--colour'), /unexpected argument '--colour'/],
  ];
  try {
    for (const [begin, sentence] of starts) {
      const { code, output } = await begin();
      assert.notEqual(code, 0, output);
      assert.match(output, sentence);
      assert.doesNotMatch(output, /panicked|BuildSpaces is ready/);
    }
  } finally {
    busy.close();
    rmSync(folder, { recursive: true });
  }
});

scenario('without a Docker engine the room works, and everybody is told that runs are off', async (stage) => {
  const server = await stage.server(NOWHERE);
  assert.match(server.log, /Runs are off: .*\w+.*\w+/);
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  const api = await server.person('Witness');
  const { sandbox } = await api.status();
  assert.equal(sandbox.state, 'off');
  assert.match(sandbox.message, /\w+ \w+/);
  assert.match(sandbox.hint, /\w+ \w+/);
  const banner = ada.get('sandbox-banner');
  await banner.waitFor();
  assert.match(await banner.innerText(), /Runs are off/);
  assert.ok((await banner.innerText()).includes(sandbox.hint));
  await ada.open('basket.py');
  await ada.insert('basket.py', '# still works');
  await ada.connected('saved');
  const refusal = await api.runNow(room).catch((error) => error);
  assert.equal(refusal.code, 'runs_off');
  assert.match(refusal.sentence, /runs are off/i);
});

scenario(
  'a program writes a very large file, one that is not text, and ones with bad names',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const api = await server.person('Witness');
    const room = await ada.createRoom(server, 'python');
    await write(
      api,
      room,
      'test_basket.py',
      pythonTest(
        'Path("large.bin").write_bytes(b"x" * 100_000_000)',
        'Path("latin.txt").write_bytes(b"caf\\xe9\\n" + bytes(range(256)))',
        'Path("large.txt").write_text("a line\\n" * 200_000)',
        'Path("bad\\nname.txt").write_text("x")',
        'Path(b"bad-\\xff.txt".decode("utf-8", "surrogateescape")).write_text("x")',
        'Path("passwords").symlink_to("/etc/passwd")',
        'Path("plain.txt").write_text("as it should be\\n")',
      ),
    );
    const run = await until('a run', async () => (await api.runs(room))[0]);
    const ended = await runEnded(api, room, run.id);
    assert.equal(ended.state, 'passed', await api.runLog(room, run.id));
    for (const path of ['large.bin', 'latin.txt', 'large.txt', 'plain.txt']) await ada.sees(path);
    const tree = await until('the sizes to be right', async () => {
      const found = await treeOf(api, room);
      return found.get('large.bin')?.size === 100_000_000 && found;
    });
    assert.equal(tree.get('large.bin').kind, 'large');
    assert.equal(tree.get('large.txt').kind, 'large');
    assert.equal(tree.get('latin.txt').kind, 'binary');
    assert.equal(tree.get('plain.txt').kind, 'text');
    assert.ok(!tree.has('passwords'), 'a link out of the workspace is no file of the room');
    assert.ok(![...tree.keys()].some((path) => path.startsWith('bad')), [...tree.keys()].join());

    await ada.item('large.bin').click();
    assert.match(await ada.get('file-panel').innerText(), /large file[\s\S]*95 MB|100 MB/i);
    await ada.item('latin.txt').click();
    await until('the panel of the binary file', async () =>
      /binary file/i.test(await ada.get('file-panel').innerText()),
    );
    const [download] = await Promise.all([
      ada.page.waitForEvent('download'),
      ada.get('file-download').click(),
    ]);
    const bytes = Buffer.concat([
      Buffer.from('caf\xe9\n', 'latin1'),
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    ]);
    assert.deepEqual(await readFile(await download.path()), bytes);
    assert.deepEqual(await api.content(room, tree.get('latin.txt').id), bytes);
    // The room is alive meanwhile.
    await ada.open('basket.py');
    await ada.insert('basket.py', '# alive');
    await ada.connected('saved');
  },
);

scenario('the container is shut in, and its death is survived', async (stage) => {
  const server = await stage.server();
  const api = await server.person('Witness');
  const { id: room } = await api.createRoom('python');
  await write(
    api,
    room,
    'test_basket.py',
    pythonTest('print("begun", flush=True)', 'time.sleep(3 if Path("again").exists() else 60)'),
  );
  const run = await until('a run', async () => (await api.runs(room))[0]);
  await until('the program to run', async () => (await api.runLog(room, run.id)).includes('begun'));
  const [container, ...more] = await server.containers();
  assert.deepEqual(more, []);

  const { HostConfig, Config, NetworkSettings, Mounts } = await inspect(container);
  assert.equal(HostConfig.NetworkMode, 'none');
  assert.deepEqual(Object.keys(NetworkSettings.Networks), ['none']);
  assert.deepEqual(HostConfig.CapDrop, ['ALL']);
  assert.equal(HostConfig.CapAdd, null);
  assert.equal(HostConfig.Privileged, false);
  assert.equal(HostConfig.ReadonlyRootfs, true);
  assert.ok(HostConfig.SecurityOpt.includes('no-new-privileges'));
  assert.ok(HostConfig.Memory > 0 && HostConfig.MemorySwap === HostConfig.Memory);
  assert.ok(HostConfig.NanoCpus > 0);
  assert.ok(HostConfig.PidsLimit > 0);
  assert.notEqual(Config.User.split(':')[0], '0');
  assert.deepEqual(
    Mounts.filter((mount) => mount.Type === 'bind')
      .map(({ Destination, RW }) => [Destination, RW])
      .sort(),
    [
      ['/run/buildspaces', false],
      ['/workspace', true],
    ],
  );
  assert.ok(Mounts.every((mount) => !/docker\.sock/.test(mount.Source ?? '')));

  await killContainer(container);
  const ended = await runEnded(api, room, run.id);
  assert.equal(ended.state, 'interrupted');
  assert.match(ended.message, /\w+ \w+ \w+/);
  await write(api, room, 'README.md', 'still here\n');
  await api.createNode(room, { name: 'again', kind: 'text', text: 'x' });
  const next = await api.runNow(room);
  assert.equal((await runEnded(api, room, next.id)).state, 'passed', 'the next run gets a new container');
});
