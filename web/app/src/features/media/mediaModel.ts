/** What goes over a call's WebSocket, and what views read from it. Pure; docs/protocols.md has the messages. */
import type { Person } from '../../api/types';
import { safeColor } from '../../ui/color';
import type { Report } from './report';

export type Source = 'microphone' | 'camera' | 'screen';
export type Layer = 'low' | 'middle' | 'high';

export interface Track {
  /** `<participant>/<source>` */
  id: string;
  source: Source;
  muted: boolean;
}

export interface Participant {
  id: string;
  person: Person;
  /** A stream is a program that sends: nobody is there who could be asked anything. */
  kind: 'person' | 'agent' | 'stream';
  tracks: Track[];
  /** The connection is lost; they may come back. */
  away: boolean;
  /** They may publish a voice, so they can be asked to. */
  speaks: boolean;
  /** How well they are connected; `null` if nobody says. */
  quality: Quality | null;
}

/** Not good because packets are lost, or come late. */
export type Quality = 'good' | 'loss' | 'delay' | 'lost';

/** A recording of the call that goes on. */
export interface CallRecordingNow {
  by: Person;
  started_at: number;
  /** Participants who agreed to be recorded; nothing of anybody else is. */
  agreed: string[];
}

export type ToPage =
  | { type: 'call'; encrypted: boolean; participants: Participant[] }
  | { type: 'speakers'; participants: string[] }
  | { type: 'viewers'; people: Person[] }
  | { type: 'recording'; recording: CallRecordingNow | null; failed: string | null }
  | {
      type: 'joined';
      participant: string;
      resume: string;
      resumed: boolean;
      ice_servers: RTCIceServer[];
    }
  | { type: 'offer'; neg: number; sdp: string }
  | { type: 'answer'; neg: number; sdp: string }
  | { type: 'slots'; slots: { mid: string; track: string }[] }
  | { type: 'held'; reduced: string[]; paused: string[]; undecodable: string[] }
  | { type: 'needed'; source: Source; layer: Layer | null }
  | { type: 'muted'; source: Source; by: string }
  | { type: 'asked'; source: Source; by: string }
  | { type: 'hand_lowered'; by: string }
  | { type: 'refused'; message: string }
  | { type: 'ended'; again: boolean };

export type FromPage =
  | { type: 'join'; resume: string | null; encrypted: boolean }
  | { type: 'offer'; neg: number; sdp: string; sections: { mid: string; source: Source }[] }
  | { type: 'answer'; neg: number; sdp: string }
  | { type: 'restart' }
  | { type: 'set'; source: Source; state: 'off' | 'muted' | 'on' }
  | { type: 'want'; track: string; layer: Layer | null }
  | ({ type: 'report' } & Report)
  | { type: 'mute'; track: string }
  | { type: 'ask'; track: string }
  | { type: 'lower_hand'; participant: string }
  | { type: 'record'; on: boolean }
  | { type: 'agree'; on: boolean; recording: number }
  | { type: 'leave' };

/** A message of the server, or `null` for one that this page does not know: the server may be newer. */
export function readMessage(text: string): ToPage | null {
  let message: ToPage;
  try {
    message = JSON.parse(text) as ToPage;
  } catch {
    return null;
  }
  switch (message.type) {
    case 'call':
      for (const { person } of message.participants) person.color = safeColor(person.color);
      return message;
    case 'speakers':
    case 'viewers':
    case 'recording':
    case 'joined':
    case 'offer':
    case 'answer':
    case 'slots':
    case 'held':
    case 'needed':
    case 'muted':
    case 'asked':
    case 'hand_lowered':
    case 'refused':
    case 'ended':
      return message;
    default:
      return null;
  }
}

export function trackOf(participant: Participant, source: Source): Track | null {
  return participant.tracks.find((track) => track.source === source) ?? null;
}

/** Layers, the smallest first. */
const ORDER: Layer[] = ['low', 'middle', 'high'];

/** Which of so many encodings, the smallest first, are worth sending when others show at most this layer. */
export function activeEncodings(count: number, needed: Layer | null): boolean[] {
  const most = needed === null ? -1 : ORDER.indexOf(needed);
  // What is not layered is all there is to send.
  return Array.from({ length: count }, (_, at) => (count === 1 ? needed !== null : at <= most));
}

/** What of the others does not come to this page as it would like. */
export interface Held {
  /** Sent smaller than they are shown: its line has no room for more. */
  reduced: ReadonlySet<string>;
  /** Its line has no room for them. */
  paused: ReadonlySet<string>;
  /** This browser has no decoder for them. */
  undecodable: ReadonlySet<string>;
}

export const NOTHING_HELD: Held = { reduced: new Set(), paused: new Set(), undecodable: new Set() };

/** A sentence about a line that is too thin, or `null`. */
export function heldWords({ reduced, paused }: Held): string | null {
  const pictures = (count: number) => (count === 1 ? 'One picture is' : `${count} pictures are`);
  if (paused.size > 0)
    return `Your connection is slow. ${pictures(paused.size)} paused, so that you hear everybody.`;
  if (reduced.size > 0) return `Your connection is slow. ${pictures(reduced.size)} less sharp.`;
  return null;
}

/** How somebody is connected, in words. */
export function qualityWords(name: string, self: boolean, quality: Quality): string {
  const whose = self ? 'Your' : `${name}'s`;
  switch (quality) {
    case 'good':
      return `${whose} connection is good.`;
    case 'loss':
      return `${whose} connection is poor: packets are lost on the way.`;
    case 'delay':
      return `${whose} connection is poor: everything arrives late.`;
    case 'lost':
      return `${whose} connection is lost. It may come back.`;
  }
}

/** A sentence about who is sent the call without taking part, or `null`. */
export function viewerWords(people: readonly Person[]): string | null {
  const names = [...new Set(people.map(({ name }) => name))];
  if (names.length === 0) return null;
  if (names.length > 3) return `${names.length} others watch and listen without taking part.`;
  return `${new Intl.ListFormat('en').format(names)} ${names.length === 1 ? 'watches and listens' : 'watch and listen'} without taking part.`;
}

/** What is in a call, as pictures: screens first, then people, oneself last, because one knows how one looks. */
export interface Tile {
  key: string;
  participant: Participant;
  source: 'camera' | 'screen';
  self: boolean;
}

export function tiles(participants: readonly Participant[], me: string | null): Tile[] {
  const tile = (participant: Participant, source: Tile['source']): Tile => ({
    key: `${participant.id}/${source}`,
    participant,
    source,
    self: participant.id === me,
  });
  const screens = participants.filter((one) => trackOf(one, 'screen')).map((one) => tile(one, 'screen'));
  const people = participants.map((one) => tile(one, 'camera'));
  return [...screens, ...people.filter((one) => !one.self), ...people.filter((one) => one.self)];
}

/**
 * Which tiles are brought up, those first whom somebody looks for first: who spoke while out of sight goes before all others. Nothing moves while
 * who speaks is seen.
 */
export function broughtUp(
  before: readonly string[],
  speakers: readonly string[],
  unseen: ReadonlySet<string>,
): readonly string[] {
  const up = speakers.map((id) => `${id}/camera`).filter((key) => unseen.has(key));
  return up.every((key, at) => before[at] === key) ? before : [...new Set([...up, ...before])];
}

/** The picture that is shown larger than a tile. */
export interface Large {
  track: string;
  layer: Layer;
  /** In a window of its own, which is seen while the page is not. */
  apart: boolean;
}

/**
 * How much of each track this page can show. Nobody looks at a hidden page, but people listen to it. `unseen`: tiles that are scrolled out of
 * sight, by their tracks.
 */
export function wants(
  participants: readonly Participant[],
  me: string | null,
  large: Large | null,
  hidden: boolean,
  unseen: ReadonlySet<string> = new Set(),
): Map<string, Layer | null> {
  const wanted = new Map<string, Layer | null>();
  for (const participant of participants) {
    if (participant.id === me) continue;
    for (const track of participant.tracks) {
      if (track.source === 'microphone') continue;
      const own = large?.track === track.id ? large : null;
      const small = unseen.has(track.id) ? null : 'low';
      wanted.set(track.id, hidden && !own?.apart ? null : (own?.layer ?? small));
    }
  }
  return wanted;
}

/** What a tile shows, in words. */
export function tileWords({ participant, source, self }: Tile): string {
  const { name } = participant.person;
  if (source === 'screen') return `${self ? 'Your' : `${name}'s`} screen`;
  return self ? 'You' : participant.kind === 'stream' ? `${name} (stream)` : name;
}

/** A sentence about who shares a screen, or nothing. */
export function sharingWords(screens: readonly Tile[]): string {
  const names = screens.map(({ participant }) => participant.person.name);
  if (names.length === 0) return '';
  return names.length === 1
    ? `${names[0]} shares a screen.`
    : `${new Intl.ListFormat('en').format(names)} share their screens.`;
}

/** What a device's failure means, in words. */
export function deviceWords(error: unknown, device: 'microphone' | 'camera' | 'screen'): string {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  if (device === 'screen')
    return name === 'NotAllowedError'
      ? 'The screen is not shared: the browser was told not to.'
      : 'The screen could not be shared.';
  if (name === 'NotAllowedError' || name === 'SecurityError')
    return `The browser does not allow this page to use the ${device}. Allow it next to the address, then try again.`;
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return `There is no ${device} here.`;
  if (name === 'NotReadableError' || name === 'AbortError')
    return `The ${device} cannot be used right now; another program may be using it.`;
  return `The ${device} could not be turned on.`;
}
