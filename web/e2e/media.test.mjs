/** Calls: two people in two browsers with a camera that shows a clock and a microphone that beeps. */
import assert from 'node:assert/strict';
import {
  arrived,
  joinCall,
  more,
  noMore,
  protocols,
  sees,
  talk,
  talker,
  tile,
  twoInARoom,
} from './support/call.mjs';
import { scenario } from './support/scenario.mjs';
import { ThinLine, whyNoThinLine } from './support/thinLine.mjs';
import { stays, until } from './support/wait.mjs';

scenario('two people hear and see each other, mute, and leave', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada);
  await until(
    'Bob to see that there is a call',
    async () => (await bob.get('call-count').innerText()) === '1',
  );
  // One begins muted, and with the camera off.
  assert.equal(await ada.get('control-microphone').getAttribute('aria-pressed'), 'false');
  await joinCall(bob, { microphone: true, camera: true });
  await sees(ada, 'Bob');
  await ada.get('control-microphone').click();
  await ada.get('control-camera').click();
  await sees(bob, 'Ada');
  await talk(ada, bob);
  await more(bob, 'told', 4);
  await tile(bob, 'Ada').and(bob.page.locator('[data-speaking]')).waitFor();

  for (const [person, name] of [
    [ada, 'Bob'],
    [bob, 'Ada'],
    [ada, 'Ada'],
  ])
    await tile(person, name).locator('[data-testid="quality"][data-quality="good"]').waitFor();

  // The server passes nothing on of who is muted, whatever the page sends.
  await ada.get('control-microphone').click();
  await tile(bob, 'Ada').and(bob.page.locator('[data-muted]')).waitFor();
  await noMore(bob, 'packets', 0, 1500);
  await more(ada, 'packets', 20);
  await ada.get('control-microphone').click();
  await more(bob, 'packets', 20);

  // A camera that goes off and on again comes back on the same line.
  await ada.get('control-camera').click();
  await until('the picture to be gone', async () => (await tile(bob, 'Ada').locator('video').count()) === 0);
  await ada.get('control-camera').click();
  await sees(bob, 'Ada');
  await more(bob, 'frames', 20);

  await ada.get('leave-call').click();
  await ada.get('call-strip').waitFor({ state: 'detached' });
  await tile(bob, 'Ada').waitFor({ state: 'detached' });
  await until(
    'her page to know that Bob is alone',
    async () => (await ada.get('call-count').innerText()) === '1',
  );
  await bob.get('leave-call').click();
  await ada.get('call-count').waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a picture is sent as large as it is shown', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada, { camera: true });
  await joinCall(bob);
  await sees(bob, 'Ada');
  // Small beside the editor, large on the stage.
  await until('a small picture', async () => (await arrived(bob)).widths.includes(320));
  await tile(bob, 'Ada').hover();
  await tile(bob, 'Ada').getByTestId('enlarge').click();
  await bob.get('stage').waitFor();
  await until('a large picture', async () => (await arrived(bob)).widths.some((width) => width >= 640));
  await bob.get('unstage').click();
  await until('a small picture again', async () => (await arrived(bob)).widths.includes(320));
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a host mutes and asks, and only oneself unmutes', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada);
  await joinCall(bob, { microphone: true });
  await more(ada, 'packets', 20);
  await tile(ada, 'Bob').hover();
  await ada.get('mute-other').click();
  await bob.get('call-problem').getByText('Ada muted you.').waitFor();
  assert.equal(await bob.get('control-microphone').getAttribute('aria-pressed'), 'false');
  await noMore(ada, 'packets', 0, 1000);
  await tile(ada, 'Bob').hover();
  await ada.get('ask-unmute').click();
  await bob.get('asked').getByText('Ada asks you to unmute.').waitFor();
  await noMore(ada, 'packets', 0, 500);
  await bob.get('asked-yes').click();
  await more(ada, 'packets', 20);
  // Who is no host has no such buttons.
  assert.equal(await bob.get('mute-other').count(), 0);
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('who has no camera and no microphone takes part all the same', async (stage) => {
  const { ada, bob } = await twoInARoom(stage, {});
  await joinCall(ada, { microphone: true, camera: true });
  await bob.get('call').click();
  await bob.get('preview-camera').click();
  await bob.get('preview-problem').waitFor();
  await bob.get('join-call').click();
  await sees(bob, 'Ada');
  await more(bob, 'frames', 20);
  await more(bob, 'packets', 20);
  await bob.get('control-microphone').click();
  await bob.get('call-problem').waitFor();
  await tile(ada, 'Bob').waitFor();
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a shared screen is what everybody looks at', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada);
  await joinCall(bob);
  await ada.get('control-screen').click();
  await bob.get('stage').locator('[data-testid="video"][data-shown]').waitFor();
  await more(bob, 'frames', 3);
  await ada.get('control-screen').click();
  await bob.get('stage').waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario(
  'a lost connection to the room does not interrupt the call, and a reload leaves it',
  async (stage) => {
    const { ada, bob } = await twoInARoom(stage);
    await joinCall(ada);
    await joinCall(bob, { camera: true });
    await sees(ada, 'Bob');
    const peers = () => bob.page.evaluate(() => window.testPeers.length);
    const before = await peers();
    await bob.page.evaluate(() => {
      window.testLost = window.testSocket;
      window.testLost.close();
    });
    await until('Bob to be there by another socket', () =>
      bob.page.evaluate(() => window.testSocket !== window.testLost && window.testSocket.readyState === 1),
    );
    await tile(ada, 'Bob').and(ada.page.locator(':not([data-away])')).waitFor();
    await more(ada, 'frames', 20);
    assert.equal(await tile(ada, 'Bob').count(), 1);
    assert.equal(await peers(), before, 'he is the same participant');
    await bob.page.reload();
    await bob.inRoom();
    await tile(ada, 'Bob').waitFor({ state: 'detached' });
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);

scenario('a restart of the server takes everybody back into the call', async (stage) => {
  const { server, ada, bob } = await twoInARoom(stage);
  await joinCall(ada, { microphone: true });
  await joinCall(bob, { camera: true });
  await sees(ada, 'Bob');
  // A page whose editor is still being loaded when its server goes stops working.
  await bob.editor('README.md').locator('.view-lines').waitFor();
  await server.kill();
  await server.start();
  await until('both to be in the call again', async () => {
    const names = await ada.page
      .locator('[data-testid="tile"][data-source="camera"]')
      .evaluateAll((tiles) => tiles.map((tile) => tile.dataset.name));
    return names.sort().join() === 'Ada,Bob';
  });
  await sees(ada, 'Bob');
  await more(ada, 'frames', 20);
  await more(bob, 'packets', 20);
});

/** How many of the packets of a microphone and of the frames of a camera arrive here in so many seconds. */
async function rates(person, seconds) {
  const before = await arrived(person);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const after = await arrived(person);
  return {
    packets: (after.packets - before.packets) / seconds,
    frames: (after.frames - before.frames) / seconds,
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
      assert.ok(now.frames >= frames, `${now.frames} frames in a second`);
    };
    line.takes(500);
    await bob.get('call-line').getByText('less sharp').waitFor();
    await until('a smaller picture', isWide(640), 60_000);
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
async function bothOver(stage, line) {
  const server = await stage.server({
    BUILDSPACES_MEDIA_LISTEN: '0.0.0.0:0',
    BUILDSPACES_MEDIA_ADDRESSES: `["${line.here}"]`,
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
  'what a line loses comes again, and the picture moves on',
  async (stage) => {
    const line = stage.own(new ThinLine());
    const { ada, bob } = await bothOver(stage, line);
    line.loses(0.05);
    await more(bob, 'again', 3);
    await more(bob, 'frames', 100);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoThinLine('iptables') },
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

scenario('a camera that nobody looks at is not encoded', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada, { camera: true });
  const encoded = () =>
    ada.page.evaluate(async () => {
      const frames = {};
      for (const peer of window.testPeers)
        for (const report of (await peer.getStats()).values())
          if (report.type === 'outbound-rtp' && report.kind === 'video')
            frames[report.rid] = report.framesEncoded;
      return frames;
    });
  const still = async (rid) => {
    const before = (await encoded())[rid] ?? 0;
    await stays(`${rid} not to be encoded`, 1500, async () => ((await encoded())[rid] ?? 0) <= before + 2);
  };
  await until('her camera to be off the line', async () => {
    const before = (await encoded()).q ?? 0;
    await new Promise((done) => setTimeout(done, 500));
    return ((await encoded()).q ?? 0) === before;
  });
  await joinCall(bob);
  await sees(bob, 'Ada');
  await still('f');
  await tile(bob, 'Ada').hover();
  await tile(bob, 'Ada').getByTestId('enlarge').click();
  await until('a large picture', async () => (await arrived(bob)).widths.some((width) => width >= 640));
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('keys mute and let one talk, and a device can be changed meanwhile', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada, { microphone: true });
  await joinCall(bob);
  const speaks = (on) =>
    until(
      `her microphone to be ${on ? 'on' : 'off'}`,
      async () => (await ada.get('control-microphone').getAttribute('aria-pressed')) === String(on),
    );
  const { keyboard } = ada.page;
  await keyboard.press('Control+Shift+KeyM');
  await speaks(false);
  await ada.page.evaluate(() => document.activeElement?.blur());
  await keyboard.down('Space');
  await speaks(true);
  await keyboard.up('Space');
  await speaks(false);
  // In a text it is a space, and the other keys go on to do what they do.
  await ada.open('README.md');
  await ada.type('README.md', 'held down');
  await ada.seesText('README.md', 'held down');
  assert.equal(await ada.get('control-microphone').getAttribute('aria-pressed'), 'false');
  await keyboard.press('Control+Shift+KeyM');
  await speaks(true);
  await ada.get('control-devices').click();
  const microphones = ada.get('device-choices').locator('select').first();
  await microphones.locator('option').nth(1).waitFor({ state: 'attached' });
  const [, other] = await microphones.locator('option').evaluateAll((all) => all.map(({ value }) => value));
  await microphones.selectOption(other);
  await until('the other microphone to be in use', async () => (await microphones.inputValue()) === other);
  await keyboard.press('Escape');
  await more(bob, 'packets', 20);
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});
