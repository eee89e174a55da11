/** Recordings of terminals, with two browsers and a real shell in a real container. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { scenario } from './support/scenario.mjs';
import { lookAtTerminal, openTerminal, START_MS, sees, shown, type } from './support/terminal.mjs';
import { until } from './support/wait.mjs';

async function setRecording(person, on) {
  await person.get('recordings').click();
  const box = person.get('record-terminals');
  assert.equal(await box.isChecked(), !on);
  await box.click();
  await until('the setting to be taken', async () => (await box.isChecked()) === on);
  await person.page.keyboard.press('Escape');
}

const seconds = async (person) => {
  const [, minutes, rest] = /^(\d+):(\d+) \//.exec(await person.get('cast-clock').innerText());
  return Number(minutes) * 60 + Number(rest);
};

scenario(
  'a host has a terminal recorded; everybody sees that, and can play what was shown',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const bob = await stage.person('Bob');
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    await openTerminal(ada);
    await lookAtTerminal(bob);
    await sees(bob, '/workspace $');
    await type(ada, 'echo "earlier-$((40+1))"; clear\n');
    await until('the screen to be clear', async () => !(await shown(ada)).includes('earlier'));

    // Off by default, and only a host turns it on.
    assert.equal(await ada.get('terminal-recorded').count(), 0);
    await bob.get('recordings').click();
    assert.match(await bob.get('record-setting').innerText(), /not recorded/);
    assert.equal(await bob.get('record-terminals').count(), 0);
    await bob.get('recordings-empty').waitFor();
    await bob.page.keyboard.press('Escape');
    await setRecording(ada, true);
    for (const person of [ada, bob]) await person.get('terminal-recorded').waitFor();
    assert.match(await bob.get('terminal-tab').innerText(), /REC/);
    // Also for who comes later.
    await bob.page.reload();
    await bob.inRoom();
    await bob.get('terminal-recorded').waitFor();

    await type(ada, 'echo "shown-$((40+2))-žluťoučký"\n');
    for (const person of [ada, bob]) await sees(person, 'shown-42-žluťoučký');
    await type(ada, `read -rs word; echo "length-\${#word}"\n`);
    await type(ada, 'hidden-word\n');
    await sees(ada, 'length-11');
    await setRecording(ada, false);
    for (const person of [ada, bob])
      await until('no mark to be left', async () => (await person.get('terminal-recorded').count()) === 0);
    await type(ada, 'echo "after-$((40+3))"\n');
    await sees(ada, 'after-43');

    // What is downloaded is an asciicast of what was shown, and of nothing else.
    await bob.get('recordings').click();
    await bob.get('recording').waitFor();
    const [download] = await Promise.all([
      bob.page.waitForEvent('download'),
      bob.get('recording-download').click(),
    ]);
    assert.match(download.suggestedFilename(), /^terminal-1-.*\.cast$/);
    const cast = await readFile(await download.path(), 'utf8');
    const [header, ...events] = cast
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(header.version, 2);
    assert.ok(
      header.width > 10 && header.height > 2 && header.timestamp > 1_700_000_000,
      JSON.stringify(header),
    );
    for (const [time, kind, text] of events) {
      assert.ok(Number.isFinite(time) && ['o', 'r', 'm'].includes(kind) && typeof text === 'string');
    }
    const output = events.filter(([, kind]) => kind === 'o').map(([, , text]) => text);
    assert.ok(output[0].startsWith('\u001bc'), 'it begins with a picture of the screen');
    for (const part of ['shown-42-žluťoučký', 'length-11']) assert.ok(output.join('').includes(part), part);
    for (const part of ['earlier-41', 'hidden-word', 'after-43'])
      assert.ok(!output.join('').includes(part), `${part} is not in it`);

    // It is played in the page, by its keys as well.
    await bob.get('recording-play').click();
    await bob.get('cast-player').waitFor();
    await bob.get('cast-speed-4').click();
    await sees(bob, 'length-11', undefined, 'cast-screen');
    assert.ok((await shown(bob, 'cast-screen')).includes('shown-42-žluťoučký'));
    const toggle = bob.get('cast-toggle');
    await until('it to be at its end', async () => (await toggle.getAttribute('aria-label')) === 'Play');
    const end = await seconds(bob);
    await bob.get('cast-bar').focus();
    await bob.page.keyboard.press('Home');
    await until('the beginning to be shown', async () => (await seconds(bob)) === 0);
    await until(
      'nothing of later to be shown',
      async () => !(await shown(bob, 'cast-screen')).includes('length-11'),
    );
    for (let step = 0; step * 5 <= end; step += 1) await bob.page.keyboard.press('ArrowRight');
    await sees(bob, 'length-11', undefined, 'cast-screen');
    await bob.page.keyboard.press('Home');
    await bob.page.keyboard.press(' ');
    await until('it to play', async () => (await toggle.getAttribute('aria-label')) === 'Pause');
    await bob.page.keyboard.press(' ');
    await until('it to stand', async () => (await toggle.getAttribute('aria-label')) === 'Play');
    await bob.get('recording-back').click();

    // Hosts delete.
    await bob.get('recording').waitFor();
    assert.equal(await bob.get('recording-delete').count(), 0);
    await ada.get('recordings').click();
    await ada.get('recording-delete').click();
    await ada.get('dialog-confirm').click();
    await ada.get('recordings-empty').waitFor();
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);

scenario('what was recorded outlives a killed server', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const room = await ada.createRoom(server, 'python');
  await ada.get('lower-terminal').click();
  await setRecording(ada, true);
  await ada.get('open-terminal').click();
  await ada.get('terminal-recorded').waitFor();
  await sees(ada, '/workspace $', START_MS);
  await type(ada, 'echo "kept-$((40+4))"\n');
  await sees(ada, 'kept-44');
  const api = await server.person('Eve');
  const file = async () => {
    const [recording] = await api.call('GET', `/rooms/${room}/recordings`);
    const answer = await api.raw('GET', `/rooms/${room}/recordings/${recording.id}`);
    return { recording, text: await answer.text() };
  };
  await until('it to be written', async () => (await file()).text.includes('kept-44'));
  await server.kill();
  await server.start();
  const { recording, text } = await file();
  assert.deepEqual([recording.state, recording.bytes], ['interrupted', Buffer.byteLength(text)]);
  assert.ok(text.includes('kept-44'));
  for (const line of text.trimEnd().split('\n')) JSON.parse(line);
  assert.equal((await api.call('GET', `/rooms/${room}/terminals/settings`)).record, true);
});
