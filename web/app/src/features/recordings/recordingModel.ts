/** Recordings of terminals in words. Pure. */
import type { Recording, TerminalSettings } from '../../api/types';
import { ago, bytes, duration } from '../runs/format';

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
