/**
 * The recording of a call, as everybody sees it: the mark, the question whether one agrees, and starting and stopping it. Nothing of
 * anybody is recorded before they agreed; the server sees to that.
 */
import { TriangleAlert, X } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { ConfirmDialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { notify } from '../../ui/toast';
import { useMay } from '../access/useAccess';
import { RecordingsButton } from '../recordings/recordingsButton';
import { useRoom } from '../room/roomContext';
import { missingWords, mustAsk, recordedWords } from './recordingWords';
import '../recordings/recordings.css';
import './callRecording.css';

/** For who is in the call. */
export function CallRecording() {
  const { session } = useRoom();
  const { now } = useStore(session.media.recording);
  const mayRecord = useMay('record');
  return (
    <>
      <Failed />
      {now ? <Recorded /> : mayRecord && <Start />}
    </>
  );
}

function Recorded() {
  const { call, media, sessions } = useRoom().session;
  const { now } = useStore(media.recording);
  const participants = useStore(media.participants);
  const { me } = useStore(call.state);
  const mayRecord = useMay('record');
  /** The recording to which one said neither yes nor no. */
  const [putOff, setPutOff] = useState<number | null>(null);
  const section = useRef<HTMLElement>(null);
  const sends = [useMay('publish_audio'), useMay('publish_video'), useMay('share_screen')].some(Boolean);
  if (!now) return null;
  const asks = sends && mustAsk(now, me);
  const isPutOff = putOff === now.started_at;
  const agree = (on: boolean) => {
    // What was clicked goes, and the keyboard stays here.
    section.current?.focus();
    if (media.say({ type: 'agree', on, recording: now.started_at })) return true;
    notify('The connection is lost. Try again when it has come back.', 'bad');
    return false;
  };
  const missing = missingWords(now, participants, me);
  return (
    <section
      ref={section}
      className="call-recording"
      data-on
      aria-label="Recording"
      data-testid="call-recording-on"
      tabIndex={-1}
    >
      <div className="call-recording-row">
        <p className="call-recording-words" role="status">
          <span className="rec-mark">REC</span>
          {recordedWords(now, sessions.current?.person.id)}
        </p>
        {mayRecord && (
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="stop-recording"
            onClick={() => media.say({ type: 'record', on: false })}
          >
            Stop
          </button>
        )}
      </div>
      {missing && (
        <p className="call-recording-missing" data-testid="recording-missing">
          {missing}
        </p>
      )}
      {sends && me !== null && (!asks || isPutOff) && (
        <div className="call-recording-row">
          <p className="call-recording-missing" role="status" data-testid="recording-own">
            {asks ? 'You are not in it.' : 'What you say and show is in it.'}
          </p>
          <button
            type="button"
            className="button"
            data-kind="quiet"
            data-size="small"
            data-testid={asks ? 'agree-later' : 'take-back'}
            title={asks ? undefined : 'What was recorded of you until now stays'}
            onClick={() => {
              if (agree(asks) && !asks) setPutOff(now.started_at);
            }}
          >
            {asks ? 'Agree' : 'Take back'}
          </button>
        </div>
      )}
      {asks && !isPutOff && (
        <div role="alert" className="call-recording" data-testid="recording-consent">
          <p className="call-recording-words">
            What you say and show is kept for everybody in this room, if you agree. Until then nothing of you
            is recorded.
          </p>
          <div className="call-answers">
            <button
              type="button"
              className="button"
              data-kind="primary"
              data-size="small"
              data-testid="agree-recording"
              onClick={() => agree(true)}
            >
              Agree
            </button>
            <button
              type="button"
              className="button"
              data-size="small"
              data-testid="refuse-recording"
              onClick={() => {
                section.current?.focus();
                setPutOff(now.started_at);
              }}
            >
              Not now
            </button>
            <button
              type="button"
              className="button"
              data-kind="quiet"
              data-size="small"
              onClick={() => call.leave()}
            >
              Leave the call
            </button>
          </div>
        </div>
      )}
    </section>
  );
}

function Start() {
  const { media } = useRoom().session;
  const encrypted = useStore(media.encrypted);
  const [asking, setAsking] = useState(false);
  const start = async () =>
    media.say({ type: 'record', on: true })
      ? null
      : 'The connection is lost. Try again when it has come back.';
  return (
    <div className="call-recording">
      <div className="call-recording-row">
        <Tip
          text={
            encrypted ? 'What is said here is encrypted end to end: nobody can record it' : 'Record the call'
          }
        >
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="start-recording"
            aria-disabled={encrypted}
            onClick={() => !encrypted && setAsking(true)}
          >
            <span className="call-recording-dot" aria-hidden /> Record
          </button>
        </Tip>
        <RecordingsButton />
      </div>
      {asking && (
        <ConfirmDialog
          title="Record this call?"
          confirm="Record"
          kind="primary"
          onConfirm={start}
          onClose={() => setAsking(false)}
        >
          <p>
            Everybody in the call is told and asked. Voices, cameras and screens of those who agree are kept,
            yours from now on, and everybody in this room can watch and download them. It ends when a host
            stops it, or with the call.
          </p>
        </ConfirmDialog>
      )}
    </div>
  );
}

/** How long it is said to who can do nothing about it that a recording has ended. */
const SAID_MS = 30_000;

/** Why the last recording ended: until it is read by who can begin another, or for a while. The list of recordings goes on saying it. */
function Failed() {
  const { failed } = useStore(useRoom().session.media.recording);
  const mayRecord = useMay('record');
  const [read, setRead] = useState<string | null>(null);
  const message = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (failed === null || mayRecord) return;
    const timer = setTimeout(() => {
      // Whoever is at its button has read it, and keeps the keyboard.
      if (!message.current?.contains(document.activeElement)) setRead(failed);
    }, SAID_MS);
    return () => clearTimeout(timer);
  }, [failed, mayRecord]);
  if (failed === null || failed === read) return null;
  return (
    <div ref={message} className="call-message" data-tone="warn" role="alert" data-testid="recording-failed">
      <TriangleAlert size={13} aria-hidden />
      <p>The recording has ended. {failed}</p>
      <button
        type="button"
        className="icon-button"
        data-size="small"
        aria-label="Dismiss"
        onClick={() => setRead(failed)}
      >
        <X size={13} />
      </button>
    </div>
  );
}

/** For who has not joined. */
export function RecordedBeforeJoining() {
  const { media, sessions } = useRoom().session;
  const { now } = useStore(media.recording);
  if (!now) return null;
  return (
    <p className="join-recorded" role="status" data-testid="join-recorded">
      <span className="rec-mark">REC</span>
      <span>
        {recordedWords(now, sessions.current?.person.id)} You are asked when you have joined, unless you
        agreed before; until you agree nothing of you is recorded.
      </span>
    </p>
  );
}

export function RecordedMark() {
  const { now } = useStore(useRoom().session.media.recording);
  return now ? (
    <span className="rec-mark" data-testid="call-recorded" title="This call is being recorded">
      REC
    </span>
  ) : null;
}
