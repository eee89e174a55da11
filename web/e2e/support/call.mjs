/** People in a call, and what arrives at their pages. */
import { networkInterfaces } from 'node:os';
import { stays, until } from './wait.mjs';

const WITH_DEVICES = { permissions: ['microphone', 'camera'] };

/** Somebody whose page keeps its connections where the test can ask them. `only`: the one address of the server's that it can reach. */
export async function talker(stage, name, { only = null, ...options } = WITH_DEVICES) {
  const person = await stage.person(name, options);
  await person.context.addInitScript((only) => {
    const Native = window.RTCPeerConnection;
    window.testPeers = [];
    window.RTCPeerConnection = class extends Native {
      constructor(...args) {
        super(...args);
        window.testPeers.push(this);
      }
      setRemoteDescription({ type, sdp }) {
        const isReached = (line) => !only || !line.startsWith('a=candidate:') || line.includes(` ${only} `);
        return super.setRemoteDescription({ type, sdp: sdp.split('\r\n').filter(isReached).join('\r\n') });
      }
    };
    const NativeSocket = window.WebSocket;
    window.WebSocket = class extends NativeSocket {
      constructor(url, ...args) {
        const isMedia = String(url).includes('/media?');
        // Where there is nothing, while the test has cut the line.
        super(isMedia && window.testCut ? String(url).replace('/media?', '/nothing?') : url, ...args);
        if (isMedia) window.testSocket = this;
      }
      send(data) {
        super.send(data);
        const isOffer = this === window.testSocket && data.includes('"type":"offer"');
        // As if the line were gone before the answer has come.
        if (isOffer && window.testLosesAnswer) this.close();
        if (isOffer) window.testLosesAnswer = false;
      }
    };
  }, only);
  return person;
}

/** The page loses the socket of its call, and gets no other until it is mended. */
export const cut = (person) =>
  person.page.evaluate(() => {
    window.testCut = true;
    window.testSocket.close();
  });

export async function mend(person) {
  await person.page.evaluate(() => {
    window.testCut = false;
  });
  await until(`${person.name} to have a socket again`, () =>
    person.page.evaluate(() => window.testSocket.readyState === 1),
  );
}

/** How many connections this page has ever had. */
export const peers = (person) => person.page.evaluate(() => window.testPeers.length);

/** Why nothing goes by IPv6 here, or `null`. */
export function whyNoIpv6() {
  const addresses = Object.values(networkInterfaces()).flat();
  return addresses.some(({ address }) => address === '::1') ? null : 'this machine has no IPv6';
}

/** The picture of somebody, or of their screen. */
export const tile = (person, name, source = 'camera') =>
  person.page.locator(`[data-testid="tile"][data-name="${name}"][data-source="${source}"]`);

export const sees = (person, name, source) =>
  tile(person, name, source).locator('[data-testid="video"][data-shown]').waitFor();

/** Through the dialog, unless it is open already. */
export async function joinCall(person, { microphone = false, camera = false } = {}) {
  if ((await person.get('join-call').count()) === 0) await person.get('call').click();
  const turnOn = async (id) => {
    const toggle = person.get(`preview-${id}`);
    // It may be on as it was the last time.
    if ((await toggle.getAttribute('aria-pressed')) !== 'true') await toggle.click();
  };
  if (microphone) await turnOn('microphone');
  if (camera) {
    await turnOn('camera');
    await person.page.locator('[data-testid="preview"] [data-testid="video"][data-shown]').waitFor();
  }
  await person.get('join-call').click();
  await person.page.locator('[data-testid="call-strip"][data-phase="in"]').waitFor();
}

export async function twoInARoom(stage, options, environment) {
  const server = await stage.server(environment);
  const ada = await talker(stage, 'Ada');
  const bob = await talker(stage, 'Bob', options);
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  return { server, ada, bob };
}

/**
 * What has arrived at this page, by kind; `again`: packets that it had missed; `told`: reports of which time a timestamp is; `concealed`: of all `samples`
 * of sound those that were made up, because they were not there in time; `frozen`: seconds in which a picture stood still.
 */
export const arrived = (person) =>
  person.page.evaluate(async () => {
    const all = {
      frames: 0,
      packets: 0,
      energy: 0,
      again: 0,
      told: 0,
      concealed: 0,
      samples: 0,
      frozen: 0,
      widths: [],
    };
    for (const peer of window.testPeers.filter((peer) => peer.connectionState === 'connected'))
      for (const report of (await peer.getStats()).values()) {
        if (report.type === 'remote-outbound-rtp') all.told += report.reportsSent;
        if (report.type !== 'inbound-rtp') continue;
        all.again += report.retransmittedPacketsReceived ?? 0;
        if (report.kind === 'video') {
          all.frames += report.framesDecoded ?? 0;
          all.frozen += report.totalFreezesDuration ?? 0;
          if (report.frameWidth) all.widths.push(report.frameWidth);
        } else {
          all.packets += report.packetsReceived ?? 0;
          all.energy += report.totalAudioEnergy ?? 0;
          all.concealed += report.concealedSamples ?? 0;
          all.samples += report.totalSamplesReceived ?? 0;
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
        const { candidateType, protocol, relayProtocol, address } = reports.get(pair.localCandidateId);
        found.push({ candidateType, protocol, relayProtocol, address });
      }
    }
    return found;
  });

/** By which protocol each goes. */
export const protocols = async (person) => (await near(person)).map(({ protocol }) => protocol);

/** By which version of IP. */
export const versions = async (person) =>
  (await near(person)).map(({ address }) => (address.includes(':') ? 6 : 4));

/** Whether each goes by a relay, and by which protocol to that. */
export const relays = async (person) =>
  (await near(person)).map(({ candidateType, relayProtocol }) => `${candidateType} ${relayProtocol}`);
