/**
 * This page's part in a call: its devices, the connection over which it sends and the one over which it is sent. It renders
 * nothing.
 *
 * The page offers microphone, camera and screen once and only fills them later, so turning something on negotiates nothing. On the
 * other connection the server offers. When either breaks off, because the page moved to another network, ICE looks for another way
 * (a restart). When that finds none, or the server has forgotten this page, it joins anew with what was on.
 */
import { written } from '../../api/client';
import { Store } from '../../ui/store';
import { secretOf } from '../e2ee/callKey';
import { Sealing } from '../e2ee/sealing';
import { Unreadable } from '../e2ee/unreadable';
import type { FromWorker } from '../e2ee/worker';
import type { MediaLink } from './mediaLink';
import {
  activeEncodings,
  deviceWords,
  type Held,
  type Layer,
  NOTHING_HELD,
  type Source,
  type ToPage,
  trackOf,
} from './mediaModel';
import { reportOf, type Totals, totals } from './report';

export type Phase = 'out' | 'joining' | 'in';

export interface CallState {
  phase: Phase;
  /** This page's participant. */
  me: string | null;
  microphone: 'off' | 'muted' | 'on';
  camera: boolean;
  screen: boolean;
  /** What it sends is encrypted, and what it is sent decrypted. It stays as it joined, whatever the server says. */
  encrypted: boolean;
  /** Its connections broke off, and ways to go on are looked for. */
  interrupted: boolean;
  /** A sentence about what did not work. */
  problem: string | null;
  /** Somebody asks to hear or see this page. */
  asked: { source: Source; by: string } | null;
}

export interface Devices {
  microphone: string | null;
  camera: string | null;
}

/** What this page has on, muted or not. */
interface Local {
  microphone: MediaStreamTrack | null;
  camera: MediaStreamTrack | null;
  screen: MediaStreamTrack | null;
}

const NOTHING_LOCAL: Local = { microphone: null, camera: null, screen: null };

const OUT: CallState = {
  phase: 'out',
  me: null,
  microphone: 'off',
  camera: false,
  screen: false,
  encrypted: false,
  interrupted: false,
  problem: null,
  asked: null,
};

/** How long joining may take before it is given up. */
const JOINING_MS = 10_000;
/** The pause before joining anew, so that a server that cannot carry it is not asked all the time. */
const AGAIN_MS = 1000;

/** How often another way is looked for while there is none, and for how long before joining anew. */
const RESTART_MS = 3000;
const RESTARTING_MS = 20_000;

/** How often the server is told how the connections are. */
const REPORT_MS = 3000;

/** The layers of a camera, the smallest first; the names are the server's. */
const LAYERS: RTCRtpEncodingParameters[] = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'f', maxBitrate: 1_700_000 },
];

export class Call {
  readonly state = new Store<CallState>(OUT);
  /** What arrives, by track id. */
  readonly remote = new Store<ReadonlyMap<string, MediaStreamTrack>>(new Map());
  /** Since when what arrives there is of whom it is of now, in milliseconds of the clock's own epoch. */
  readonly since = new WeakMap<MediaStreamTrack, number>();
  readonly held = new Store<Held>(NOTHING_HELD);
  /** What cannot be decrypted: its senders have another key. */
  readonly unreadable = new Unreadable(() => this.sayWanted());
  /** A moderator has this page take its hand down. False if it was down. */
  onHandLowered: () => boolean = () => false;
  /** What this page shows of itself. */
  readonly local = new Store<Local>(NOTHING_LOCAL);
  private devices: Devices = { microphone: null, camera: null };
  private resume: string | null = null;
  /** From joining to leaving, over all connections meanwhile. */
  private sealing: Sealing | null = null;
  /** What helps to find a way to the server. */
  private iceServers: RTCIceServer[] = [];
  private publisher: RTCPeerConnection | null = null;
  private senders: Partial<Record<Source, RTCRtpSender>> = {};
  private sections: { section: RTCRtpTransceiver; source: Source }[] = [];
  private subscriber: RTCPeerConnection | null = null;
  private slots: { mid: string; track: string }[] = [];
  /** How large tracks are shown, and what was wanted of the server for that. */
  private shown = new Map<string, Layer | null>();
  private wanted = new Map<string, Layer | null>();
  /** How the server last heard that this page has each on. */
  private told = new Map<Source, 'off' | 'muted' | 'on'>();
  /** How large others show what this page sends. */
  private needed = new Map<Source, Layer | null>();
  private neg = 0;
  /** It has asked to join since it last had to. */
  private isAsked = false;
  /** What the browser is being asked for; another set in each call. */
  private requests = new Set<Source>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  /** Connections that were there, and those of them that broke off. */
  private established = new WeakSet<RTCPeerConnection>();
  private broken = new Set<RTCPeerConnection>();
  private brokenSince = 0;
  private restartTimer: ReturnType<typeof setTimeout> | null = null;
  /** The server has answered since something was restarted. */
  private isHeard = true;
  /** Messages are worked on one after the other: descriptions depend on the ones before. */
  private queue: Promise<void> = Promise.resolve();
  private reporter: ReturnType<typeof setInterval> | null = null;
  private counted: Totals | null = null;
  private readonly stop: () => void;

  constructor(private readonly link: MediaLink) {
    link.onMessage = (message) => {
      this.soon(() => this.hear(message));
    };
    this.stop = link.state.subscribe(() => {
      const state = link.state.get();
      if (state === 'online' && this.state.get().phase !== 'out') this.ask();
      if (state === 'gone') this.end();
    });
    window.addEventListener('pagehide', this.onHide);
    window.addEventListener('online', this.restartAgain);
  }

  destroy(): void {
    window.removeEventListener('pagehide', this.onHide);
    window.removeEventListener('online', this.restartAgain);
    this.stop();
    if (this.state.get().phase !== 'out') this.leave();
  }

  /** Takes part, with what the preview already has. With a `key` everything is encrypted, or it does not take part. */
  join(start: {
    microphone: MediaStreamTrack | null;
    camera: MediaStreamTrack | null;
    devices: Devices;
    key: string | null;
  }): void {
    if (this.state.get().phase !== 'out') return;
    this.begin(start.key);
    this.devices = start.devices;
    this.keep({ microphone: start.microphone, camera: start.camera });
    this.watch('microphone', start.microphone);
    this.watch('camera', start.camera);
    this.patch({
      phase: 'joining',
      microphone: start.microphone ? (start.microphone.enabled ? 'on' : 'muted') : 'off',
      camera: start.camera !== null,
      encrypted: this.sealing !== null,
      problem: null,
    });
    this.ask();
  }

  /** Goes on with another key. Nobody has to join anew for that. */
  setKey(key: string): void {
    const secret = secretOf(key);
    if (!secret || !this.sealing) return;
    this.sealing.setSecret(secret);
    this.unreadable.clear();
  }

  leave(): void {
    this.link.say({ type: 'leave' });
    this.end();
    // What did not work in a call is over with it.
    this.dismiss();
  }

  /** Turns the microphone on or mutes it. The first time it asks the browser for it. */
  async setMicrophone(on: boolean): Promise<void> {
    this.patch({ problem: null, asked: null });
    if (on && !(await this.takeMicrophone())) return;
    this.muteOwn(!on);
  }

  /** Turns the microphone on, unless what is held down for that is let go of before the browser has given it. */
  async talk(isHeld: () => boolean): Promise<void> {
    this.patch({ problem: null, asked: null });
    if (await this.takeMicrophone()) this.muteOwn(!isHeld());
  }

  /** Has a microphone, muted at first. False if there is none to be had. */
  private async takeMicrophone(): Promise<boolean> {
    if (this.microphone) return true;
    const audio = audioWish(this.devices.microphone);
    const track = await this.request('microphone', () => navigator.mediaDevices.getUserMedia({ audio }));
    if (!track) return false;
    track.enabled = false;
    this.keep({ microphone: track });
    await this.send('microphone', track);
    return true;
  }

  private muteOwn(muted: boolean): void {
    if (!this.microphone) return;
    this.microphone.enabled = !muted;
    this.patch({ microphone: muted ? 'muted' : 'on' });
    this.tell('microphone');
  }

  /** Off lets go of the camera, so that its light goes out. */
  async setCamera(on: boolean): Promise<void> {
    this.patch({ problem: null, asked: null });
    await this.setPicture('camera', on, () =>
      navigator.mediaDevices.getUserMedia({ video: cameraWish(this.devices.camera) }),
    );
  }

  /** From now on another device. What is on goes on with it. */
  async switchTo(source: 'microphone' | 'camera', id: string): Promise<void> {
    this.devices = { ...this.devices, [source]: id };
    this.patch({ problem: null });
    const before = this.local.get()[source];
    if (!before) return;
    const wish = source === 'microphone' ? { audio: audioWish(id) } : { video: cameraWish(id) };
    const track = await this.request(source, () => navigator.mediaDevices.getUserMedia(wish));
    if (!track) return;
    // Muted meanwhile, or turned off.
    const now = this.local.get()[source];
    if (now !== before) return track.stop();
    track.enabled = before.enabled;
    this.keep({ [source]: track });
    await this.send(source, track);
    before.stop();
  }

  async setScreen(on: boolean): Promise<void> {
    this.patch({ problem: null, asked: null });
    await this.setPicture('screen', on, () =>
      navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 15 }, audio: false }),
    );
  }

  /** How large tracks are shown here. */
  want(wanted: Map<string, Layer | null>): void {
    if (this.state.get().phase !== 'in') return;
    this.shown = wanted;
    this.sayWanted();
  }

  private sayWanted(): void {
    const wanted = this.unreadable.without(this.shown);
    for (const [track, layer] of wanted)
      if (this.wanted.get(track) !== layer) this.link.say({ type: 'want', track, layer });
    this.wanted = wanted;
  }

  mute(track: string): void {
    this.link.say({ type: 'mute', track });
  }

  /** False if the connection is lost. */
  askFor(track: string): boolean {
    return this.link.say({ type: 'ask', track });
  }

  lowerHand(participant: string): void {
    this.link.say({ type: 'lower_hand', participant });
  }

  dismiss(): void {
    this.patch({ problem: null, asked: null });
  }

  /** Who closes or reloads the page has left; nobody should wait for them. */
  private onHide = (): void => {
    if (this.state.get().phase !== 'out') this.leave();
  };

  private begin(key: string | null): void {
    if (key === null) return;
    const secret = secretOf(key);
    if (!secret) throw new Error('a key that was checked before');
    const hear = ({ track, isReadable }: FromWorker) => this.unreadable.mark(track, isReadable);
    const sealing = new Sealing(secret, hear, () => {
      if (sealing !== this.sealing) return;
      this.leave();
      this.patch({
        problem: 'The call could not be encrypted in this page, so it was left. Load the page again.',
      });
    });
    this.sealing = sealing;
  }

  private ask(): void {
    if (!this.link.say({ type: 'join', resume: this.resume, encrypted: this.sealing !== null })) return;
    this.isAsked = true;
    if (this.state.get().phase !== 'joining') return;
    this.later(JOINING_MS, () => {
      this.leave();
      this.patch({ problem: 'The call could not be joined. Try again in a moment.' });
    });
  }

  private async hear(message: ToPage): Promise<void> {
    const { phase } = this.state.get();
    if (phase === 'out') {
      // It left while this was on its way.
      if (message.type === 'joined') this.link.say({ type: 'leave' });
      if (message.type === 'refused') this.patch({ problem: written(message.message) });
      return;
    }
    // Until it has joined, everything but the answer to that is about its part before, which is over.
    this.isHeard = true;
    const isAnswer = message.type === 'joined' || (message.type === 'refused' && this.isAsked);
    if (phase === 'joining' && !isAnswer) return;
    switch (message.type) {
      case 'joined':
        this.later(0, null);
        this.resume = message.resume;
        this.iceServers = message.ice_servers;
        this.patch({ phase: 'in', me: message.participant });
        if (message.resumed && this.publisher) {
          const { publisher } = this;
          // What lets a relay be used ends after a while.
          for (const peer of [publisher, this.subscriber])
            peer?.setConfiguration({ ...peer.getConfiguration(), iceServers: this.iceServers });
          await this.muteUnheard();
          this.tellAll();
          // What was wanted while the link was away was not heard.
          for (const [track, layer] of this.wanted) this.link.say({ type: 'want', track, layer });
          this.brokenSince = Date.now();
          for (const peer of this.broken) await this.restart(peer);
          // Nor was the answer to what it offered last. What the server offered it says again by itself.
          if (!this.broken.has(publisher) && publisher.signalingState === 'have-local-offer')
            await this.offer(publisher);
          return;
        }
        this.disconnect();
        this.reporter = setInterval(() => void this.report(), REPORT_MS);
        await this.publish();
        return this.tellAll();
      case 'answer':
        if (message.neg === this.neg)
          await this.publisher?.setRemoteDescription({ type: 'answer', sdp: message.sdp });
        return this.activateAll();
      case 'offer':
        return this.receive(message.neg, message.sdp);
      case 'slots':
        this.slots = message.slots;
        this.sealing?.setLines(new Map(message.slots.map(({ mid, track }) => [mid, track])));
        return this.assign();
      case 'held':
        this.held.set({
          reduced: new Set(message.reduced),
          paused: new Set(message.paused),
          undecodable: new Set(message.undecodable),
        });
        return;
      case 'needed':
        this.needed.set(message.source, message.layer);
        void this.activate(message.source);
        return;
      case 'muted':
        if (message.source === 'microphone') {
          // Said back: one's own "on" may have crossed it, and be what the server heard last.
          this.muteOwn(true);
          this.patch({ microphone: 'muted', problem: `${message.by} muted you.`, asked: null });
        } else if (message.source === 'camera') {
          await this.setCamera(false);
          this.patch({ problem: `${message.by} turned your camera off.` });
        } else {
          await this.setScreen(false);
          this.patch({ problem: `${message.by} stopped your shared screen.` });
        }
        return;
      case 'asked':
        this.patch({ asked: { source: message.source, by: message.by } });
        return;
      case 'hand_lowered':
        if (this.onHandLowered()) this.patch({ problem: `${message.by} lowered your hand.` });
        return;
      case 'refused':
        if (this.state.get().phase === 'joining') this.end();
        else await this.takeBack();
        this.patch({ problem: written(message.message) });
        return;
      case 'ended':
        return message.again ? this.again() : this.end();
    }
  }

  /** Mutes what a moderator muted while the link was away: who is told on, and is seen muted, was muted by somebody else. */
  private async muteUnheard(): Promise<void> {
    const { me } = this.state.get();
    const own = this.link.participants.get().find(({ id }) => id === me);
    for (const { source, muted } of own?.tracks ?? [])
      if (muted && this.told.get(source) === 'on') await this.hear({ type: 'muted', source, by: 'A host' });
  }

  /** Turns off what the server did not let on. */
  private async takeBack(): Promise<void> {
    const { me, microphone, camera, screen } = this.state.get();
    const own = this.link.participants.get().find((participant) => participant.id === me);
    const isOn = (source: Source) => own !== undefined && trackOf(own, source) !== null;
    if (microphone === 'on' && !isOn('microphone')) await this.setMicrophone(false);
    if (camera && !isOn('camera')) await this.setCamera(false);
    if (screen && !isOn('screen')) await this.setScreen(false);
  }

  private async setPicture(
    source: 'camera' | 'screen',
    on: boolean,
    get: () => Promise<MediaStream>,
  ): Promise<void> {
    let track = this.local.get()[source];
    if (on) {
      if (track) return;
      track = await this.request(source, get);
      if (!track) return;
      // Text should stay sharp rather than move smoothly.
      if (source === 'screen') track.contentHint = 'detail';
    } else {
      track?.stop();
      track = null;
    }
    this.keep(source === 'camera' ? { camera: track } : { screen: track });
    this.patch(source === 'camera' ? { camera: on } : { screen: on });
    await this.send(source, track);
    this.tell(source);
  }

  /**
   * Asks the browser for a device; `null` if it is not to be had, or not wanted any more. Never for the same one twice at once: the first answer
   * would be forgotten, and stay on.
   */
  private async request(source: Source, get: () => Promise<MediaStream>): Promise<MediaStreamTrack | null> {
    const { requests } = this;
    if (requests.has(source)) return null;
    requests.add(source);
    try {
      const stream = await get();
      // It has left; another call asks for itself.
      if (requests !== this.requests) {
        stopAll(stream);
        return null;
      }
      const track = stream.getTracks()[0] ?? null;
      this.watch(source, track);
      return track;
    } catch (error) {
      if (requests === this.requests) this.patch({ problem: deviceWords(error, source) });
      return null;
    } finally {
      requests.delete(source);
    }
  }

  /** Sees when a device ends by itself. What this page stops says nothing. */
  private watch(source: Source, track: MediaStreamTrack | null): void {
    track?.addEventListener('ended', () => void this.lost(source, track));
  }

  private async lost(source: Source, track: MediaStreamTrack): Promise<void> {
    if (source === 'microphone') {
      if (this.microphone !== track) return;
      this.keep({ microphone: null });
      this.patch({ microphone: 'off', problem: 'The microphone is gone. Unmute to use another one.' });
      this.tell('microphone');
      await this.send('microphone', null);
    } else if (this.local.get()[source] === track) {
      // For a screen the browser has a button of its own.
      if (source === 'screen') return this.setScreen(false);
      await this.setCamera(false);
      this.patch({ problem: 'The camera is gone. Turn it on to use another one.' });
    }
  }

  private async send(source: Source, track: MediaStreamTrack | null): Promise<void> {
    try {
      await this.senders[source]?.replaceTrack(track);
    } catch {
      // That connection is closed; the next begins with what there is then.
    }
  }

  private activateAll(): void {
    for (const source of this.needed.keys()) void this.activate(source);
  }

  /** Sends no more of a picture than anybody shows. */
  private async activate(source: Source): Promise<void> {
    const sender = this.senders[source];
    const needed = this.needed.get(source);
    if (!sender || needed === undefined) return;
    const parameters = sender.getParameters();
    const active = activeEncodings(parameters.encodings.length, needed);
    if (parameters.encodings.every((encoding, at) => (encoding.active ?? true) === active[at])) return;
    parameters.encodings.forEach((encoding, at) => {
      encoding.active = active[at];
    });
    try {
      await sender.setParameters(parameters);
    } catch {
      // Of a connection that is closed or not negotiated yet: it is done again when it is.
    }
  }

  private async publish(): Promise<void> {
    const publisher = new RTCPeerConnection({ iceServers: this.iceServers });
    this.publisher = publisher;
    const streams = [new MediaStream()];
    const { camera, screen } = this.local.get();
    const add = (
      kind: 'audio' | 'video',
      track: MediaStreamTrack | null,
      sendEncodings?: RTCRtpEncodingParameters[],
    ) => publisher.addTransceiver(track ?? kind, { direction: 'sendonly', streams, sendEncodings });
    const microphoneSection = add('audio', this.microphone);
    const cameraSection = add('video', camera, LAYERS);
    const screenSection = add('video', screen, [{ maxBitrate: 2_500_000 }]);
    this.senders = {
      microphone: microphoneSection.sender,
      camera: cameraSection.sender,
      screen: screenSection.sender,
    };
    for (const { sender, receiver } of [microphoneSection, cameraSection, screenSection])
      this.sealing?.seal(sender, receiver.track.kind === 'audio' ? 'audio' : 'video');
    this.sections = [
      { section: microphoneSection, source: 'microphone' },
      { section: cameraSection, source: 'camera' },
      { section: screenSection, source: 'screen' },
    ];
    publisher.onconnectionstatechange = () => {
      this.look(publisher);
      // Negotiating has turned all encodings on again.
      if (publisher === this.publisher && publisher.connectionState === 'connected') this.activateAll();
    };
    await this.offer(publisher);
  }

  private async offer(publisher: RTCPeerConnection, options?: RTCOfferOptions): Promise<void> {
    await publisher.setLocalDescription(await publisher.createOffer(options));
    if (publisher !== this.publisher) return;
    this.neg += 1;
    const sections = this.sections.map(({ section, source }) => ({ mid: section.mid ?? '', source }));
    this.link.say({
      type: 'offer',
      neg: this.neg,
      sdp: publisher.localDescription?.sdp ?? '',
      sections,
    });
  }

  private async receive(neg: number, sdp: string): Promise<void> {
    let { subscriber } = this;
    if (!subscriber) {
      subscriber = new RTCPeerConnection({ iceServers: this.iceServers });
      const own = subscriber;
      subscriber.onconnectionstatechange = () => this.look(own);
      this.subscriber = subscriber;
    }
    await subscriber.setRemoteDescription({ type: 'offer', sdp });
    for (const { receiver, mid } of subscriber.getTransceivers()) this.sealing?.open(receiver, mid ?? '');
    await subscriber.setLocalDescription(await subscriber.createAnswer());
    if (subscriber !== this.subscriber) return;
    this.link.say({ type: 'answer', neg, sdp: subscriber.localDescription?.sdp ?? '' });
    this.assign();
  }

  /** Which arriving track is whose. */
  private assign(): void {
    const sections = this.subscriber?.getTransceivers() ?? [];
    const found = this.slots.flatMap(({ mid, track }): [string, MediaStreamTrack][] => {
      const section = sections.find((section) => section.mid === mid);
      return section ? [[track, section.receiver.track]] : [];
    });
    const before = this.remote.get();
    const now = performance.timeOrigin + performance.now();
    for (const [id, track] of found) if (before.get(id) !== track) this.since.set(track, now);
    this.remote.set(new Map(found));
  }

  /** How a connection is now. One that was there once is not given up at once. */
  private look(peer: RTCPeerConnection): void {
    if (peer !== this.publisher && peer !== this.subscriber) return;
    if (peer.connectionState === 'connected') {
      this.established.add(peer);
      this.broken.delete(peer);
      if (this.broken.size === 0) this.whole();
    } else if (peer.connectionState === 'disconnected' || peer.connectionState === 'failed') {
      if (this.established.has(peer)) this.breaks(peer);
      else if (peer.connectionState === 'failed') this.again();
    }
  }

  private breaks(peer: RTCPeerConnection): void {
    if (this.broken.has(peer)) return;
    if (this.broken.size === 0) {
      this.brokenSince = Date.now();
      this.restartTimer = setTimeout(this.restartAgain, RESTART_MS);
      this.patch({ interrupted: true });
    }
    this.broken.add(peer);
    this.soon(() => this.restart(peer));
  }

  /** Nothing is broken any more. */
  private whole(): void {
    if (this.restartTimer) clearTimeout(this.restartTimer);
    this.restartTimer = null;
    this.broken.clear();
    if (this.state.get().interrupted) this.patch({ interrupted: false });
  }

  /** Looks for another way over whatever network there is now: its own connection the page offers anew, for the other it asks the server to. */
  private async restart(peer: RTCPeerConnection): Promise<void> {
    if (!this.broken.has(peer) || this.link.state.get() !== 'online') return;
    this.isHeard = false;
    if (peer === this.publisher) await this.offer(peer, { iceRestart: true });
    else this.link.say({ type: 'restart' });
  }

  private restartAgain = (): void => {
    if (this.broken.size === 0) return;
    if (this.restartTimer) clearTimeout(this.restartTimer);
    this.restartTimer = setTimeout(this.restartAgain, RESTART_MS);
    // Without the link nothing can be agreed on; how long that may take knows the server.
    if (this.link.state.get() !== 'online') return;
    if (Date.now() - this.brokenSince > RESTARTING_MS) this.again();
    // By a new one it resumes, and restarts then.
    else if (!this.isHeard) this.link.renew();
    else for (const peer of this.broken) this.soon(() => this.restart(peer));
  };

  /** Says how the connections are. While one is broken there is nothing to say, and others see that. */
  private async report(): Promise<void> {
    const peers = [this.publisher, this.subscriber].filter((peer) => peer !== null);
    if (peers.length === 0 || peers.some((peer) => peer.connectionState !== 'connected')) return;
    const all = await Promise.all(peers.map((peer) => peer.getStats()));
    // It has left, or joined anew, meanwhile.
    if (peers[0] !== this.publisher) return;
    const now = totals(
      performance.now(),
      all.flatMap((reports) => [...(reports as unknown as Map<string, Record<string, unknown>>).values()]),
    );
    if (this.counted) this.link.ask({ type: 'report', ...reportOf(this.counted, now) });
    this.counted = now;
  }

  private soon(work: () => Promise<void>): void {
    this.queue = this.queue.then(work).catch((error: unknown) => this.fail(error));
  }

  /** A connection is dead, or the server began anew. */
  private again(): void {
    this.resume = null;
    this.disconnect();
    this.forget();
    this.patch({ phase: 'joining', me: null });
    this.isAsked = false;
    this.link.say({ type: 'leave' });
    this.later(AGAIN_MS, () => this.ask());
  }

  private end(): void {
    this.later(0, null);
    this.resume = null;
    this.isAsked = false;
    this.requests = new Set();
    this.disconnect();
    this.forget();
    this.sealing?.close();
    this.sealing = null;
    const { microphone, camera, screen } = this.local.get();
    microphone?.stop();
    camera?.stop();
    screen?.stop();
    this.local.set(NOTHING_LOCAL);
    this.state.set({ ...OUT, problem: this.state.get().problem });
  }

  private disconnect(): void {
    this.whole();
    if (this.reporter) clearInterval(this.reporter);
    this.reporter = null;
    this.counted = null;
    this.publisher?.close();
    this.subscriber?.close();
    this.publisher = null;
    this.subscriber = null;
    this.senders = {};
    this.sections = [];
    this.slots = [];
    this.shown = new Map();
    this.wanted = new Map();
    this.needed = new Map();
    this.told = new Map();
    this.remote.set(new Map());
    this.held.set(NOTHING_HELD);
    this.unreadable.clear();
  }

  /** Goes on without what is being worked on: what is asked of a connection that was closed meanwhile is never answered. */
  private forget(): void {
    this.queue = Promise.resolve();
  }

  /** A description that the browser does not take, or a connection that is gone. */
  private fail(error: unknown): void {
    if (this.state.get().phase === 'out') return;
    const why = error instanceof Error ? ` (${error.message})` : '';
    this.patch({ problem: `The call broke off${why}. Joining again…` });
    this.again();
  }

  private tellAll(): void {
    for (const source of ['microphone', 'camera', 'screen'] as const) this.tell(source);
  }

  private tell(source: Source): void {
    const { phase, microphone, camera, screen } = this.state.get();
    if (phase !== 'in') return;
    const on = { camera, screen };
    const state = source === 'microphone' ? microphone : on[source] ? 'on' : 'off';
    if (this.link.say({ type: 'set', source, state })) this.told.set(source, state);
  }

  private get microphone(): MediaStreamTrack | null {
    return this.local.get().microphone;
  }

  private keep(part: Partial<Local>): void {
    this.local.set({ ...this.local.get(), ...part });
  }

  private later(ms: number, run: (() => void) | null): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = run ? setTimeout(run, ms) : null;
  }

  private patch(part: Partial<CallState>): void {
    this.state.set({ ...this.state.get(), ...part });
  }
}

function exactly(device: string | null): MediaTrackConstraints {
  return device === null ? {} : { deviceId: { exact: device } };
}

export function audioWish(device: string | null): MediaTrackConstraints {
  return { ...exactly(device), echoCancellation: true, noiseSuppression: true };
}

export function cameraWish(device: string | null): MediaTrackConstraints {
  return {
    ...exactly(device),
    width: { ideal: 1280 },
    height: { ideal: 720 },
    frameRate: { ideal: 24, max: 30 },
  };
}

function stopAll(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
