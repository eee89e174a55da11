/** The files of one recording of a call: each can be played here, and downloaded. */
import { ArrowLeft, Download, Loader, Play } from 'lucide-react';
import { useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { CallRecording, CallRecordingFile } from '../../api/types';
import { Dialog } from '../../ui/dialog';
import { saveFile } from '../../ui/saveFile';
import { useRoom } from '../room/roomContext';
import { callFileName, container, describeFile, fileWords } from './recordingModel';

export function WatchCall(props: { recording: CallRecording; onBack: () => void; onClose: () => void }) {
  const { api, room } = useRoom().session;
  const { recording } = props;
  const [playing, setPlaying] = useState<{ file: CallRecordingFile; address: string } | null>(null);
  const [busy, setBusy] = useState<number | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => () => URL.revokeObjectURL(playing?.address ?? ''), [playing]);

  const fetched = async (file: CallRecordingFile, use: (bytes: Blob) => void) => {
    if (busy !== null) return;
    setBusy(file.number);
    setProblem(null);
    try {
      use(await api.callRecordingFile(room.id, recording.id, file.number));
    } catch (error) {
      setProblem(sentence(error));
    }
    setBusy(null);
  };
  const play = (file: CallRecordingFile) =>
    fetched(file, (bytes) => setPlaying({ file, address: URL.createObjectURL(bytes) }));
  const download = (file: CallRecordingFile) =>
    fetched(file, (bytes) => saveFile(bytes, callFileName(recording, file)));

  return (
    <Dialog
      wide
      title="Recording of the call"
      onClose={props.onClose}
      actions={
        <button type="button" className="button" data-testid="recording-back" onClick={props.onBack}>
          <ArrowLeft size={14} aria-hidden /> All recordings
        </button>
      }
    >
      <div className="recordings">
        {playing && (
          // biome-ignore lint/a11y/useMediaCaption: what was said in a call has no captions.
          <video
            className="call-player"
            data-testid="call-player"
            key={playing.address}
            src={playing.address}
            aria-label={fileWords(playing.file)}
            data-voice={playing.file.source === 'microphone' || undefined}
            controls
            autoPlay
            onError={() => setProblem('The browser cannot play this file. Download it to look at it.')}
          />
        )}
        {problem && (
          <p className="notice" data-tone="bad" role="alert" data-testid="recording-problem">
            {problem}
          </p>
        )}
        {recording.files.length === 0 && (
          <p className="recordings-note">Nothing was said or shown by anybody who agreed.</p>
        )}
        <ul className="recordings-list">
          {recording.files.map((file) => (
            <li className="recording" key={file.number} data-testid="call-file" data-source={file.source}>
              <div className="recording-words">
                <strong>{fileWords(file)}</strong>
                <small>{describeFile(file)}</small>
              </div>
              <button
                type="button"
                className="button"
                data-size="small"
                data-testid="call-file-play"
                aria-label={`Play ${fileWords(file)}`}
                aria-disabled={busy !== null}
                onClick={() => play(file)}
              >
                {busy === file.number ? (
                  <Loader size={13} className="spin" aria-hidden />
                ) : (
                  <Play size={13} aria-hidden />
                )}
                Play
              </button>
              <button
                type="button"
                className="icon-button"
                data-size="small"
                data-testid="call-file-download"
                aria-label={`Download ${fileWords(file)}`}
                title={`Download as ${container(file).name}`}
                aria-disabled={busy !== null}
                onClick={() => download(file)}
              >
                <Download size={14} />
              </button>
            </li>
          ))}
        </ul>
        {recording.message && <p className="recordings-note">It ends here: {recording.message}</p>}
      </div>
    </Dialog>
  );
}
