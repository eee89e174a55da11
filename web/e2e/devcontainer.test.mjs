/** A room whose devcontainer.json says how its sandbox is made, in a browser and on a real engine. */
import assert from 'node:assert/strict';
import { pythonTest, runEnded, textOf, write } from './support/clients.mjs';
import { inspect, withSecondImage } from './support/docker.mjs';
import { scenario } from './support/scenario.mjs';
import { openTerminal, START_MS, sees, type } from './support/terminal.mjs';
import { until } from './support/wait.mjs';

const IMAGE = 'buildspaces/workspace:1';
const PATH = '.devcontainer.json';

const devcontainer = (file) => ({
  name: PATH,
  kind: 'text',
  text: `// How it is made.\n${JSON.stringify(file)}`,
});

/** The run that sets the sandbox up, once it is there. */
const setUp = (api, room) =>
  until(
    'the sandbox to be set up',
    async () => (await api.runs(room)).find((run) => run.trigger === 'sandbox'),
    START_MS,
  );

scenario(
  'a room gets the sandbox that its devcontainer.json asks for, set up once, and is told what it does not get',
  async (stage) => {
    await withSecondImage(IMAGE, async (second) => {
      const server = await stage.server({ BUILDSPACES_SANDBOX_IMAGES: `["${second}"]` });
      const api = await server.person('Witness');
      const ada = await stage.person('Ada');
      const room = await ada.createRoom(server, 'python');
      await api.createNode(
        room,
        devcontainer({
          image: second,
          containerEnv: { FLAVOUR: 'plum' },
          postCreateCommand: 'cat /etc/second && echo "$FLAVOUR" >> set-up.txt && sleep 2',
          privileged: true,
          mounts: ['source=/,target=/host,type=bind'],
          forwardPorts: [8123],
          portsAttributes: { 8123: { label: 'Shop' } },
        }),
      );
      await ada.sees(PATH);
      await write(
        api,
        room,
        'test_basket.py',
        pythonTest('import os', 'print("MADE OF", os.environ["FLAVOUR"], Path("set-up.txt").read_text())'),
      );
      const made = await setUp(api, room);
      await ada.seesRun(made.id, 'running');
      const phase = ada.get('sandbox-phase');
      await until('the page to say what is waited for', async () =>
        /Container \d+.*Running postCreateCommand/s.test(await phase.innerText()),
      );
      await ada.seesRun(made.id, 'passed');
      assert.match(await api.runLog(room, made.id), /# postCreateCommand: cat .*\nthe second image\n/);
      const tested = await until(
        'the tests to have run',
        async () => (await api.runs(room)).find((run) => run.trigger === 'text' && run.state === 'passed'),
        START_MS,
      );
      assert.match(await api.runLog(room, tested.id), /MADE OF plum plum/);
      const { image } = await runEnded(api, room, made.id);
      assert.equal(tested.image, image);
      const [container] = await server.containers();
      const { Config, HostConfig, Mounts } = await inspect(container);
      assert.equal(Config.Image, image);
      assert.equal(HostConfig.Privileged, false);
      assert.equal(Mounts.length, 2);

      // What it did not get is told in the page, by name.
      await ada.get('devcontainer').first().click();
      const notices = ada.get('devcontainer-notice');
      await notices.first().waitFor();
      const keys = await notices.evaluateAll((items) => items.map((item) => item.dataset.key));
      assert.deepEqual(keys, ['mounts', 'privileged']);
      assert.match(await ada.get('devcontainer-list').innerText(), /not granted/);
      await ada.page.keyboard.press('Escape');
      await ada.get('ports').click();
      const port = ada.page.locator('[data-testid="port"][data-port="8123"]');
      assert.match(await port.innerText(), /8123\s+Shop, no program yet/);
      assert.equal(await port.getByTestId('open-preview').isDisabled(), true);
      await ada.page.keyboard.press('Escape');

      // A terminal has the same variables; another run sets nothing up again.
      await openTerminal(ada);
      await type(ada, 'echo "<$FLAVOUR>"; python3 -m http.server 8123 --bind 127.0.0.1 &\n');
      await sees(ada, '<plum>');
      await ada.get('ports').click();
      await until(
        'the port to be in use',
        async () => (await port.getAttribute('data-listening')) === 'true',
      );
      const again = await api.runNow(room);
      assert.equal((await runEnded(api, room, again.id)).state, 'passed');
      assert.equal((await api.runs(room)).filter((run) => run.trigger === 'sandbox').length, 1);
      assert.equal(await textOf(api, room, 'set-up.txt'), 'plum\n');
    });
  },
);

scenario('a set-up that fails and a file that asks for too much leave the room usable', async (stage) => {
  const server = await stage.server();
  const api = await server.person('Witness');
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  const file = { image: 'evil/image', initializeCommand: 'true', postCreateCommand: 'echo no luck; exit 7' };
  await api.createNode(room, devcontainer(file));
  const run = await api.runNow(room);
  assert.equal((await runEnded(api, room, run.id)).state, 'passed');
  const made = await setUp(api, room);
  assert.equal((await runEnded(api, room, made.id)).exit_code, 7);
  await ada.seesRun(made.id, 'failed');
  assert.match(await api.runLog(room, made.id), /no luck\n# postCreateCommand failed \(exit status 7\)/);
  await until(
    'the notices',
    async () => (await ada.get('devcontainer').first().getAttribute('data-notices')) === '2',
  );
});
