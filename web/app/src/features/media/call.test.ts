import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Store } from '../../ui/store';
import { Call } from './call';
import type { MediaLink, MediaLinkState } from './mediaLink';
import type { FromPage, Participant, ToPage } from './mediaModel';

/** A device's track. `end` is what pulling it out does. */
class FakeTrack extends EventTarget {
  enabled = true;
  isStopped = false;
  contentHint = '';
  stop(): void {
    this.isStopped = true;
  }
  end(): void {
    this.dispatchEvent(new Event('ended'));
  }
}

/** A connection that only negotiates. */
class FakeConnection {
  static all: FakeConnection[] = [];
  connectionState = 'new';
  signalingState = 'stable';
  onconnectionstatechange: (() => void) | null = null;
  localDescription: { sdp: string } | null = null;
  readonly replaced: unknown[] = [];
  private mid = 0;
  constructor(public configuration: RTCConfiguration) {
    FakeConnection.all.push(this);
  }
  getConfiguration = () => this.configuration;
  setConfiguration(configuration: RTCConfiguration): void {
    this.configuration = configuration;
  }
  /** By section. */
  readonly encodings: { active?: boolean }[][] = [];
  readonly senders: { transform?: unknown; replaceTrack: unknown }[] = [];
  addTransceiver(kind: unknown, { sendEncodings = [{}] }: { sendEncodings?: object[] }): unknown {
    const section = this.encodings.push(sendEncodings.map((encoding) => ({ ...encoding }))) - 1;
    const getParameters = () => ({
      encodings: (this.encodings[section] ?? []).map((encoding) => ({ ...encoding })),
    });
    const setParameters = ({ encodings }: { encodings: { active?: boolean }[] }) => {
      this.encodings[section] = encodings;
      return Promise.resolve();
    };
    const replaceTrack = (track: unknown) => {
      this.replaced.push(track);
      return Promise.resolve();
    };
    const sender = { replaceTrack, getParameters, setParameters };
    this.senders.push(sender);
    return { mid: String(this.mid++), sender, receiver: { track: { kind } } };
  }
  stats: Record<string, unknown>[] = [];
  getStats = () => Promise.resolve(new Map(this.stats.map((report, nth) => [String(nth), report])));
  readonly receivers: { track: { kind: string }; transform?: unknown }[] = [];
  getTransceivers(): unknown[] {
    return this.receivers.map((receiver, mid) => ({ mid: String(mid), receiver }));
  }
  createOffer = (options?: RTCOfferOptions) =>
    Promise.resolve({ type: 'offer', sdp: options?.iceRestart ? 'another session' : 'an offer' });
  createAnswer = () => Promise.resolve({ type: 'answer', sdp: 'an answer' });
  setRemoteDescription({ type }: { type: string }): Promise<void> {
    this.signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
    return Promise.resolve();
  }
  setLocalDescription(description: { type: string; sdp: string }): Promise<void> {
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    this.localDescription = description;
    return Promise.resolve();
  }
  close(): void {
    this.connectionState = 'closed';
  }
  becomes(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

const link = {
  state: new Store<MediaLinkState>('online'),
  participants: new Store<readonly Participant[]>([]),
  said: [] as FromPage[],
  isOpen: true,
  renewed: 0,
  onMessage: (_: ToPage): void => undefined,
  say(message: FromPage): boolean {
    if (link.isOpen) link.said.push(message);
    return link.isOpen;
  },
  ask(message: FromPage): void {
    link.say(message);
  },
  renew(): void {
    link.renewed += 1;
    link.state.set('away');
  },
};

/** What the browser is asked for, and the answers. */
const prompts: { answer: (track: FakeTrack) => void }[] = [];
const ask = () =>
  new Promise((resolve) => {
    prompts.push({ answer: (track) => resolve({ getTracks: () => [track] }) });
  });

let call: Call;

/** Messages arrive and are worked on. */
async function hears(...messages: ToPage[]): Promise<void> {
  for (const message of messages) link.onMessage(message);
  await vi.advanceTimersByTimeAsync(0);
}

const ice_servers = [{ urls: ['turn:turn.example.org'], username: '1:me', credential: 'x' }];

async function joined(resumed = false): Promise<void> {
  await hears({ type: 'joined', participant: 'me', resume: 'secret', resumed, ice_servers });
}

const said = (type: FromPage['type']) => link.said.filter((message) => message.type === type);

function start(part: { microphone?: FakeTrack; camera?: FakeTrack; key?: string } = {}): void {
  const devices = { microphone: null, camera: null };
  call.join({ microphone: null, camera: null, key: null, devices, ...part } as unknown as Parameters<
    Call['join']
  >[0]);
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeConnection.all = [];
  prompts.length = 0;
  link.said = [];
  link.isOpen = true;
  link.renewed = 0;
  link.state.set('online');
  link.participants.set([]);
  vi.stubGlobal('window', new EventTarget());
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('RTCPeerConnection', FakeConnection);
  vi.stubGlobal('navigator', { mediaDevices: { getUserMedia: ask, getDisplayMedia: ask } });
  call = new Call(link as unknown as MediaLink);
});

afterEach(() => {
  call.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a call whose connection breaks', () => {
  const camera = () => new FakeTrack();

  it('joins anew with what was on, whoever sees it first', async () => {
    for (const seen of ['server', 'page', 'both'] as const) {
      const track = camera();
      start({ camera: track });
      await joined();
      const before = said('join').length;
      if (seen !== 'server') FakeConnection.all.at(-1)?.becomes('failed');
      if (seen !== 'page') await hears({ type: 'ended', again: true });
      // What was said to it before the server heard that it left.
      await hears(
        { type: 'offer', neg: 7, sdp: 'of the part before' },
        { type: 'refused', message: 'that is not in the call any more' },
        { type: 'ended', again: false },
      );
      expect(call.state.get(), seen).toMatchObject({ phase: 'joining', camera: true, problem: null });
      await vi.advanceTimersByTimeAsync(1000);
      expect(said('join')).toHaveLength(before + 1);
      expect(said('join').at(-1)).toEqual({ type: 'join', resume: null, encrypted: false });
      await joined();
      expect(call.state.get()).toMatchObject({ phase: 'in', camera: true });
      expect(link.said.at(-1)).toEqual({ type: 'set', source: 'screen', state: 'off' });
      expect(track.isStopped).toBe(false);
      call.leave();
      expect(track.isStopped).toBe(true);
    }
  });

  it('is out of it when the server says so, or does not let it in', async () => {
    start();
    await joined();
    await hears({ type: 'ended', again: false });
    expect(call.state.get().phase).toBe('out');
    start();
    await hears({ type: 'refused', message: 'at most 50' });
    expect(call.state.get()).toMatchObject({ phase: 'out', problem: 'At most 50.' });
  });

  it('offers again what it heard no answer to, and nothing else', async () => {
    start({ microphone: new FakeTrack() });
    await joined();
    const offers = () => said('offer').map((message) => message.type === 'offer' && message.neg);
    expect(offers()).toEqual([1]);
    // The answer was lost with the link.
    link.state.set('away');
    link.state.set('online');
    await joined(true);
    expect(offers()).toEqual([1, 2]);
    await hears({ type: 'answer', neg: 2, sdp: 'an answer' });
    expect(FakeConnection.all.map(({ signalingState }) => signalingState)).toEqual(['stable']);
    await joined(true);
    expect(offers()).toEqual([1, 2]);
    // Broken off as well, it is offered once, in another session.
    FakeConnection.all[0]?.becomes('connected');
    FakeConnection.all[0]?.becomes('disconnected');
    await vi.advanceTimersByTimeAsync(0);
    await joined(true);
    expect(offers()).toEqual([1, 2, 3, 4]);
  });

  it('says in its own words that it was not let in in time', async () => {
    start();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(call.state.get().problem).toMatch(/could not be joined/);
  });
});

describe('a page that moves to another network', () => {
  /** In the call, with both connections. */
  async function connected(): Promise<[FakeConnection, FakeConnection]> {
    start({ microphone: new FakeTrack() });
    await joined();
    await hears({ type: 'offer', neg: 1, sdp: 'an offer' });
    const [publisher, subscriber] = FakeConnection.all as [FakeConnection, FakeConnection];
    publisher.becomes('connected');
    subscriber.becomes('connected');
    link.said = [];
    return [publisher, subscriber];
  }
  const sdps = () => said('offer').map((message) => message.type === 'offer' && message.sdp);

  it('goes on as the same participant, by another way', async () => {
    const [publisher, subscriber] = await connected();
    publisher.becomes('disconnected');
    subscriber.becomes('disconnected');
    await vi.advanceTimersByTimeAsync(0);
    expect(call.state.get()).toMatchObject({ phase: 'in', interrupted: true });
    expect([sdps(), said('restart')]).toEqual([['another session'], [{ type: 'restart' }]]);
    await hears(
      { type: 'answer', neg: 2, sdp: 'an answer' },
      { type: 'offer', neg: 2, sdp: 'another offer' },
    );
    publisher.becomes('connected');
    expect(call.state.get().interrupted).toBe(true);
    subscriber.becomes('connected');
    expect(call.state.get().interrupted).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([said('leave'), said('join'), sdps()]).toEqual([[], [], ['another session']]);
    expect(FakeConnection.all).toHaveLength(2);
  });

  it('tries again by another link, when the one it has is dead', async () => {
    const [publisher] = await connected();
    publisher.becomes('disconnected');
    await vi.advanceTimersByTimeAsync(3000);
    expect(link.renewed).toBe(1);
    // Without any network nothing is tried, and nothing given up.
    await vi.advanceTimersByTimeAsync(60_000);
    publisher.becomes('failed');
    expect([link.renewed, sdps()]).toEqual([1, ['another session']]);
    link.state.set('online');
    expect(said('join')).toEqual([{ type: 'join', resume: 'secret', encrypted: false }]);
    await joined(true);
    expect(sdps()).toEqual(['another session', 'another session']);
    await hears({ type: 'answer', neg: 3, sdp: 'an answer' });
    await vi.advanceTimersByTimeAsync(15_000);
    publisher.becomes('connected');
    expect(call.state.get()).toMatchObject({ phase: 'in', interrupted: false });
  });

  it('joins anew when it is there and finds no way', async () => {
    const [publisher] = await connected();
    publisher.becomes('disconnected');
    for (let seconds = 0; seconds < 24; seconds += 3) {
      await hears({ type: 'answer', neg: 0, sdp: 'an answer' });
      await vi.advanceTimersByTimeAsync(3000);
    }
    expect(link.renewed).toBe(0);
    expect(call.state.get()).toMatchObject({ phase: 'joining', interrupted: false });
    expect(said('leave')).toHaveLength(1);
  });
});

describe('devices', () => {
  it('are asked for once, however often somebody clicks', async () => {
    start();
    await joined();
    for (const turn of [call.setCamera, call.setMicrophone, call.setScreen]) {
      prompts.length = 0;
      void turn.call(call, true);
      void turn.call(call, true);
      expect(prompts).toHaveLength(1);
      prompts[0]?.answer(new FakeTrack());
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(call.state.get()).toMatchObject({ microphone: 'on', camera: true, screen: true });
  });

  it('are not taken into another call than the one they were asked for in', async () => {
    start();
    await joined();
    void call.setMicrophone(true);
    void call.setCamera(true);
    call.leave();
    const own = new FakeTrack();
    own.enabled = false;
    start({ microphone: own });
    await joined();
    const late = prompts.map(({ answer }) => {
      const track = new FakeTrack();
      answer(track);
      return track;
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(late.map((track) => track.isStopped)).toEqual([true, true]);
    expect(call.state.get()).toMatchObject({ microphone: 'muted', camera: false });
    expect(own).toMatchObject({ enabled: false, isStopped: false });
  });

  it('are had for as long as a key is held, and muted when it was let go of before', async () => {
    for (const [held, state] of [
      [false, 'muted'],
      [true, 'on'],
    ] as const) {
      start();
      await joined();
      void call.talk(() => held);
      const track = new FakeTrack();
      prompts.at(-1)?.answer(track);
      await vi.advanceTimersByTimeAsync(0);
      expect(call.state.get().microphone).toBe(state);
      expect(track.enabled).toBe(held);
      expect(said('set').at(-1)).toEqual({ type: 'set', source: 'microphone', state });
      call.leave();
    }
  });

  it('that are pulled out are off, also those from before joining', async () => {
    const [microphone, camera] = [new FakeTrack(), new FakeTrack()];
    start({ microphone, camera });
    await joined();
    link.said = [];
    microphone.end();
    expect(call.state.get()).toMatchObject({ microphone: 'off', camera: true });
    expect(call.state.get().problem).toMatch(/microphone is gone/);
    camera.end();
    await vi.advanceTimersByTimeAsync(0);
    expect(call.state.get()).toMatchObject({ microphone: 'off', camera: false });
    expect(link.said).toEqual([
      { type: 'set', source: 'microphone', state: 'off' },
      { type: 'set', source: 'camera', state: 'off' },
    ]);
    // Another microphone can be had.
    void call.setMicrophone(true);
    prompts[0]?.answer(new FakeTrack());
    await vi.advanceTimersByTimeAsync(0);
    expect(call.state.get().microphone).toBe('on');
  });

  it('that somebody asked for are not asked for any more once they are on', async () => {
    start();
    await joined();
    await hears({ type: 'asked', source: 'screen', by: 'Ada' });
    expect(call.state.get().asked).toEqual({ source: 'screen', by: 'Ada' });
    void call.setScreen(true);
    expect(call.state.get().asked).toBeNull();
  });
});

it('says again how large it shows tracks if that was not heard', async () => {
  start();
  await joined();
  link.isOpen = false;
  call.want(new Map([['b/screen', 'high']]));
  link.isOpen = true;
  await joined(true);
  expect(said('want')).toEqual([{ type: 'want', track: 'b/screen', layer: 'high' }]);
});

it('stays muted by a host who muted it while its link was away', async () => {
  const track = new FakeTrack();
  start({ microphone: track });
  await joined();
  const seen = (muted: boolean) => {
    const tracks = [{ id: 'me/microphone', source: 'microphone', muted }];
    link.participants.set([{ id: 'me', tracks } as unknown as Participant]);
  };
  seen(false);
  await joined(true);
  expect(call.state.get().microphone).toBe('on');
  seen(true);
  await joined(true);
  expect(call.state.get()).toMatchObject({ microphone: 'muted', problem: 'A host muted you.' });
  expect(track.enabled).toBe(false);
  const told = () => said('set').filter((set) => 'source' in set && set.source === 'microphone');
  expect(told().at(-1)).toEqual({ type: 'set', source: 'microphone', state: 'muted' });
  // What crossed it on the way is taken back.
  await call.setMicrophone(true);
  await hears({ type: 'asked', source: 'microphone', by: 'Ada' });
  await hears({ type: 'muted', source: 'microphone', by: 'Ada' });
  expect(told().at(-1)).toEqual({ type: 'set', source: 'microphone', state: 'muted' });
  expect(call.state.get()).toMatchObject({ problem: 'Ada muted you.', asked: null });
  // Its own person unmutes.
  await call.setMicrophone(true);
  seen(false);
  await joined(true);
  expect(told().at(-1)).toEqual({ type: 'set', source: 'microphone', state: 'on' });
});

it('sends no more of its pictures than others show, also after it joined anew', async () => {
  start({ camera: new FakeTrack() });
  await joined();
  const active = () =>
    FakeConnection.all.at(-1)?.encodings.map((section) => section.map(({ active }) => active ?? true));
  expect(active()).toEqual([[true], [true, true, true], [true]]);
  await hears(
    { type: 'needed', source: 'camera', layer: 'middle' },
    { type: 'needed', source: 'screen', layer: null },
  );
  expect(active()).toEqual([[true], [true, true, false], [false]]);
  await hears({ type: 'needed', source: 'camera', layer: 'high' });
  expect(active()?.[1]).toEqual([true, true, true]);
  await hears({ type: 'held', reduced: [], paused: ['b/camera'], undecodable: ['c/camera'] });
  expect(call.held.get().paused).toEqual(new Set(['b/camera']));
  expect(call.held.get().undecodable).toEqual(new Set(['c/camera']));
  await hears({ type: 'ended', again: true });
  expect(call.held.get().paused.size).toBe(0);
});

it('takes its hand down when a moderator says so, and says who did', async () => {
  start();
  await joined();
  await hears({ type: 'hand_lowered', by: 'Ada' });
  expect(call.state.get().problem, 'it was down already').toBeNull();
  call.onHandLowered = () => true;
  await hears({ type: 'hand_lowered', by: 'Ada' });
  expect(call.state.get().problem).toBe('Ada lowered your hand.');
});

it('goes on with another device, muted as it was', async () => {
  const before = new FakeTrack();
  start({ microphone: before });
  await joined();
  await call.setMicrophone(false);
  void call.switchTo('microphone', 'headset');
  const next = new FakeTrack();
  prompts.at(-1)?.answer(next);
  await vi.advanceTimersByTimeAsync(0);
  expect([before.isStopped, next.isStopped, next.enabled]).toEqual([true, false, false]);
  expect(call.local.get().microphone).toBe(next);
  expect(FakeConnection.all.at(-1)?.replaced.at(-1)).toBe(next);
  // What is chosen while nothing is on counts when it is turned on.
  void call.switchTo('camera', 'webcam');
  await vi.advanceTimersByTimeAsync(0);
  expect(call.local.get().camera).toBeNull();
});

it('asks the servers that it was told of for a way', async () => {
  start();
  await joined();
  await hears({ type: 'offer', neg: 1, sdp: 'an offer' });
  expect(FakeConnection.all.map(({ configuration }) => configuration)).toEqual([
    { iceServers: ice_servers },
    { iceServers: ice_servers },
  ]);
});

it('says every few seconds how its connections are, unless they are not', async () => {
  start();
  await joined();
  const [publisher] = FakeConnection.all as [FakeConnection];
  await vi.advanceTimersByTimeAsync(6000);
  expect(said('report')).toEqual([]);
  publisher.becomes('connected');
  publisher.stats = [{ type: 'outbound-rtp', packetsSent: 100, bytesSent: 0 }];
  await vi.advanceTimersByTimeAsync(3000);
  publisher.stats = [
    { type: 'outbound-rtp', packetsSent: 200, bytesSent: 0 },
    { type: 'remote-inbound-rtp', packetsLost: 30 },
  ];
  await vi.advanceTimersByTimeAsync(3000);
  const report = { type: 'report', sent_lost: 300, received_lost: 0, round_trip: 0, sent: 0, received: 0 };
  expect(said('report')).toEqual([report]);
  publisher.becomes('disconnected');
  await vi.advanceTimersByTimeAsync(6000);
  expect(said('report')).toHaveLength(1);
  call.leave();
  expect(vi.getTimerCount()).toBe(0);
});

describe('an encrypted call', () => {
  const key = 'A'.repeat(43);
  /** What encrypts, and what it was told. */
  class FakeWorker {
    static all: FakeWorker[] = [];
    onmessage: ((event: { data: unknown }) => void) | null = null;
    onerror: (() => void) | null = null;
    isClosed = false;
    readonly told: unknown[] = [];
    constructor() {
      FakeWorker.all.push(this);
    }
    postMessage(message: unknown): void {
      this.told.push(message);
    }
    terminate(): void {
      this.isClosed = true;
    }
  }
  const worker = () => FakeWorker.all.at(-1) as FakeWorker;
  beforeEach(() => {
    FakeWorker.all = [];
    vi.stubGlobal('Worker', FakeWorker);
    vi.stubGlobal(
      'RTCRtpScriptTransform',
      class {
        constructor(
          readonly worker: FakeWorker,
          readonly way: unknown,
        ) {}
      },
    );
  });

  it('has everything encrypted before anything is offered, also after joining anew', async () => {
    start({ key });
    expect(said('join').at(-1)).toEqual({ type: 'join', resume: null, encrypted: true });
    for (let time = 0; time < 2; time += 1) {
      await joined();
      const publisher = FakeConnection.all.at(-1);
      expect(publisher?.localDescription).not.toBe(null);
      const ways = publisher?.senders.map(({ transform }) => (transform as { way: unknown }).way);
      expect(ways).toEqual([
        { kind: 'audio', line: null },
        { kind: 'video', line: null },
        { kind: 'video', line: null },
      ]);
      await hears({ type: 'ended', again: true });
      await vi.advanceTimersByTimeAsync(1000);
      expect(said('join').at(-1)).toEqual({ type: 'join', resume: null, encrypted: true });
    }
    expect(FakeWorker.all).toHaveLength(1);
    call.leave();
    expect(worker().isClosed).toBe(true);
  });

  it('knows whose tracks cannot be read, and goes on with another key', async () => {
    start({ key });
    await joined();
    await hears({ type: 'offer', neg: 1, sdp: 'an offer' });
    await hears({ type: 'slots', slots: [{ mid: '0', track: 'ada/microphone' }] });
    worker().onmessage?.({ data: { track: 'ada/microphone', isReadable: false } });
    expect([...call.unreadable.get()]).toEqual(['ada/microphone']);
    expect(worker().told.at(-1)).toEqual({ type: 'lines', lines: new Map([['0', 'ada/microphone']]) });
    call.setKey('not a key');
    expect(call.unreadable.get().size).toBe(1);
    call.setKey(`${'A'.repeat(42)}E`);
    expect(call.unreadable.get().size).toBe(0);
    expect(worker().told.at(-1)).toMatchObject({ type: 'secret' });
    // A picture that cannot be read is not asked for.
    call.want(new Map([['ada/camera', 'low']]));
    worker().onmessage?.({ data: { track: 'ada/camera', isReadable: false } });
    worker().onmessage?.({ data: { track: 'ada/camera', isReadable: true } });
    const layers = said('want').map((want) => 'layer' in want && want.layer);
    expect(layers).toEqual(['low', null, 'low']);
  });

  it('is left when it cannot be encrypted', async () => {
    const camera = new FakeTrack();
    start({ key, camera });
    await joined();
    worker().onerror?.();
    expect(call.state.get()).toMatchObject({ phase: 'out', encrypted: false });
    expect(call.state.get().problem).toMatch(/could not be encrypted/);
    expect([camera.isStopped, worker().isClosed]).toEqual([true, true]);
  });
});
