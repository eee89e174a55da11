/**
 * Calls over lines that are slow, lose packets, let no UDP pass, or change. What a page can send depends on how much of the machine its encoder gets, so
 * nothing else runs beside these.
 */
import assert from 'node:assert/strict';
import { arrived, joinCall, more, protocols, relays, sees, talk, talker, tile } from '../support/call.mjs';
import { scenario } from '../support/scenario.mjs';
import { ThinLine, whyNoThinLine } from '../support/thinLine.mjs';
import { Turn, whyNoTurn } from '../support/turn.mjs';
import { until } from '../support/wait.mjs';

/** How many of the packets of a microphone and of the frames of a camera arrive here in so many seconds, and how much of the sound had to be made up. */
async function rates(person, seconds) {
  const before = await arrived(person);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const after = await arrived(person);
  return {
    packets: (after.packets - before.packets) / seconds,
    frames: (after.frames - before.frames) / seconds,
    concealed: (after.concealed - before.concealed) / (after.samples - before.samples),
  };
}

scenario(
  'a slow line carries every voice and as much of the pictures as it can',
  async (stage) => {
    const line = stage.own(new ThinLine());
    line.takes(20_000);
    const server = await stage.server({
      BUILDSPACES_MEDIA_LISTEN: '0.0.0.0:0',
      BUILDSPACES_MEDIA_ADDRESSES: `["${line.here}"]`,
    });
    await line.passOn(server.port);
    const ada = await talker(stage, 'Ada');
    const bob = await talker(stage, 'Bob', { line });
    const room = await ada.createRoom(server, 'python');
    await bob.join(line, room);
    await joinCall(ada, { microphone: true, camera: true });
    await joinCall(bob);
    await sees(bob, 'Ada');
    await tile(bob, 'Ada').hover();
    await tile(bob, 'Ada').getByTestId('enlarge').click();
    const isWide = (width) => async () => (await arrived(bob)).widths.includes(width);
    await until('the largest picture', isWide(1280), 60_000);
    assert.equal(await bob.get('call-line').isVisible(), false);

    const keepsTalking = async (frames) => {
      const now = await rates(bob, 8);
      assert.ok(now.packets >= 0.95 * 50, `${now.packets} of 50 packets of sound in a second`);
      assert.ok(now.concealed <= 0.05, `${now.concealed} of the sound was not there in time`);
      assert.ok(now.frames >= frames, `${now.frames} frames in a second`);
    };
    const { frozen } = await arrived(bob);
    line.takes(500);
    await bob.get('call-line').getByText('less sharp').waitFor();
    await until('a smaller picture', isWide(640), 60_000);
    const stood = (await arrived(bob)).frozen - frozen;
    assert.ok(stood <= 2, `the picture stood still for ${stood} s before it was smaller`);
    await keepsTalking(10);
    line.takes(250);
    await until('the smallest picture', isWide(320), 60_000);
    await keepsTalking(10);
    line.takes(100);
    await tile(bob, 'Ada').and(bob.page.locator('[data-paused]')).waitFor();
    await bob.get('call-line').getByText('paused').waitFor();
    await keepsTalking(0);

    line.takes(20_000);
    await until('the largest picture again', isWide(1280), 90_000);
    await bob.get('call-line').waitFor({ state: 'hidden' });
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { ms: 300_000, skip: whyNoThinLine() },
);

/** A call of two who hear and see each other: Ada on this machine, Bob at the end of the line. */
async function bothOver(stage, line, addresses = [line.here]) {
  const server = await stage.server({
    BUILDSPACES_MEDIA_LISTEN: '0.0.0.0:0',
    BUILDSPACES_MEDIA_ADDRESSES: JSON.stringify(addresses),
  });
  await line.passOn(server.port);
  const ada = await talker(stage, 'Ada');
  const bob = await talker(stage, 'Bob', { line, permissions: ['microphone', 'camera'] });
  const room = await ada.createRoom(server, 'python');
  await bob.join(line, room);
  await joinCall(ada, { microphone: true, camera: true });
  await joinCall(bob, { microphone: true, camera: true });
  await sees(ada, 'Bob');
  await sees(bob, 'Ada');
  return { ada, bob };
}

scenario(
  'what a line loses in both directions comes again, and the pictures move on',
  async (stage) => {
    const line = stage.own(new ThinLine());
    const { ada, bob } = await bothOver(stage, line);
    line.loses(0.05);
    await more(bob, 'again', 3);
    for (const person of [ada, bob]) await more(person, 'frames', 100);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoThinLine('iptables') },
);

scenario(
  'a server with several addresses answers from the one at which it was asked',
  async (stage) => {
    for (const both of [false, true]) {
      const line = stage.own(new ThinLine());
      // Of its own accord the system would answer from the first.
      const other = line.another();
      const { ada, bob } = await bothOver(stage, line, both ? [line.here, other] : [other]);
      await talk(ada, bob);
      assert.deepEqual(await protocols(bob), ['udp', 'udp']);
      assert.deepEqual([...ada.problems, ...bob.problems], []);
    }
  },
  { skip: whyNoThinLine() },
);

scenario(
  'who cannot send by UDP talks by TCP',
  async (stage) => {
    const line = stage.own(new ThinLine());
    line.letsNoUdpPass();
    const { ada, bob } = await bothOver(stage, line);
    await talk(ada, bob);
    assert.deepEqual(await protocols(ada), ['udp', 'udp']);
    assert.deepEqual(await protocols(bob), ['tcp', 'tcp']);
    // Large pictures, too, for which much more must fit through.
    await tile(bob, 'Ada').hover();
    await tile(bob, 'Ada').getByTestId('enlarge').click();
    await until('the largest picture', async () => (await arrived(bob)).widths.includes(1280), 60_000);
    const now = await rates(bob, 5);
    assert.ok(now.packets >= 0.95 * 50, `${now.packets} of 50 packets of sound in a second`);
    await bob.get('leave-call').click();
    await tile(ada, 'Bob').waitFor({ state: 'detached' });
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoThinLine() },
);

scenario(
  'one open TCP port is enough for everything',
  async (stage) => {
    const line = stage.own(new ThinLine());
    const server = await stage.server({ BUILDSPACES_MEDIA_ADDRESSES: `["${line.here}"]` });
    await line.passOn(server.port, { asIts: server.port });
    const ada = await talker(stage, 'Ada', { line, permissions: ['microphone', 'camera'] });
    const bob = await talker(stage, 'Bob', { line, permissions: ['microphone', 'camera'] });
    const room = await ada.createRoom(line, 'python');
    await bob.join(line, room);
    await joinCall(ada, { microphone: true, camera: true });
    await joinCall(bob, { microphone: true, camera: true });
    await sees(ada, 'Bob');
    await sees(bob, 'Ada');
    await talk(ada, bob);
    for (const person of [ada, bob]) assert.deepEqual(await protocols(person), ['tcp', 'tcp']);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoThinLine() },
);

for (const transport of ['udp', 'tcp', 'tls'])
  scenario(
    `who reaches nothing but a TURN server talks through it, by ${transport.toUpperCase()}`,
    async (stage) => {
      const line = stage.own(new ThinLine());
      const turn = await stage.own(new Turn(line.here, line.beyond)).ready();
      if (transport !== 'udp') line.letsNoUdpPass();
      // The relay's certificate is its own word.
      if (transport === 'tls') line.flags = ['--ignore-certificate-errors'];
      const server = await stage.server({
        BUILDSPACES_MEDIA_LISTEN: `${line.beyond}:0`,
        BUILDSPACES_MEDIA_ICE_SERVERS: JSON.stringify([turn.url(transport)]),
        BUILDSPACES_MEDIA_TURN_SECRET: turn.secret,
      });
      await line.passOn(server.port);
      const both = { line, permissions: ['microphone', 'camera'] };
      const [ada, bob] = [await talker(stage, 'Ada', both), await talker(stage, 'Bob', both)];
      const room = await ada.createRoom(line, 'python');
      await bob.join(line, room);
      await joinCall(ada, { microphone: true, camera: true });
      await joinCall(bob, { microphone: true, camera: true });
      await sees(ada, 'Bob');
      await sees(bob, 'Ada');
      await talk(ada, bob);
      const relay = `relay ${transport}`;
      for (const person of [ada, bob]) assert.deepEqual(await relays(person), [relay, relay]);
      assert.deepEqual([...ada.problems, ...bob.problems], []);
    },
    { skip: whyNoThinLine() ?? whyNoTurn() },
  );

scenario(
  'who moves to another network stays in the call',
  async (stage) => {
    const line = stage.own(new ThinLine());
    const { ada, bob } = await bothOver(stage, line);
    await ada.page.evaluate(() => {
      const gone = () => document.querySelector('[data-testid="tile"][data-name="Bob"]') === null;
      window.testGone = false;
      new MutationObserver(() => {
        window.testGone ||= gone();
      }).observe(document.querySelector('[data-testid="call-strip"]'), { childList: true, subtree: true });
    });
    const peers = () => bob.page.evaluate(() => window.testPeers.length);
    const before = await peers();
    line.moves();
    await bob.get('call-waiting').waitFor();
    await bob.get('call-waiting').waitFor({ state: 'detached' });
    await talk(ada, bob);
    assert.equal(await peers(), before, 'his connections are the same');
    assert.equal(await ada.page.evaluate(() => window.testGone), false, 'he was never gone');
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoThinLine() },
);
