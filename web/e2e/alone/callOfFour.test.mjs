/** A call of four, each with a camera and a microphone: so much to encode and to decode that nothing else runs beside it. */
import assert from 'node:assert/strict';
import { joinCall, sees, talker } from '../support/call.mjs';
import { scenario } from '../support/scenario.mjs';
import { until } from '../support/wait.mjs';

/** What has arrived on each line of this page: frames that were decoded, or packets of sound. */
const lines = (person) =>
  person.page.evaluate(async () => {
    const found = {};
    for (const peer of window.testPeers.filter((peer) => peer.connectionState === 'connected'))
      for (const { type, kind, mid, framesDecoded, packetsReceived } of (await peer.getStats()).values())
        if (type === 'inbound-rtp')
          found[`${kind} ${mid}`] = kind === 'video' ? framesDecoded : packetsReceived;
    return found;
  });

scenario('four people all hear and see each other', async (stage) => {
  const server = await stage.server();
  const people = [];
  for (const name of ['Ada', 'Bob', 'Eve', 'Joe']) people.push(await talker(stage, name));
  const room = await people[0].createRoom(server, 'python');
  for (const person of people.slice(1)) await person.join(server, room);
  for (const person of people) await joinCall(person, { microphone: true, camera: true });
  for (const person of people)
    for (const { name } of people) if (name !== person.name) await sees(person, name);
  for (const person of people) {
    const before = await lines(person);
    await until(`three voices and three pictures at ${person.name}'s`, async () => {
      const now = Object.entries(await lines(person));
      const moving = now.filter(([line, count]) => count >= (before[line] ?? 0) + 20);
      const of = (kind) => moving.filter(([line]) => line.startsWith(kind)).length;
      return of('audio') === 3 && of('video') === 3;
    });
  }
  assert.deepEqual(
    people.flatMap(({ problems }) => problems),
    [],
  );
});
