/** People in a call, and what arrives at their pages. */
import { stays, until } from './wait.mjs';

const WITH_DEVICES = { permissions: ['microphone', 'camera'] };

/** Somebody whose page keeps its connections where the test can ask them. */
export async function talker(stage, name, options = WITH_DEVICES) {
  const person = await stage.person(name, options);
  await person.context.addInitScript(() => {
    const Native = window.RTCPeerConnection;
    window.testPeers = [];
    window.RTCPeerConnection = class extends Native {
      constructor(...args) {
        super(...args);
        window.testPeers.push(this);
      }
    };
    const NativeSocket = window.WebSocket;
    window.WebSocket = class extends NativeSocket {
      constructor(...args) {
        super(...args);
        if (this.url.includes('/media?')) window.testSocket = this;
      }
    };
  });
  return person;
}

/** The picture of somebody, or of their screen. */
export const tile = (person, name, source = 'camera') =>
  person.page.locator(`[data-testid="tile"][data-name="${name}"][data-source="${source}"]`);

export const sees = (person, name, source) =>
  tile(person, name, source).locator('[data-testid="video"][data-shown]').waitFor();

/** Through the dialog, unless it is open already. */
export async function joinCall(person, { microphone = false, camera = false } = {}) {
  if ((await person.get('join-call').count()) === 0) await person.get('call').click();
  if (microphone) await person.get('preview-microphone').click();
  if (camera) {
    await person.get('preview-camera').click();
    await person.page.locator('[data-testid="preview"] [data-testid="video"][data-shown]').waitFor();
  }
  await person.get('join-call').click();
  await person.page.locator('[data-testid="call-strip"][data-phase="in"]').waitFor();
}

export async function twoInARoom(stage, options) {
  const server = await stage.server();
  const ada = await talker(stage, 'Ada');
  const bob = await talker(stage, 'Bob', options);
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  return { server, ada, bob };
}

/** What has arrived at this page, by kind; `again`: packets that it had missed; `told`: reports of which time a timestamp is. */
export const arrived = (person) =>
  person.page.evaluate(async () => {
    const all = { frames: 0, packets: 0, energy: 0, again: 0, told: 0, widths: [] };
    for (const peer of window.testPeers.filter((peer) => peer.connectionState === 'connected'))
      for (const report of (await peer.getStats()).values()) {
        if (report.type === 'remote-outbound-rtp') all.told += report.reportsSent;
        if (report.type !== 'inbound-rtp') continue;
        all.again += report.retransmittedPacketsReceived ?? 0;
        if (report.kind === 'video') {
          all.frames += report.framesDecoded ?? 0;
          if (report.frameWidth) all.widths.push(report.frameWidth);
        } else {
          all.packets += report.packetsReceived ?? 0;
          all.energy += report.totalAudioEnergy ?? 0;
        }
      }
    return all;
  });

/** Waits until more arrives than now. */
export async function more(person, what, by) {
  const before = (await arrived(person))[what];
  await until(`more ${what} at ${person.name}'s`, async () => (await arrived(person))[what] > before + by);
}

/** Nothing more than what is on its way. */
export async function noMore(person, what, slack, ms) {
  await until(`no more ${what} at ${person.name}'s`, async () => {
    const before = (await arrived(person))[what];
    await new Promise((done) => setTimeout(done, 500));
    return (await arrived(person))[what] - before <= slack;
  });
  const before = (await arrived(person))[what];
  await stays(`${what} at ${person.name}'s`, ms, async () => (await arrived(person))[what] - before <= slack);
}

/** Both hear and see each other. */
export async function talk(...people) {
  for (const person of people)
    for (const [what, by] of [
      ['frames', 20],
      ['packets', 50],
      ['energy', 0.0001],
    ])
      await more(person, what, by);
}

/** What this page's connections send over now: the near end of each. */
const near = (person) =>
  person.page.evaluate(async () => {
    const found = [];
    for (const peer of window.testPeers.filter((peer) => peer.connectionState === 'connected')) {
      const reports = await peer.getStats();
      for (const report of reports.values()) {
        const pair = report.type === 'transport' && reports.get(report.selectedCandidatePairId);
        if (!pair) continue;
        const { candidateType, protocol, relayProtocol } = reports.get(pair.localCandidateId);
        found.push({ candidateType, protocol, relayProtocol });
      }
    }
    return found;
  });

/** By which protocol each goes. */
export const protocols = async (person) => (await near(person)).map(({ protocol }) => protocol);

/** Whether each goes by a relay, and by which protocol to that. */
export const relays = async (person) =>
  (await near(person)).map(({ candidateType, relayProtocol }) => `${candidateType} ${relayProtocol}`);
