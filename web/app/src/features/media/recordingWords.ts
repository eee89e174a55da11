/** The recording of a call in words. Pure. */
import type { CallRecordingNow, Participant } from './mediaModel';

/** Who has this call recorded, for somebody in it or before they join. */
export function recordedWords({ by }: CallRecordingNow, me: string | undefined): string {
  return by.id === me ? 'You are recording this call.' : `${by.name} is recording this call.`;
}

/** Must this page ask whether one agrees? */
export function mustAsk(recording: CallRecordingNow | null, participant: string | null): boolean {
  return recording !== null && participant !== null && !recording.agreed.includes(participant);
}

/** Who is not in the recording, because they did not agree (yet); `null` if everybody is. */
export function missingWords(
  recording: CallRecordingNow,
  participants: readonly Participant[],
  me: string | null,
): string | null {
  // Of who may publish nothing there is nothing to agree to.
  const sends = ({ speaks, tracks }: Participant) => speaks || tracks.length > 0;
  const missing = participants.filter(
    (one) => one.id !== me && sends(one) && !recording.agreed.includes(one.id),
  );
  const names = [...new Set(missing.map(({ person }) => person.name))];
  if (names.length === 0) return null;
  if (names.length > 3) return `${names.length} people have not agreed and are not in it.`;
  const listed = new Intl.ListFormat('en').format(names);
  return names.length === 1
    ? `${listed} has not agreed and is not in it.`
    : `${listed} have not agreed and are not in it.`;
}
