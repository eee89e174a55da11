/** Streams: pages that know nothing of rooms send into a call by WHIP and play it by WHEP, as OBS and players do. */
import assert from 'node:assert/strict';
import { arrived, more, noMore, talker } from './support/call.mjs';
import { scenario } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

/** Somebody in the room's call, and a page beside it that sends or plays. */
async function callAndPage(stage) {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  const room = await ada.createRoom(server, 'python');
  await joinCall(ada);
  const bob = await server.person('Bob');
  return { server, ada, room, bob };
}

async function joinCall(person) {
  await person.get('call').click();
  await person.get('join-call').click();
  await person.page.locator('[data-testid="call-strip"][data-phase="in"]').waitFor();
}

async function streamer(stage, server, name) {
  const person = await talker(stage, name);
  // Any page of the server's origin will do; this one asks for nothing.
  await person.page.goto(`${server.url}/healthz`);
  // Only then may a page be heard.
  await person.page.mouse.click(5, 5);
  return person;
}

/** Does in the page what a client of WHIP or WHEP does, and returns what it was answered. */
const connect = (person, url, token, { way, simulcast = false, codec = null }) =>
  person.page.evaluate(
    async ([url, token, way, simulcast, codec]) => {
      const peer = new RTCPeerConnection();
      if (way === 'in') {
        const media = await navigator.mediaDevices.getUserMedia({
          audio: true,
          video: { width: 1280, height: 720 },
        });
        const [voice] = media.getAudioTracks();
        const [picture] = media.getVideoTracks();
        peer.addTransceiver(voice, { direction: 'sendonly', streams: [media] });
        const layers = [
          { rid: 'q', scaleResolutionDownBy: 4 },
          { rid: 'h', scaleResolutionDownBy: 2 },
          { rid: 'f' },
        ];
        const sendEncodings = simulcast ? layers : [{}];
        const sender = peer.addTransceiver(picture, {
          direction: 'sendonly',
          streams: [media],
          sendEncodings,
        });
        if (codec) {
          const { codecs } = RTCRtpSender.getCapabilities('video');
          sender.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === codec));
        }
      } else {
        for (const kind of ['audio', 'video']) peer.addTransceiver(kind, { direction: 'recvonly' });
        const video = document.createElement('video');
        video.autoplay = true;
        document.body.append(video);
        // As simple players do: the first stream is all there is.
        peer.ontrack = ({ streams }) => {
          video.srcObject = streams[0];
        };
      }
      await peer.setLocalDescription();
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' };
      const answer = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
      const body = await answer.text();
      if (answer.status === 201) await peer.setRemoteDescription({ type: 'answer', sdp: body });
      window.testSession = { peer, tag: answer.headers.get('etag') };
      return { status: answer.status, location: answer.headers.get('location'), body };
    },
    [url, token, way, simulcast, codec],
  );

const tile = (person, name) =>
  person.page.locator(`[data-testid="tile"][data-name="${name}"][data-kind="stream"]`);

const ask = (server, path, token, method, headers = {}, body) =>
  fetch(`${server.url}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...headers }, body });

scenario('a stream is heard and seen in the call, muted by a host, and gone when it ends', async (stage) => {
  const { server, ada, room, bob } = await callAndPage(stage);
  const obs = await streamer(stage, server, 'OBS');
  const begun = await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in' });
  assert.equal(begun.status, 201, begun.body);
  assert.match(begun.location, new RegExp(`^/media/${room}/whip/[a-z0-9]{24}$`));
  await tile(ada, 'Bob').locator('[data-testid="video"][data-shown]').waitFor();
  for (const [what, by] of [
    ['frames', 20],
    ['packets', 50],
    ['energy', 0.0001],
  ])
    await more(ada, what, by);
  await tile(ada, 'Bob').getByText('Bob (stream)').waitFor();

  await tile(ada, 'Bob').hover();
  await tile(ada, 'Bob').getByTestId('mute-other').click();
  await tile(ada, 'Bob').and(ada.page.locator('[data-muted]')).waitFor();
  await noMore(ada, 'packets', 0, 1500);
  await more(ada, 'frames', 10);
  // Nobody is there who could be asked to unmute.
  assert.equal(await tile(ada, 'Bob').getByTestId('ask-unmute').count(), 0);

  // ICE begins anew, and the picture goes on.
  const restarted = await obs.page.evaluate(
    async ([url, token]) => {
      const { peer, tag } = window.testSession;
      peer.restartIce();
      await peer.setLocalDescription();
      const kept = /^(m=|a=mid:|a=ice-|a=candidate:)/;
      const lines = peer.localDescription.sdp.split('\r\n').filter((line) => kept.test(line));
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/trickle-ice-sdpfrag',
        'if-match': '*',
      };
      const body = `${lines
        .slice(
          0,
          lines.findIndex((line) => line.startsWith('m=video')),
        )
        .join('\r\n')}\r\n`;
      const answer = await fetch(url, { method: 'PATCH', headers, body });
      const fragment = await answer.text();
      const value = (name) => new RegExp(`^a=${name}:(.*)$`, 'm').exec(fragment)?.[1].trim();
      const sdp = peer.currentRemoteDescription.sdp
        .replaceAll(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${value('ice-ufrag')}`)
        .replaceAll(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${value('ice-pwd')}`);
      await peer.setRemoteDescription({ type: 'answer', sdp });
      return { status: answer.status, isNew: answer.headers.get('etag') !== tag };
    },
    [begun.location, bob.token],
  );
  assert.deepEqual(restarted, { status: 200, isNew: true });
  await more(ada, 'frames', 40);

  assert.equal((await ask(server, begun.location, bob.token, 'DELETE')).status, 200);
  await tile(ada, 'Bob').waitFor({ state: 'detached' });
  assert.deepEqual(ada.problems, []);
});

scenario('layers of a stream, and the end of one that goes without a word', async (stage) => {
  const { server, ada, room, bob } = await callAndPage(stage);
  const obs = await streamer(stage, server, 'OBS');
  const begun = await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in', simulcast: true });
  assert.equal(begun.status, 201, begun.body);
  await tile(ada, 'Bob').locator('[data-testid="video"][data-shown]').waitFor();
  await until('a small picture', async () => (await arrived(ada)).widths.includes(320));
  await tile(ada, 'Bob').hover();
  await tile(ada, 'Bob').getByTestId('enlarge').click();
  await until('a large picture', async () => (await arrived(ada)).widths.some((width) => width >= 640));
  await ada.get('unstage').click();
  await obs.leave();
  await tile(ada, 'Bob').waitFor({ state: 'detached', timeout: 60_000 });
  assert.deepEqual(ada.problems, []);
});

/** As browsers of systems that ship no decoder of it. */
const lacksH264 = () => {
  const { createAnswer } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.createAnswer = function (...options) {
    const { codecs } = RTCRtpReceiver.getCapabilities('video');
    for (const section of this.getTransceivers())
      if (section.receiver.track.kind === 'video')
        section.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType !== 'video/H264'));
    return createAnswer.apply(this, options);
  };
};

scenario('a stream of H.264 is seen by pages and players and recorded as it is', async (stage, t) => {
  const { server, ada, room, bob } = await callAndPage(stage);
  const encodes = () =>
    RTCRtpSender.getCapabilities('video').codecs.some(({ mimeType }) => mimeType === 'video/H264');
  if (!(await ada.page.evaluate(encodes))) return t.skip('this browser encodes no H.264');
  const [obs, player] = [await streamer(stage, server, 'OBS'), await streamer(stage, server, 'Player')];
  const eve = await server.person('Eve');
  const begun = await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in', codec: 'video/H264' });
  assert.equal(begun.status, 201, begun.body);
  assert.match(begun.body, /H264\/90000/);
  assert.doesNotMatch(begun.body, /VP8\/90000/);
  await tile(ada, 'Bob').locator('[data-testid="video"][data-shown]').waitFor();
  await more(ada, 'frames', 20);
  // Whose browser has no decoder for it is told so, and sees everybody else.
  const cleo = await talker(stage, 'Cleo');
  await cleo.context.addInitScript(lacksH264);
  await cleo.join(server, room);
  await joinCall(cleo);
  await tile(cleo, 'Bob')
    .getByTestId('undecodable')
    .getByText('This device cannot show this picture')
    .waitFor();
  assert.equal(await tile(cleo, 'Bob').getByTestId('video').count(), 0);
  await more(cleo, 'packets', 50);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.doesNotMatch(metrics, /packets_dropped_total\{reason="receiver"\} [1-9]/);
  assert.equal((await connect(player, `/media/${room}/whep`, eve.token, { way: 'out' })).status, 201);
  await more(player, 'frames', 20);
  // Another picture on the same line, of the other codec, and back.
  await ada.get('control-camera').click();
  await more(player, 'frames', 20);
  await cleo.page
    .locator('[data-testid="tile"][data-name="Ada"] [data-testid="video"][data-shown]')
    .waitFor();
  assert.deepEqual(cleo.problems, []);
  await cleo.get('leave-call').click();
  await ada.get('control-camera').click();
  await more(player, 'frames', 20);
  assert.equal((await ask(server, begun.location, bob.token, 'DELETE')).status, 200);

  // Ada agrees to be recorded, so her stream is.
  const token = await ada.page.evaluate(() => JSON.parse(localStorage.getItem('buildspaces.session')).token);
  const again = await connect(obs, `/media/${room}/whip`, token, { way: 'in', codec: 'video/H264' });
  assert.equal(again.status, 201, again.body);
  await ada.get('start-recording').click();
  await ada.get('dialog-confirm').click();
  await ada.get('call-recording-on').waitFor();
  const recordings = async () =>
    await (await ask(server, `/api/v1/rooms/${room}/media/recordings`, token)).json();
  const picture = async () => {
    const [{ id, files }] = await recordings();
    const file = files.find((one) => one.media_type === 'video/x-matroska' && one.duration > 2000);
    return file && `/api/v1/rooms/${room}/media/recordings/${id}/files/${file.number}`;
  };
  await until('two seconds of it in a file', picture);
  await ada.get('stop-recording').click();
  await ada.get('call-recording-on').waitFor({ state: 'detached' });
  const file = await (await ask(server, await picture(), token)).arrayBuffer();
  const played = await ada.page.evaluate(async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const video = document.createElement('video');
    video.muted = true;
    video.src = URL.createObjectURL(new Blob([bytes], { type: 'video/x-matroska' }));
    await video.play();
    await new Promise((done, fail) => {
      video.onended = done;
      video.onerror = () => fail(new Error(video.error.message));
    });
    return { width: video.videoWidth, frames: video.getVideoPlaybackQuality().totalVideoFrames };
  }, Buffer.from(file).toString('base64'));
  assert.ok(played.width >= 320 && played.frames > 30, JSON.stringify(played));
  assert.deepEqual(ada.problems, []);
});

scenario('a player without a page sees and hears the call until its access ends', async (stage) => {
  const server = await stage.server();
  const host = await server.person('Host');
  const { id: room } = await host.createRoom('python');
  const ada = await talker(stage, 'Ada');
  await ada.join(server, room);
  await joinCall(ada);
  const bob = await server.person('Bob');
  const [obs, player] = [await streamer(stage, server, 'OBS'), await streamer(stage, server, 'Player')];
  const eve = await server.person('Eve');
  const watching = await connect(player, `/media/${room}/whep`, eve.token, { way: 'out' });
  assert.equal(watching.status, 201, watching.body);
  // Who comes later is seen too, and who looks on is not in the call.
  assert.equal((await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in' })).status, 201);
  for (const [what, by] of [
    ['frames', 20],
    ['packets', 50],
    ['energy', 0.0001],
  ])
    await more(player, what, by);
  await until('the player to show it', () =>
    player.page.evaluate(() => document.querySelector('video').videoWidth >= 320),
  );
  assert.equal(await ada.page.getByTestId('tile').count(), 2);
  await ada.get('call-viewers').getByText('Eve watches and listens').waitFor();

  // A host takes access back: of who plays, and of who sends.
  const revoke = (user) => host.call('POST', '/revocations', { user, room });
  await revoke(eve.person.id);
  await noMore(player, 'packets', 0, 1000);
  await ada.get('call-viewers').waitFor({ state: 'hidden' });
  await tile(ada, 'Bob').waitFor();
  await revoke(bob.person.id);
  await tile(ada, 'Bob').waitFor({ state: 'detached' });
  const refused = await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in' });
  assert.equal(refused.status, 401);
  assert.deepEqual(ada.problems, []);
});

scenario('what is hostile or wrong changes nothing', async (stage) => {
  const { server, ada, room, bob } = await callAndPage(stage);
  const obs = await streamer(stage, server, 'OBS');
  const begun = await connect(obs, `/media/${room}/whip`, bob.token, { way: 'in' });
  assert.equal(begun.status, 201, begun.body);
  await more(ada, 'frames', 10);
  const eve = await server.person('Eve');
  const sdp = { 'content-type': 'application/sdp' };
  const path = `/media/${room}/whip`;
  const status = async (...request) => (await ask(server, ...request)).status;
  const offer = await obs.page.evaluate(() => window.testSession.peer.localDescription.sdp);
  for (const [expected, ...request] of [
    [401, path, 'nobody', 'POST', sdp, offer],
    [415, path, eve.token, 'POST', { 'content-type': 'text/plain' }, offer],
    [400, path, eve.token, 'POST', sdp, 'nonsense'],
    [400, path, eve.token, 'POST', sdp, offer.replaceAll(/^a=fingerprint:.*\r\n/gm, '')],
    [400, path, eve.token, 'POST', sdp, offer.replaceAll(/^a=fingerprint:.*$/gm, 'a=fingerprint:x')],
    [422, path, eve.token, 'POST', sdp, offer + 'a=x\r\n'.repeat(10_000)],
    [422, path, eve.token, 'POST', sdp, offer.replaceAll(/VP8|H264/g, 'VP7')],
    [413, path, eve.token, 'POST', sdp, 'v=0\r\n'.repeat(20_000)],
    [403, begun.location, eve.token, 'DELETE'],
    [404, begun.location.replace('/whip/', '/whep/'), bob.token, 'DELETE'],
    [404, `${path}/${'a'.repeat(24)}`, bob.token, 'DELETE'],
  ])
    assert.equal(
      await status(...request),
      expected,
      `${request[2]} ${request[0]} ${String(request[4]).slice(0, 20)}`,
    );
  // Cut anywhere it is an answer in words or a stream, never a broken server.
  for (let at = 0; at < offer.length; at += 211) {
    const answer = await ask(server, path, eve.token, 'POST', sdp, offer.slice(0, at));
    const location = answer.headers.get('location');
    assert.ok([201, 400, 422].includes(answer.status), `${at}: ${answer.status} ${await answer.text()}`);
    if (location) await ask(server, location, eve.token, 'DELETE');
  }
  await more(ada, 'frames', 20);
  await until(
    'only Bob and Ada to be in the call',
    async () => (await ada.page.getByTestId('tile').count()) === 2,
  );
  assert.deepEqual(ada.problems, []);
});
