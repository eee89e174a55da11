/** Encrypted calls: what only the key's holders hear and see, what everybody is told, and that nothing goes in the clear unasked. */
import assert from 'node:assert/strict';
import { arrived, joinCall, more, noMore, sees, talker, tile } from './support/call.mjs';
import { scenario } from './support/scenario.mjs';
import { stays, until } from './support/wait.mjs';

const standing = (person, is) =>
  person.page
    .locator(`[data-testid="call-encryption"][data-standing="${is}"]`)
    .waitFor({ state: 'attached' });

/** A host whose dialog is open, with a call that is encrypted; and the link that has the key. */
async function encrypted(stage) {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  const room = await ada.createRoom(server, 'python');
  await ada.get('call').click();
  await standing(ada, 'off');
  await ada.get('encrypt-calls').click();
  await standing(ada, 'ready');
  const link = await ada.get('call-link').inputValue();
  assert.match(link, new RegExp(`^${server.url}/r/${room}#key=[\\w-]{43}$`));
  return { server, ada, room, link, digits: await ada.get('call-digits').innerText() };
}

async function follow(person, link) {
  await person.page.goto(link);
  await person.get('join-name').fill(person.name);
  await person.get('join-button').click();
  await person.inRoom();
}

const unreadable = (person, name, source) => tile(person, name, source).getByTestId('unreadable');

scenario(
  'who has the key hears and sees, and who has another is told so until the right one comes',
  async (stage) => {
    const { server, ada, room, link, digits } = await encrypted(stage);
    await joinCall(ada, { microphone: true, camera: true });
    await ada.get('call-lock').waitFor();

    const bob = await talker(stage, 'Bob');
    await follow(bob, link);
    assert.equal(new URL(bob.page.url()).hash, '', 'the key is neither shown nor copied with the address');
    await bob.get('call').click();
    await standing(bob, 'ready');
    await until('the same digits', async () => (await bob.get('call-digits').innerText()) === digits);
    await joinCall(bob, { microphone: true, camera: true });
    await sees(bob, 'Ada');
    await sees(ada, 'Bob');
    for (const person of [ada, bob]) {
      await more(person, 'frames', 20);
      await more(person, 'energy', 0.0001);
    }

    // Somebody with another key: silence, no picture, and words for it on both sides.
    const eve = await talker(stage, 'Eve');
    await eve.join(server, room);
    await eve.get('call').click();
    await standing(eve, 'keyless');
    assert.equal(await eve.get('join-call').getAttribute('aria-disabled'), 'true');
    await eve.get('join-call').click({ force: true });
    await eve.get('call-key-input').fill('a key');
    await eve.get('call-key-use').click();
    await eve.get('call-key-problem').waitFor();
    await eve.get('call-key-input').fill('A'.repeat(43));
    await eve.get('call-key-use').click();
    await standing(eve, 'ready');
    assert.notEqual(await eve.get('call-digits').innerText(), digits);
    await joinCall(eve, { microphone: true, camera: true });
    for (const [person, name] of [
      [eve, 'Ada'],
      [eve, 'Bob'],
      [ada, 'Eve'],
      [bob, 'Eve'],
    ])
      await unreadable(person, name).waitFor();
    await more(eve, 'packets', 100);
    assert.deepEqual(await arrived(eve).then(({ frames, energy }) => [frames, energy < 1e-9]), [0, true]);
    await more(bob, 'frames', 20);

    // The same of a picture that is large here.
    await eve.get('control-screen').click();
    await bob.get('stage').getByText('This picture cannot be decrypted here').waitFor();
    await eve.get('control-screen').click();
    await bob.get('stage').waitFor({ state: 'detached' });

    // The right one, without joining anew.
    await eve.get('call-lock').click();
    await eve.get('call-key-change').click();
    await eve.get('call-key-input').fill(link);
    await eve.get('call-key-use').click();
    await until('the same digits', async () => (await eve.get('call-digits').innerText()) === digits);
    await eve.page.keyboard.press('Escape');
    for (const [person, name] of [
      [eve, 'Ada'],
      [eve, 'Bob'],
      [ada, 'Eve'],
      [bob, 'Eve'],
    ]) {
      await unreadable(person, name).waitFor({ state: 'detached' });
      await sees(person, name);
    }
    await more(eve, 'frames', 20);
    await more(eve, 'energy', 0.0001);

    // A page that is loaded again still has its key.
    await eve.page.reload();
    await eve.inRoom();
    await joinCall(eve);
    await sees(eve, 'Ada');
    assert.deepEqual([...ada.problems, ...bob.problems, ...eve.problems], []);
  },
);

scenario(
  'what the server passes on shows nothing, and programs without the key are refused',
  async (stage) => {
    const { server, ada, room, link } = await encrypted(stage);
    await joinCall(ada, { microphone: true, camera: true });
    const eve = await talker(stage, 'Eve');
    // As the server has it: taken as it comes, by a page that says that it encrypts.
    await eve.context.addInitScript(() => {
      Object.defineProperty(RTCRtpReceiver.prototype, 'transform', { get: () => null, set: () => undefined });
    });
    await follow(eve, link);
    await joinCall(eve);
    // Three seconds, with sixty frames. A keyframe's size is clear, so a decoder makes noise of some; never of what follows them.
    const before = await arrived(eve);
    await more(eve, 'packets', 150);
    const frames = (await arrived(eve)).frames - before.frames;
    assert.ok(frames <= 10, `${frames} frames`);

    for (const [protocol, direction] of [
      ['whip', 'sendonly'],
      ['whep', 'recvonly'],
    ]) {
      const answer = await eve.page.evaluate(
        async ([url, direction, token]) => {
          const peer = new RTCPeerConnection();
          peer.addTransceiver('audio', { direction });
          await peer.setLocalDescription();
          const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' };
          const answer = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
          return { status: answer.status, body: await answer.json() };
        },
        [`/media/${room}/${protocol}`, direction, (await server.person(`${protocol}-program`)).token],
      );
      assert.deepEqual([answer.status, answer.body.error.code], [409, 'encrypted_call']);
      assert.match(answer.body.error.message, /end-to-end encrypted/);
    }
    assert.deepEqual(ada.problems, []);
  },
);

scenario('layers and shared screens are encrypted, too, and a killed server ends neither', async (stage) => {
  const { server, ada, link } = await encrypted(stage);
  const bob = await talker(stage, 'Bob');
  await follow(bob, link);
  await joinCall(ada, { camera: true });
  await joinCall(bob);
  await sees(bob, 'Ada');
  await until('a small picture', async () => (await arrived(bob)).widths.includes(320));
  await tile(bob, 'Ada').hover();
  await tile(bob, 'Ada').getByTestId('enlarge').click();
  await bob.get('stage').waitFor();
  await until('a large picture', async () => (await arrived(bob)).widths.some((width) => width >= 640));
  await bob.get('unstage').click();
  await until('a small picture again', async () => (await arrived(bob)).widths.includes(320));

  await ada.get('control-screen').click();
  await bob.get('stage').locator('[data-testid="video"][data-shown]').waitFor();
  await more(bob, 'frames', 3);
  await ada.get('control-screen').click();
  await bob.get('stage').waitFor({ state: 'detached' });

  await server.kill();
  await server.start();
  for (const person of [ada, bob])
    await person.page.locator('[data-testid="call-strip"][data-phase="in"]').waitFor();
  await sees(bob, 'Ada');
  await more(bob, 'frames', 20);
  await bob.get('call-lock').waitFor();
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a page never sends in the clear unless its person says so', async (stage) => {
  const { server, ada, room, link, digits } = await encrypted(stage);
  const bob = await talker(stage, 'Bob');
  await follow(bob, link);
  await bob.get('call').click();
  await standing(bob, 'ready');

  // Turned off by a host: for a page with a key that is the server's word against its own.
  await ada.get('encrypt-calls').click();
  await standing(ada, 'off');
  await standing(bob, 'contradiction');
  await bob.get('join-call').getByText('Join without encryption').waitFor();
  await bob.get('call-key-forget').click();
  await standing(bob, 'off');

  // Turned on again by mistake or not: with the key that others have.
  await ada.get('encrypt-calls').click();
  await standing(ada, 'ready');
  assert.equal(await ada.get('call-digits').innerText(), digits);
  await standing(bob, 'keyless');
  await bob.page.goto('about:blank');

  // Another key than the one that is known is not taken unasked.
  const other = `${server.url}/r/${room}#key=${'B'.repeat(42)}A`;
  await ada.page.evaluate((url) => location.assign(url), other);
  await standing(ada, 'offered');
  await ada.get('call-key-keep').click();
  await standing(ada, 'ready');
  assert.equal(await ada.get('call-digits').innerText(), digits);
  await joinCall(ada, { microphone: true });
  await ada.page.evaluate((url) => location.assign(url), other);
  await ada.get('call-key-offered').waitFor();
  await ada.get('call-key-keep').click();

  // A browser that cannot is told before it joins.
  const old = await talker(stage, 'Old');
  await old.context.addInitScript(() => {
    delete window.RTCRtpScriptTransform;
  });
  await follow(old, link);
  await old.get('call').click();
  await standing(old, 'unsupported');
  await old.get('join-call').click({ force: true });
  await stays('it out of the call', 500, async () => (await old.get('call-strip').count()) === 0);

  // A page whose worker is lost sends nothing.
  const eve = await talker(stage, 'Eve');
  await eve.context.route(/\/assets\/worker-/, (route) => route.abort());
  await follow(eve, link);
  await eve.get('call').click();
  await eve.get('preview-microphone').click();
  await eve.get('join-call').click();
  await eve.get('call-problem').getByText('could not be encrypted').waitFor();
  await noMore(ada, 'packets', 0, 500);
  assert.deepEqual([...ada.problems, ...bob.problems, ...old.problems], []);
});

scenario('a call is encrypted, and its key changed, by keyboard alone', async (stage) => {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  await ada.createRoom(server, 'python');
  const { keyboard } = ada.page;
  const at = () => ada.page.evaluate(() => document.activeElement?.getAttribute('data-testid'));
  const goTo = async (id) => {
    for (let steps = 0; (await at()) !== id; steps++) {
      assert.ok(steps < 40, `${id} is not reached by Tab`);
      await keyboard.press('Tab');
    }
  };
  await ada.get('call').focus();
  await keyboard.press('Enter');
  await goTo('encrypt-calls');
  await keyboard.press('Space');
  await standing(ada, 'ready');
  assert.equal(await at(), 'encrypt-calls');
  await goTo('call-key-change');
  const digits = () => ada.get('call-digits').innerText();
  const first = await until('digits', digits);
  await keyboard.press('Enter');
  await keyboard.type('A'.repeat(43));
  await keyboard.press('Enter');
  await until('other digits', async () => ![first, ''].includes(await digits()));
  // Where the form was there is nothing more, and the keys work on.
  await goTo('join-call');
  await keyboard.press('Enter');
  await ada.get('call-lock').waitFor();
  await ada.get('call-lock').focus();
  await keyboard.press('Enter');
  await goTo('call-key-new');
  await keyboard.press('Enter');
  await keyboard.press('Escape');
  await ada.get('dialog').waitFor({ state: 'detached' });
  assert.equal(await at(), 'call-lock');
  assert.deepEqual(ada.problems, []);
});
