/** Recordings of calls: two people with a camera that shows a clock and a microphone that beeps, and files that Chromium plays. */
import assert from 'node:assert/strict';
import { joinCall, talker } from '../support/call.mjs';
import { scenario } from '../support/scenario.mjs';
import { pause, stays, until } from '../support/wait.mjs';

const joinWithBoth = (person) => joinCall(person, { microphone: true, camera: true });

async function record(person) {
  await person.get('start-recording').click();
  await person.get('dialog-confirm').click();
  await person.get('call-recording-on').waitFor();
}

/** Frames of one layer of this page's camera. */
const sent = (person, layer) =>
  person.page.evaluate(async (layer) => {
    let frames = 0;
    for (const peer of window.testPeers.filter((peer) => peer.connectionState === 'connected'))
      for (const report of (await peer.getStats()).values())
        if (report.type === 'outbound-rtp' && report.rid === layer) frames += report.framesSent ?? 0;
    return frames;
  }, layer);

const filesOf = (recording) => recording.files.map((file) => `${file.person_name} ${file.source}`).sort();

/** What the player shows, while it plays. */
const shown = (person) =>
  person.get('call-player').evaluate((player) => ({
    width: player.videoWidth,
    frames: player.getVideoPlaybackQuality().totalVideoFrames,
    at: player.currentTime,
    duration: player.duration,
    error: player.error?.message ?? null,
  }));

/** How loud a voice's file is at its loudest, and how long in seconds, as a browser reads it. */
async function heard(person, api, path) {
  const bytes = Buffer.from(await (await api.raw('GET', path)).arrayBuffer());
  return await person.page.evaluate(async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const sound = await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(bytes.buffer);
    const samples = sound.getChannelData(0);
    return {
      peak: samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0),
      seconds: sound.duration,
    };
  }, bytes.toString('base64'));
}

/** Of several of the same words the first. */
const fileRow = (person, words) => person.get('call-file').filter({ hasText: words }).first();

async function plays(person, words) {
  await fileRow(person, words).getByTestId('call-file-play').click();
  await until(`${words} to play`, async () => {
    if ((await person.get('call-player').count()) === 0) return false;
    if ((await person.get('call-player').getAttribute('aria-label')) !== words) return false;
    const { at, error } = await shown(person);
    assert.equal(error, null);
    return at > 0.5;
  });
}

scenario('a host has the call recorded; everybody is told and asked, and the files play', async (stage) => {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  const bob = await talker(stage, 'Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  const api = await server.person('Eve');
  const list = () => api.call('GET', `/rooms/${room}/media/recordings`);
  await joinWithBoth(ada);
  await joinWithBoth(bob);
  assert.equal(await bob.get('start-recording').count(), 0, 'an editor may not');

  await record(ada);
  await bob.get('recording-consent').waitFor();
  assert.match(await bob.get('call-recording-on').innerText(), /Ada is recording this call/);
  assert.equal(await bob.get('stop-recording').count(), 0);
  assert.match(await ada.get('recording-missing').innerText(), /Bob has not agreed/);
  // Who comes now knows before joining.
  const eve = await stage.person('Eve');
  await eve.join(server, room);
  await eve.get('call-recorded').waitFor();
  await eve.get('call').click();
  assert.match(await eve.get('join-recorded').innerText(), /Ada is recording this call/);
  await eve.page.keyboard.press('Escape');
  // Of Bob there is nothing before he agrees.
  const ofAda = ['Ada camera', 'Ada microphone'];
  await until('both of Ada to be written', async () => filesOf((await list())[0]).length === 2);
  await stays('nothing of Bob to be written', 2000, async () => {
    return filesOf((await list())[0]).join() === ofAda.join();
  });
  await bob.get('refuse-recording').click();
  await bob.get('recording-consent').waitFor({ state: 'detached' });
  assert.match(await bob.get('recording-own').innerText(), /You are not in it/);
  await bob.get('agree-later').click();
  await bob.get('take-back').waitFor();
  await ada.get('recording-missing').waitFor({ state: 'detached' });
  await bob.get('call-recording-on').getByText('REC').waitFor();
  await until('all to be written', async () => filesOf((await list())[0]).length === 4);
  await until('the best layer to be sent', async () => (await sent(ada, 'f')) > 20, 60_000);
  await until('some seconds', async () => (await list())[0].files.every((file) => file.duration > 4000));

  // A camera that is off for a while is another file; the voice goes on.
  await bob.get('control-camera').click();
  await until(
    'the camera to be off',
    async () => (await bob.get('control-camera').getAttribute('aria-pressed')) === 'false',
  );
  await bob.get('control-camera').click();
  await until('a fifth file', async () => (await list())[0].files.length === 5);

  // Whoever takes it back is not recorded from then on, and can agree again.
  const lengthOf = async (name) => {
    const files = (await list())[0].files.filter((file) => file.person_name === name);
    return files.reduce((sum, { duration }) => sum + duration, 0);
  };
  await bob.get('take-back').click();
  await ada.get('recording-missing').waitFor();
  // What was on its way is written within a second or two.
  await pause(3000);
  const before = { Ada: await lengthOf('Ada'), Bob: await lengthOf('Bob') };
  await until('Ada to go on', async () => (await lengthOf('Ada')) > before.Ada + 2000);
  assert.equal(await lengthOf('Bob'), before.Bob, 'nothing of Bob');
  await bob.get('agree-later').click();
  await until('Bob to go on', async () => (await lengthOf('Bob')) > before.Bob);

  await ada.get('stop-recording').click();
  for (const person of [ada, bob]) await person.get('call-recording-on').waitFor({ state: 'detached' });
  await eve.get('call-recorded').waitFor({ state: 'detached' });
  await until('it to have ended', async () => (await list())[0].state === 'stopped');
  const [recording] = await list();
  const own = `/rooms/${room}/media/recordings/${recording.id}`;
  const find = (name, source) =>
    recording.files.find((file) => file.person_name === name && file.source === source);
  assert.ok(find('Ada', 'microphone').offset < 2000, 'hers from the beginning');
  assert.ok(find('Bob', 'microphone').offset > 2000, 'his from when he agreed');
  for (const file of recording.files) assert.ok(file.offset + file.duration <= recording.duration + 1);
  const bytes = recording.files.reduce((sum, file) => sum + file.bytes, 0);
  assert.equal(recording.bytes, bytes);

  // They are listed beside those of terminals, and play.
  await bob.get('leave-call').click();
  await bob.get('lower-terminal').click();
  await bob.get('recordings').click();
  await bob.get('call-recording').getByTestId('recording-play').click();
  await plays(bob, "Ada's camera");
  await until('pictures', async () => (await shown(bob)).frames > 10);
  const picture = await shown(bob);
  const long = find('Ada', 'camera').duration / 1000;
  assert.ok(Math.abs(picture.duration - long) < 0.2, `${picture.duration} s of ${long}`);
  // It goes to any place.
  await bob.get('call-player').evaluate((player) => {
    player.currentTime = player.duration - 2;
  });
  await until('the end to be near', async () => {
    const { at, frames } = await shown(bob);
    return at > long - 1.9 && frames > picture.frames;
  });
  const { width } = await shown(bob);
  assert.ok(width >= 640, `the best layer, though nobody showed it so large: ${width}`);
  for (const name of ['Ada', 'Bob']) {
    await plays(bob, `${name}'s voice`);
    const file = find(name, 'microphone');
    const { peak, seconds } = await heard(bob, api, `${own}/files/${file.number}`);
    assert.ok(peak > 0.05, `${name} is heard: ${peak}`);
    const expected = file.duration / 1000;
    assert.ok(Math.abs(seconds - expected) < 0.2, `${seconds} s of ${expected}`);
  }
  const [download] = await Promise.all([
    bob.page.waitForEvent('download'),
    fileRow(bob, "Bob's voice").getByTestId('call-file-download').click(),
  ]);
  assert.match(download.suggestedFilename(), /^call-.*-Bob-microphone\.ogg$/);

  // Hosts delete.
  const refused = await api.raw('DELETE', own);
  assert.equal(refused.status, 403);
  await bob.get('recording-back').click();
  await bob.get('call-recording').waitFor();
  assert.equal(await bob.get('recording-delete').count(), 0);
  await bob.page.keyboard.press('Escape');
  await ada.page.locator('[data-testid="call-strip"] [data-testid="recordings"]').click();
  await ada.get('recording-delete').click();
  await ada.get('dialog-confirm').click();
  await ada.get('recordings-empty').waitFor();
  assert.deepEqual(await list(), []);
  assert.deepEqual([...ada.problems, ...bob.problems, ...eve.problems], []);
});

scenario('what was recorded of a call outlives a killed server, and plays', async (stage) => {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  const room = await ada.createRoom(server, 'python');
  await joinWithBoth(ada);
  await record(ada);
  const api = await server.person('Eve');
  const list = () => api.call('GET', `/rooms/${room}/media/recordings`);
  await until('seconds to be written', async () => {
    const [recording] = await list();
    return recording?.files.length === 2 && recording.files.every((file) => file.duration > 3000);
  });
  await server.kill();
  await server.start();
  const [recording] = await list();
  assert.equal(recording.state, 'interrupted');
  assert.match(recording.message, /The server was stopped/);
  for (const file of recording.files) {
    const answer = await api.raw(
      'GET',
      `/rooms/${room}/media/recordings/${recording.id}/files/${file.number}`,
    );
    assert.deepEqual(
      [answer.headers.get('content-type'), answer.headers.get('content-length')],
      [file.media_type, `${file.bytes}`],
    );
    assert.equal((await answer.arrayBuffer()).byteLength, file.bytes);
  }
  await ada.page.reload();
  await ada.inRoom();
  await ada.get('lower-terminal').click();
  await ada.get('recordings').click();
  await ada.get('call-recording').getByTestId('recording-play').click();
  await plays(ada, "Ada's camera");
  await until('pictures', async () => (await shown(ada)).frames > 10);
  await plays(ada, "Ada's voice");
  const voice = recording.files.find((file) => file.source === 'microphone');
  const kept = `/rooms/${room}/media/recordings/${recording.id}/files/${voice.number}`;
  assert.ok((await heard(ada, api, kept)).seconds > 2);
});
