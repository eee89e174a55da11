/** The main pages and dialogs, as axe sees them: names, roles, contrast. What only people see is looked at by people. */
import assert from 'node:assert/strict';
import { faults } from './support/axe.mjs';
import { joinCall, sees, talker } from './support/call.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

for (const colorScheme of ['dark', 'light'])
  scenario(`nothing keeps people out of the main pages, in ${colorScheme}`, async (stage) => {
    // What fades in has no contrast on its way.
    const looks = { colorScheme, reducedMotion: 'reduce', permissions: ['microphone', 'camera'] };
    const server = await stage.server();
    const [ada, bob] = [await talker(stage, 'Ada', looks), await talker(stage, 'Bob', looks)];
    const found = [];
    const look = async (person, where) => {
      // Transitions that go on all the same, such as those of the libraries.
      await until('everything to stand still', () =>
        person.page.evaluate(() =>
          document.getAnimations().every((one) => one.effect?.getTiming().iterations === Infinity),
        ),
      );
      for (const fault of await faults(person)) found.push(`${where}: ${fault}`);
    };
    const inDialog = async (person, id, where) => {
      await person.get(id).first().click();
      await person.get('dialog').waitFor();
      await look(person, where);
      await person.page.keyboard.press('Escape');
      await person.get('dialog').waitFor({ state: 'detached' });
    };

    await ada.page.goto(`${server.url}/`);
    await ada.get('lobby-name').waitFor();
    assert.equal(await ada.page.locator('html').getAttribute('data-theme'), colorScheme);
    await look(ada, 'the front page');
    const room = await ada.createRoom(server, 'python');
    await ada.open('README.md');
    await look(ada, 'a room with a file');
    await bob.page.goto(`${server.url}/r/${room}`);
    await bob.get('join-name').waitFor();
    await look(bob, 'the way into a room');
    await bob.join(server, room);
    await ada.insert('README.md', 'A first line.\n', 'home');
    await ada.get('open-history').click();
    await ada.get('version').first().click();
    await ada.get('version-diff').waitFor();
    await look(ada, 'what a version changed');
    await ada.get('mode-text').click();
    await ada.get('version-text').waitFor();
    await look(ada, 'an older version');

    await inDialog(ada, 'share', 'the dialog that shares');
    await inDialog(ada, 'secrets', 'the secrets');
    await ada.page.keyboard.press('Control+KeyP');
    await ada.get('quick-open-item').first().waitFor();
    await look(ada, 'the search for a file');
    await ada.page.keyboard.press('Escape');
    await ada.get('quick-open').waitFor({ state: 'detached' });
    await ada.get('lower-changes').click();
    await ada.get('git-panel').waitFor();
    await look(ada, 'the changes');
    await ada.get('lower-terminal').click();
    await ada.get('recordings').waitFor();
    await look(ada, 'the terminals');
    await inDialog(ada, 'recordings', 'the recordings');
    await inDialog(ada, 'call', 'the way into a call');

    await joinCall(ada, { camera: true });
    await joinCall(bob);
    await sees(bob, 'Ada');
    await look(bob, 'a call');
    await bob.get('control-reactions').click();
    await look(bob, 'the reactions');
    await bob.get('hand').click();
    await ada.get('tile-hand').waitFor();
    await look(ada, 'a call with a raised hand');
    await inDialog(ada, 'control-devices', 'the devices');
    await inDialog(ada, 'start-recording', 'a question');
    await ada.get('start-recording').click();
    await ada.get('dialog-confirm').click();
    await bob.get('recording-consent').waitFor();
    await look(bob, 'a call that is recorded');
    assert.deepEqual(found, []);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  });
