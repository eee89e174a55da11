/** Calls: two people in two browsers with a camera that shows a clock and a microphone that beeps. */
import assert from 'node:assert/strict';
import {
  arrived,
  cut,
  joinCall,
  mend,
  more,
  noMore,
  peers,
  sees,
  talk,
  talker,
  tile,
  twoInARoom,
  versions,
  whyNoIpv6,
} from './support/call.mjs';
import { scenario } from './support/scenario.mjs';
import { stays, until } from './support/wait.mjs';

scenario('two people hear and see each other, mute, and leave', async (stage) => {
  const environment = { BUILDSPACES_MEDIA_PARTICIPANT_METRICS: 'true' };
  const { server, ada, bob } = await twoInARoom(stage, undefined, environment);
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
  const avatar = bob.page.locator('[data-testid="person"][data-name="Ada"]');
  await avatar.and(bob.page.locator('[data-speaking]')).waitFor();

  for (const [person, name] of [
    [ada, 'Bob'],
    [bob, 'Ada'],
    [ada, 'Ada'],
  ])
    await tile(person, name).locator('[data-testid="quality"][data-quality="good"]').waitFor();
  await until('the metrics of both', async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return metrics.match(/^buildspaces_media_participant_round_trip_seconds\{room=/gm)?.length === 2;
  });

  // The server passes nothing on of who is muted, whatever the page sends.
  await ada.get('control-microphone').click();
  await tile(bob, 'Ada').and(bob.page.locator('[data-muted]')).waitFor();
  await avatar.and(bob.page.locator(':not([data-speaking])')).waitFor();
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

scenario('people react without a word, and everybody in the call sees and hears of it', async (stage) => {
  const { server, ada, bob } = await twoInARoom(stage, { reducedMotion: 'reduce' });
  await joinCall(ada);
  await joinCall(bob);
  await tile(bob, 'Ada').waitFor();
  await ada.get('control-reactions').focus();
  for (const key of ['Enter', 'ArrowDown', 'Enter']) await ada.page.keyboard.press(key);
  const own = tile(ada, 'Ada').getByTestId('tile-reaction');
  const seen = tile(bob, 'Ada').getByTestId('tile-reaction');
  for (const reaction of [own, seen]) {
    await reaction.waitFor();
    assert.equal(await reaction.getAttribute('data-reaction'), 'applause');
  }
  const animation = (reaction) => reaction.evaluate((element) => getComputedStyle(element).animationName);
  assert.match(await animation(own), /reaction-comes/);
  assert.equal(await animation(seen), 'none', 'nothing moves for who asked for that');
  await bob.get('reactions-said').getByText('Ada: applause.').waitFor({ state: 'attached' });
  await ada.get('reactions-said').getByText('You: applause.').waitFor({ state: 'attached' });
  assert.equal(
    await ada.get('control-reactions').evaluate((button) => button === document.activeElement),
    true,
  );
  // Who comes meanwhile sees nothing of it, and it goes by itself.
  const eve = await stage.person('Eve');
  await eve.join(server, new URL(ada.page.url()).pathname.split('/').at(-1));
  await joinCall(eve);
  assert.equal(await eve.get('tile-reaction').count(), 0);
  for (const reaction of [own, seen]) await reaction.waitFor({ state: 'detached' });
  await eve.get('control-reactions').click();
  await eve.get('react-heart').click();
  await tile(ada, 'Eve').locator('[data-testid="tile-reaction"][data-reaction="heart"]').waitFor();

  // Hands are put up and down, and go with who leaves.
  const hand = async (person) => {
    await person.get('control-reactions').click();
    await person.get('hand').click();
  };
  const waits = (person, words) => person.get('speaker-queue').getByText(words, { exact: true }).waitFor();
  await hand(bob);
  await waits(ada, 'Bob wants to speak.');
  await hand(ada);
  await waits(ada, 'Bob, then you want to speak.');
  await waits(eve, 'Bob, then Ada want to speak.');
  assert.equal(await tile(eve, 'Ada').getByTestId('tile-hand').innerText(), '2');
  // A host takes somebody's down, by mouse or by key; others only their own.
  const button = (person, name) => tile(person, name).locator('button[data-testid="tile-hand"]');
  assert.equal(await button(bob, 'Ada').count(), 0);
  await button(ada, 'Bob').focus();
  await ada.page.keyboard.press('Enter');
  await bob.get('call-problem').getByText('Ada lowered your hand.').waitFor();
  await waits(eve, 'Ada wants to speak.');
  await hand(bob);
  await waits(eve, 'Ada, then Bob want to speak.');
  await button(bob, 'Bob').click();
  await waits(eve, 'Ada wants to speak.');
  await ada.get('leave-call').click();
  await eve.get('speaker-queue').waitFor({ state: 'hidden' });
  assert.deepEqual([...ada.problems, ...bob.problems, ...eve.problems], []);
});

scenario('a room that may keep no more recordings says so before anybody is asked', async (stage) => {
  const server = await stage.server({ BUILDSPACES_MEDIA_RECORDINGS_MIB: '0' });
  const [ada, bob] = [await talker(stage, 'Ada'), await talker(stage, 'Bob')];
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  await joinCall(ada);
  await joinCall(bob);
  await bob.page.evaluate(() => {
    window.testAsked = false;
    new MutationObserver(() => {
      window.testAsked ||= document.querySelector('[data-testid="recording-consent"]') !== null;
    }).observe(document.body, { childList: true, subtree: true });
  });
  await ada.get('start-recording').click();
  await ada.get('dialog-confirm').click();
  await ada.get('call-problem').getByText('a host can delete some').waitFor();
  assert.equal(await bob.page.evaluate(() => window.testAsked), false);
  assert.equal(await bob.get('call-recorded').count(), 0);
  // The list says it, too, beside what it says of terminals.
  await ada.page.locator('[data-testid="call-strip"] [data-testid="recordings"]').click();
  await ada.page.locator('[data-testid="recordings-full"][data-of="calls"]').waitFor();
  await ada.page.locator('[data-testid="recordings-kept"][data-of="terminals"]').waitFor();
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

scenario('a host mutes, stops and asks, and only oneself unmutes', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada);
  await joinCall(bob, { microphone: true, camera: true });
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
  await sees(ada, 'Bob');
  await tile(ada, 'Bob').getByTestId('stop-camera').click();
  await bob.get('call-problem').getByText('Ada turned your camera off.').waitFor();
  assert.equal(await bob.get('control-camera').getAttribute('aria-pressed'), 'false');
  await tile(ada, 'Bob').locator('video').waitFor({ state: 'detached' });
  await bob.get('control-screen').click();
  await tile(ada, 'Bob', 'screen').getByTestId('stop-screen').click();
  await bob.get('call-problem').getByText('Ada stopped your shared screen.').waitFor();
  await tile(ada, 'Bob', 'screen').waitFor({ state: 'detached' });
  await bob.get('control-camera').click();
  await sees(ada, 'Bob');
  // Who is no host has no such buttons.
  for (const id of ['mute-other', 'ask-unmute', 'stop-camera']) assert.equal(await bob.get(id).count(), 0);
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
  // Who joined without a microphone can be asked for one all the same.
  await tile(ada, 'Bob').hover();
  await tile(ada, 'Bob').getByTestId('ask-unmute').click();
  await bob.get('asked').getByText('Ada asks you to unmute.').waitFor();
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
    const before = await peers(bob);
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
    assert.equal(await peers(bob), before, 'he is the same participant');
    await bob.page.reload();
    await bob.inRoom();
    await tile(ada, 'Bob').waitFor({ state: 'detached' });
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);

scenario('an answer that is lost with the socket is asked for again', async (stage) => {
  const { ada, bob } = await twoInARoom(stage);
  await joinCall(ada, { microphone: true });
  await bob.page.evaluate(() => {
    window.testLosesAnswer = true;
  });
  await joinCall(bob, { microphone: true, camera: true });
  await sees(ada, 'Bob');
  await more(ada, 'packets', 20);
  await more(bob, 'packets', 20);
  assert.equal(await bob.page.evaluate(() => window.testLosesAnswer), false);
  assert.equal(await peers(bob), 2, 'he joined once');
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario(
  'a call goes on without its socket for a while, and begins anew by itself after that',
  async (stage) => {
    const { ada, bob } = await twoInARoom(stage);
    for (const person of [ada, bob]) await joinCall(person, { microphone: true, camera: true });
    await sees(ada, 'Bob');
    await sees(bob, 'Ada');
    const before = await peers(bob);
    await cut(bob);
    const end = Date.now() + 12_000;
    await tile(ada, 'Bob').and(ada.page.locator('[data-away]')).waitFor();
    while (Date.now() < end) await talk(ada, bob);
    await mend(bob);
    await tile(ada, 'Bob').and(ada.page.locator(':not([data-away])')).waitFor();
    await talk(ada, bob);
    assert.equal(await peers(bob), before, 'he is the same participant, over the same connections');

    await cut(bob);
    await tile(ada, 'Bob').waitFor({ state: 'detached' });
    await stays('Bob to be gone', 5000, async () => (await tile(ada, 'Bob').count()) === 0);
    await mend(bob);
    await sees(ada, 'Bob');
    await sees(bob, 'Ada');
    await talk(ada, bob);
    assert.ok((await peers(bob)) > before, 'he joined anew');
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);

scenario(
  'who reaches the server by IPv6 alone talks to who reaches it by IPv4 alone',
  async (stage) => {
    const [four, six] = ['127.0.0.1', '::1'];
    const server = await stage.server({
      BUILDSPACES_MEDIA_LISTEN: '[::]:0',
      BUILDSPACES_MEDIA_ADDRESSES: JSON.stringify([four, six]),
    });
    const permissions = ['microphone', 'camera'];
    const ada = await talker(stage, 'Ada', { permissions, only: six });
    const bob = await talker(stage, 'Bob', { permissions, only: four });
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    for (const person of [ada, bob]) await joinCall(person, { microphone: true, camera: true });
    await sees(ada, 'Bob');
    await sees(bob, 'Ada');
    await talk(ada, bob);
    assert.deepEqual(await versions(ada), [6, 6]);
    assert.deepEqual(await versions(bob), [4, 4]);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
  { skip: whyNoIpv6() },
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
  const speaks = (on) =>
    until(
      `her microphone to be ${on ? 'on' : 'off'}`,
      async () => (await ada.get('control-microphone').getAttribute('aria-pressed')) === String(on),
    );
  const { keyboard } = ada.page;
  await joinCall(bob);
  // Whoever joins muted can talk at once. What was on is on the next time.
  await joinCall(ada);
  await keyboard.down('Space');
  await speaks(true);
  await more(bob, 'packets', 20);
  await keyboard.up('Space');
  await speaks(false);
  await ada.get('leave-call').click();
  await ada.get('call').click();
  const toggle = ada.get('preview-microphone');
  const pressed = (on) => toggle.and(ada.page.locator(`[aria-pressed="${on}"]`)).waitFor();
  await ada.page.locator('.level-meter[data-muted]').waitFor();
  await until('the meter to show what the microphone hears', () =>
    ada.page.locator('.level-meter').evaluate(({ style }) => Number(style.getPropertyValue('--level')) > 0),
  );
  await keyboard.press('Control+Shift+KeyM');
  await pressed(true);
  await ada.get('join-call').getByText('Join', { exact: true }).waitFor();
  await keyboard.press('Control+Shift+KeyM');
  await pressed(false);
  await ada.get('join-call').getByText('Join muted').waitFor();
  await keyboard.press('Control+Shift+KeyM');
  await keyboard.press('Enter');
  await speaks(true);
  await ada.get('leave-call').click();
  await ada.get('call').click();
  await pressed(true);
  await keyboard.press('Enter');
  await speaks(true);
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
