/** Fetches one recording and plays it. */
import { ArrowLeft, Loader } from 'lucide-react';
import { Suspense, useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Recording } from '../../api/types';
import { Dialog } from '../../ui/dialog';
import { lazily } from '../../ui/lazily';
import { useRoom } from '../room/roomContext';
import { type Replay, readCast } from './cast';

const CastPlayer = lazily('The player', () => import('./castPlayer'));

export function WatchRecording(props: { recording: Recording; onBack: () => void; onClose: () => void }) {
  const { session } = useRoom();
  const { recording } = props;
  const [replay, setReplay] = useState<Replay | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    let left = false;
    const load = async () => {
      try {
        const file = await session.api.recordingFile(session.room.id, recording.id);
        const read = readCast(await file.text());
        if (left) return;
        if (read) setReplay(read);
        else setProblem('This recording cannot be read. Download it to look at what there is.');
      } catch (error) {
        if (!left) setProblem(sentence(error));
      }
    };
    void load();
    return () => {
      left = true;
    };
  }, [session, recording.id]);

  const waiting = (
    <p className="recordings-note" role="status">
      <Loader size={13} className="spin" aria-hidden /> Fetching the recording…
    </p>
  );
  return (
    <Dialog
      wide
      title={`Recording of terminal ${recording.number}`}
      onClose={props.onClose}
      actions={
        <button type="button" className="button" data-testid="recording-back" onClick={props.onBack}>
          <ArrowLeft size={14} aria-hidden /> All recordings
        </button>
      }
    >
      {problem && (
        <p className="notice" data-tone="bad" role="alert" data-testid="recording-problem">
          {problem}
        </p>
      )}
      {!problem && !replay && waiting}
      {replay?.moments.length === 0 && (
        <p className="recordings-note">Nothing was shown while it was made.</p>
      )}
      {replay && replay.moments.length > 0 && (
        <Suspense fallback={waiting}>
          <CastPlayer replay={replay} label={`Recording of terminal ${recording.number}`} />
        </Suspense>
      )}
      {recording.message && <p className="recordings-note">It ends here: {recording.message}</p>}
    </Dialog>
  );
}
