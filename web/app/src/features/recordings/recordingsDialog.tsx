/** What the room's terminals and calls showed: whether it is kept, what there is, and playing, downloading and deleting it. */
import { Download, Film, Loader, Play, Trash2 } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Kept, Recording, TerminalSettings } from '../../api/types';
import { ConfirmDialog, Dialog } from '../../ui/dialog';
import { saveFile } from '../../ui/saveFile';
import { useStore } from '../../ui/store';
import { useAttempt } from '../../ui/useAttempt';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import {
  describe,
  describeCall,
  fileName,
  fullWords,
  keptWords,
  type Listed,
  listed,
  settingWords,
} from './recordingModel';
import './recordings.css';
import { WatchCall } from './watchCall';
import { WatchRecording } from './watchRecording';

type Loaded =
  | { is: 'loading' }
  | { is: 'here'; settings: TerminalSettings; ofCalls: Kept; list: Listed[] }
  | { is: 'failed' };

type View = { is: 'list' } | { is: 'watch' | 'delete'; one: Listed };

export function RecordingsDialog(props: { onClose: () => void }) {
  const { session } = useRoom();
  const terminals = useStore(session.terminals);
  const call = useStore(session.media.recording).now;
  const mayManage = useMay('manage');
  const [loaded, setLoaded] = useState<Loaded>({ is: 'loading' });
  const [view, setView] = useState<View>({ is: 'list' });
  const { busy, problem, setProblem, attempt } = useAttempt();
  const { api, room } = session;

  const load = useCallback(async () => {
    try {
      const [settings, calls, ofTerminals, ofCalls] = await Promise.all([
        api.terminalSettings(room.id),
        api.callSettings(room.id),
        api.recordings(room.id),
        api.callRecordings(room.id),
      ]);
      setLoaded({ is: 'here', settings, ofCalls: calls.kept, list: listed(ofTerminals, ofCalls) });
    } catch (error) {
      setLoaded({ is: 'failed' });
      setProblem(sentence(error));
    }
  }, [api, room, setProblem]);
  // Also when one begins or ends: then a terminal's mark, or the call's, comes or goes.
  const marks = [...terminals.map(({ id, recorded }) => `${id} ${recorded}`), call?.started_at].join();
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
    return view.one.of === 'call' ? (
      <WatchCall recording={view.one.recording} onBack={back} onClose={props.onClose} />
    ) : (
      <WatchRecording recording={view.one.recording} onBack={back} onClose={props.onClose} />
    );
  if (view.is === 'delete') return <DeleteDialog one={view.one} onClose={back} />;
  return (
    <Dialog title="Recordings" onClose={props.onClose}>
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
          programs print it. Everybody sees on a terminal's tab that it is recorded. Calls are recorded from
          within the call, and of each person only what they agreed to.
        </p>
        {loaded.is === 'here' && (
          <>
            <KeptNote of="terminals" kept={loaded.settings.kept} soThat={fullWords(loaded.settings)} />
            <KeptNote
              of="calls"
              kept={loaded.ofCalls}
              soThat="No call can be recorded before a host deletes some."
            />
          </>
        )}
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
        {loaded.is === 'here' && loaded.list.length === 0 && (
          <p className="recordings-empty" data-testid="recordings-empty">
            <Film size={22} strokeWidth={1.4} aria-hidden />
            No recordings yet.
          </p>
        )}
        {loaded.is === 'here' && loaded.list.length > 0 && (
          <ul className="recordings-list">
            {loaded.list.map((one) => (
              <RecordingRow
                key={`${one.of} ${one.recording.id}`}
                one={one}
                mayDelete={mayManage && one.recording.state !== 'recording'}
                busy={busy}
                onWatch={() => setView({ is: 'watch', one })}
                onDownload={one.of === 'terminal' ? () => download(one.recording) : null}
                onDelete={() => setView({ is: 'delete', one })}
              />
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  );
}

function KeptNote(props: { of: 'terminals' | 'calls'; kept: Kept; soThat: string }) {
  const { words, full } = keptWords(props.kept, props.of, props.soThat);
  return full ? (
    <p className="notice" data-tone="bad" role="status" data-testid="recordings-full" data-of={props.of}>
      {words}
    </p>
  ) : (
    <p className="recordings-note" data-testid="recordings-kept" data-of={props.of}>
      {words}
    </p>
  );
}

function RecordingRow(props: {
  one: Listed;
  mayDelete: boolean;
  busy: boolean;
  onWatch: () => void;
  /** What has many files is downloaded where they are listed. */
  onDownload: (() => void) | null;
  onDelete: () => void;
}) {
  const { one } = props;
  const { recording } = one;
  const name = nameOf(one);
  return (
    <li
      className="recording"
      data-testid={one.of === 'call' ? 'call-recording' : 'recording'}
      data-recording={recording.id}
      data-state={recording.state}
    >
      <div className="recording-words">
        <strong>
          {one.of === 'call' ? 'Call' : `Terminal ${one.recording.number}`}
          {recording.state === 'recording' && <span className="rec-mark">REC</span>}
        </strong>
        <small>{wordsOf(one)}</small>
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
      {props.onDownload && (
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
      )}
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

function nameOf(one: Listed): string {
  return one.of === 'call'
    ? 'the recording of the call'
    : `the recording of terminal ${one.recording.number}`;
}

function wordsOf(one: Listed): string {
  return one.of === 'call' ? describeCall(one.recording, Date.now()) : describe(one.recording, Date.now());
}

function DeleteDialog(props: { one: Listed; onClose: () => void }) {
  const { api, room } = useRoom().session;
  const { one } = props;
  const remove = async () => {
    try {
      if (one.of === 'call') await api.deleteCallRecording(room.id, one.recording.id);
      else await api.deleteRecording(room.id, one.recording.id);
      return null;
    } catch (error) {
      return sentence(error);
    }
  };
  return (
    <ConfirmDialog
      title={`Delete ${nameOf(one)}?`}
      confirm="Delete"
      onConfirm={remove}
      onClose={props.onClose}
    >
      <p>{wordsOf(one)}. It cannot be brought back.</p>
    </ConfirmDialog>
  );
}
