/** What the room's terminals showed: whether it is kept, what there is, and playing, downloading and deleting it. */
import { Download, Film, Loader, Play, Trash2 } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Recording, TerminalSettings } from '../../api/types';
import { ConfirmDialog, Dialog } from '../../ui/dialog';
import { saveFile } from '../../ui/saveFile';
import { useStore } from '../../ui/store';
import { useAttempt } from '../../ui/useAttempt';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import { describe, fileName, settingWords } from './recordingModel';
import './recordings.css';
import { WatchRecording } from './watchRecording';

type Loaded =
  | { is: 'loading' }
  | { is: 'here'; settings: TerminalSettings; recordings: Recording[] }
  | { is: 'failed' };

type View = { is: 'list' } | { is: 'watch' | 'delete'; recording: Recording };

export function RecordingsDialog(props: { onClose: () => void }) {
  const { session } = useRoom();
  const terminals = useStore(session.terminals);
  const mayManage = useMay('manage');
  const [loaded, setLoaded] = useState<Loaded>({ is: 'loading' });
  const [view, setView] = useState<View>({ is: 'list' });
  const { busy, problem, setProblem, attempt } = useAttempt();
  const { api, room } = session;

  const load = useCallback(async () => {
    try {
      const [settings, recordings] = await Promise.all([
        api.terminalSettings(room.id),
        api.recordings(room.id),
      ]);
      setLoaded({ is: 'here', settings, recordings });
    } catch (error) {
      setLoaded({ is: 'failed' });
      setProblem(sentence(error));
    }
  }, [api, room, setProblem]);
  // Also when one begins or ends: then a terminal's mark comes or goes.
  const marks = terminals.map((terminal) => `${terminal.id} ${terminal.recorded}`).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: that is what `marks` is for.
  useEffect(() => {
    void load();
  }, [load, marks]);

  const record = (on: boolean) =>
    attempt(async () => {
      await api.recordTerminals(room.id, on);
      await load();
    });
  const download = (recording: Recording) =>
    attempt(async () => saveFile(await api.recordingFile(room.id, recording.id), fileName(recording)));
  const back = () => {
    setView({ is: 'list' });
    void load();
  };

  if (view.is === 'watch')
    return <WatchRecording recording={view.recording} onBack={back} onClose={props.onClose} />;
  if (view.is === 'delete') return <DeleteDialog recording={view.recording} onClose={back} />;
  return (
    <Dialog title="Recordings of terminals" onClose={props.onClose}>
      <div className="recordings" data-testid="recordings-dialog">
        {loaded.is === 'here' && mayManage && (
          <label className="recordings-switch">
            <input
              type="checkbox"
              data-testid="record-terminals"
              checked={loaded.settings.record}
              // Not `disabled`, which would take the focus away, and the dialog's keys with it.
              aria-disabled={busy}
              onChange={(event) => record(event.target.checked)}
            />
            Record the terminals of this room
          </label>
        )}
        {loaded.is === 'here' && !mayManage && (
          <p data-testid="record-setting">
            {settingWords(loaded.settings, session.sessions.current?.person.id)}
          </p>
        )}
        <p className="recordings-note">
          Kept is what terminals show, for everybody who may look at them; what is typed only as far as
          programs print it. Everybody sees on a terminal's tab that it is recorded.
        </p>
        {problem && (
          <p className="notice" data-tone="bad" role="alert" data-testid="recordings-problem">
            {problem}
          </p>
        )}
        {loaded.is === 'loading' && (
          <p className="recordings-note" role="status">
            <Loader size={13} className="spin" aria-hidden /> Looking…
          </p>
        )}
        {loaded.is === 'here' && loaded.recordings.length === 0 && (
          <p className="recordings-empty" data-testid="recordings-empty">
            <Film size={22} strokeWidth={1.4} aria-hidden />
            No recordings yet.
          </p>
        )}
        {loaded.is === 'here' && loaded.recordings.length > 0 && (
          <ul className="recordings-list">
            {loaded.recordings.map((recording) => (
              <RecordingRow
                key={recording.id}
                recording={recording}
                mayDelete={mayManage && recording.state !== 'recording'}
                busy={busy}
                onWatch={() => setView({ is: 'watch', recording })}
                onDownload={() => download(recording)}
                onDelete={() => setView({ is: 'delete', recording })}
              />
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  );
}

function RecordingRow(props: {
  recording: Recording;
  mayDelete: boolean;
  busy: boolean;
  onWatch: () => void;
  onDownload: () => void;
  onDelete: () => void;
}) {
  const { recording } = props;
  const name = `the recording of terminal ${recording.number}`;
  return (
    <li
      className="recording"
      data-testid="recording"
      data-recording={recording.id}
      data-state={recording.state}
    >
      <div className="recording-words">
        <strong>
          Terminal {recording.number}
          {recording.state === 'recording' && <span className="rec-mark">REC</span>}
        </strong>
        <small>{describe(recording, Date.now())}</small>
        {recording.message && <small>{recording.message}</small>}
      </div>
      <button
        type="button"
        className="button"
        data-size="small"
        data-testid="recording-play"
        aria-label={`Play ${name}`}
        onClick={props.onWatch}
      >
        <Play size={13} aria-hidden /> Play
      </button>
      <button
        type="button"
        className="icon-button"
        data-size="small"
        data-testid="recording-download"
        aria-label={`Download ${name}`}
        title="Download as asciicast"
        aria-disabled={props.busy}
        onClick={props.onDownload}
      >
        <Download size={14} />
      </button>
      {props.mayDelete && (
        <button
          type="button"
          className="icon-button"
          data-size="small"
          data-testid="recording-delete"
          aria-label={`Delete ${name}`}
          title="Delete"
          onClick={props.onDelete}
        >
          <Trash2 size={14} />
        </button>
      )}
    </li>
  );
}

function DeleteDialog(props: { recording: Recording; onClose: () => void }) {
  const { session } = useRoom();
  const { recording } = props;
  const remove = async () => {
    try {
      await session.api.deleteRecording(session.room.id, recording.id);
      return null;
    } catch (error) {
      return sentence(error);
    }
  };
  return (
    <ConfirmDialog
      title={`Delete the recording of terminal ${recording.number}?`}
      confirm="Delete"
      onConfirm={remove}
      onClose={props.onClose}
    >
      <p>{describe(recording, Date.now())}. It cannot be brought back.</p>
    </ConfirmDialog>
  );
}
