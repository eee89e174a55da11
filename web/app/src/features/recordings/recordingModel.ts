/** Recordings of terminals and calls in words. Pure. */
import type { CallRecording, CallRecordingFile, Kept, Recording, TerminalSettings } from '../../api/types';
import { ago, bytes, duration, possessive } from '../runs/format';

/** Which terminal, when, how long, how large. */
export function describe(recording: Recording, now: number): string {
  const parts = [
    `Opened by ${recording.opened_by_name}`,
    ago(recording.started_at, now),
    duration(recording.duration, true),
    bytes(recording.bytes),
  ];
  return parts.join(' · ');
}

/** The file's name for somebody who downloads it. */
export function fileName(recording: Recording): string {
  const when = new Date(recording.started_at).toISOString().slice(0, 19).replaceAll(':', '-');
  return `terminal-${recording.number}-${when}.cast`;
}

/** Whether terminals are recorded, for somebody who cannot change it. */
export function settingWords(settings: TerminalSettings, me: string | undefined): string {
  if (!settings.record) return 'Terminals of this room are not recorded. Its hosts can turn that on.';
  const who = settings.set_by === me ? 'You' : (settings.set_by_name ?? 'A host');
  return `Terminals of this room are recorded. ${who} turned that on.`;
}

/** How much the room keeps of something, and, once nothing more fits, what follows from that. */
export function keptWords(
  kept: Kept,
  of: 'terminals' | 'calls',
  soThat: string,
): { words: string; full: boolean } {
  const { recordings, most_recordings, bytes: size, most_bytes } = kept;
  const full = recordings >= most_recordings || size >= most_bytes;
  const words = `${recordings} of at most ${most_recordings} recordings of ${of}, ${bytes(size)} of at most ${bytes(most_bytes)}.`;
  return full
    ? { words: `This room keeps ${words} ${soThat}`, full }
    : { words: `Kept until a host deletes them: ${words}`, full };
}

/** What follows from as many recordings of terminals as there may be. */
export function fullWords(settings: TerminalSettings): string {
  return settings.record
    ? 'No terminal can be opened before a host deletes some, or turns recording off.'
    : 'Recording can be turned on again once a host has deleted some.';
}

/** All of a room, newest first. */
export type Listed = { of: 'terminal'; recording: Recording } | { of: 'call'; recording: CallRecording };

export function listed(terminals: Recording[], calls: CallRecording[]): Listed[] {
  const all: Listed[] = [
    ...terminals.map((recording): Listed => ({ of: 'terminal', recording })),
    ...calls.map((recording): Listed => ({ of: 'call', recording })),
  ];
  return all.sort((one, other) => other.recording.started_at - one.recording.started_at);
}

/** Who had a call recorded, when, how long, how large. */
export function describeCall(recording: CallRecording, now: number): string {
  const parts = [
    `Started by ${recording.started_by_name}`,
    ago(recording.started_at, now),
    duration(recording.duration, true),
    bytes(recording.bytes),
  ];
  return parts.join(' · ');
}

const SOURCES = { microphone: 'voice', camera: 'camera', screen: 'screen' };

/** Whose file it is, and of what. */
export function fileWords(file: CallRecordingFile): string {
  return `${possessive(file.person_name)} ${SOURCES[file.source]}`;
}

/** When it begins, how long and how large it is. */
export function describeFile(file: CallRecordingFile): string {
  return `From ${clock(file.offset)} · ${duration(file.duration, true)} · ${bytes(file.bytes)}`;
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** The file's name for somebody who downloads it. Of one recording they are sorted as they are listed. */
export function callFileName(recording: CallRecording, file: CallRecordingFile): string {
  const when = new Date(recording.started_at).toISOString().slice(0, 19).replaceAll(':', '-');
  const whose = file.person_name.replace(/[^\p{L}\p{N}_-]+/gu, '-').slice(0, 40);
  return `call-${when}-${file.number}-${whose}-${file.source}.${container(file).ending}`;
}

/** What a file is called by people, and by its name's end. */
export function container(file: CallRecordingFile): { name: string; ending: string } {
  switch (file.media_type) {
    case 'audio/ogg':
      return { name: 'Ogg', ending: 'ogg' };
    case 'video/x-matroska':
      return { name: 'Matroska', ending: 'mkv' };
    default:
      return { name: 'WebM', ending: 'webm' };
  }
}
