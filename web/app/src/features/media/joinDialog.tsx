/**
 * Before the call: who is in it, how one looks, which devices. One begins muted, and as the last time after that. A microphone that the browser gives
 * without asking is had at once, so that it can be seen to work, and so that whoever joins muted can talk at once. The browser asks for a device only
 * when it is turned on here, so whoever blocks the camera joins all the same.
 */
import { Mic, MicOff, Video, VideoOff } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { initials } from '../../ui/color';
import { Dialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { Encryption, useEncryption } from '../e2ee/encryption';
import { useRoom } from '../room/roomContext';
import { audioWish, cameraWish } from './call';
import { RecordedBeforeJoining } from './callRecording';
import { DeviceSelect, idOf } from './devices';
import { FIRST_CHOICE, type JoinChoice, readChoice } from './joinChoice';
import { LevelMeter } from './levelMeter';
import { deviceWords } from './mediaModel';
import { VideoView } from './videoView';

type Kind = 'microphone' | 'camera';

/** Where this browser remembers what one chose. */
const KEY = 'buildspaces.call';

/** Nobody who joins waits longer for a device that they did not turn on themselves. */
const PREPARING_MS = 2000;

export function JoinDialog(props: { onClose: () => void }) {
  const { session } = useRoom();
  const me = useStore(session.sessions)?.person;
  const participants = useStore(session.media.participants);
  const maySpeak = useMay('publish_audio');
  const mayShow = useMay('publish_video');
  const encryption = useEncryption();
  const [microphone, setMicrophone] = useState<MediaStreamTrack | null>(null);
  const [camera, setCamera] = useState<MediaStreamTrack | null>(null);
  const [unmuted, setUnmuted] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [devices, setDevices] = useState<MediaDeviceInfo[]>([]);
  const [chosen, setChosen] = useState<JoinChoice>(FIRST_CHOICE);
  const latest = useRef(chosen);
  latest.current = chosen;
  const speaks = microphone !== null && unmuted;
  // What is not handed to the call is turned off when the dialog closes, however it does.
  const held = useRef<Record<Kind, MediaStreamTrack | null>>({ microphone: null, camera: null });
  const open = useRef(true);
  // Whoever turns something on and joins at once means it.
  const asking = useRef<Promise<void>>(Promise.resolve());
  const joins = useRef(false);
  /** The camera was turned on or off here. */
  const touched = useRef(false);
  useEffect(() => {
    open.current = true;
    return () => {
      open.current = false;
      held.current.microphone?.stop();
      held.current.camera?.stop();
    };
  }, []);

  const keep = (kind: Kind, track: MediaStreamTrack | null) => {
    held.current[kind]?.stop();
    held.current[kind] = track;
    (kind === 'microphone' ? setMicrophone : setCamera)(track);
  };
  const turnOn = (kind: Kind, device: string | null) => {
    asking.current = Promise.all([asking.current, ask(kind, device)]).then(() => undefined);
  };
  const ask = async (kind: Kind, device: string | null) => {
    setProblem(null);
    try {
      const track = await request(kind, device);
      if (!open.current) return track?.stop();
      keep(kind, track);
      // Names of devices are told only to pages that may use one.
      setDevices(await navigator.mediaDevices.enumerateDevices());
    } catch (error) {
      setProblem(deviceWords(error, kind));
    }
  };
  const choose = (kind: Kind, device: string) => {
    setChosen({ ...chosen, [kind]: device });
    turnOn(kind, device);
  };
  /** What was on the last time, and a microphone, if the browser gives them without asking. */
  const prepare = async () => {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const choice = readChoice(localStorage.getItem(KEY), devices);
    setDevices(devices);
    setChosen(choice);
    const wanted: Kind[] = [];
    if (maySpeak) wanted.push('microphone');
    if (mayShow && choice.shows) wanted.push('camera');
    for (const kind of wanted) {
      const track = (await isAllowed(kind)) ? await request(kind, choice[kind]).catch(() => null) : null;
      // Closed, or turned on, or joined without having seen that it would be on.
      const isLate = !open.current || held.current[kind] !== null || (kind === 'camera' && joins.current);
      if (track && isLate) track.stop();
      else if (track) {
        keep(kind, track);
        if (kind === 'microphone' && choice.speaks) setUnmuted(true);
      }
    }
  };
  const toggleMicrophone = () => {
    setUnmuted(!speaks);
    if (!microphone) turnOn('microphone', chosen.microphone);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when it opens.
  useEffect(() => {
    const late = new Promise<void>((done) => setTimeout(done, PREPARING_MS));
    asking.current = Promise.race([prepare().catch(() => undefined), late]);
  }, []);
  useMuteKey(maySpeak ? toggleMicrophone : null);
  const join = async () => {
    joins.current = true;
    await asking.current;
    joins.current = false;
    if (!open.current || !encryption.mayJoin) return;
    const { microphone, camera } = held.current;
    held.current = { microphone: null, camera: null };
    // Until now it was heard here all the same.
    if (microphone) microphone.enabled = unmuted;
    const devices = latest.current;
    // What was not there in time is no other choice.
    const shows = camera !== null || (devices.shows && !touched.current);
    remember({ ...devices, speaks: microphone !== null && unmuted, shows });
    session.call.join({ microphone, camera, devices, key: encryption.joinsWith });
    props.onClose();
  };
  const others = participants.map((participant) => participant.person.name);

  return (
    <Dialog
      title={others.length > 0 ? 'Join the call' : 'Start a call'}
      onClose={props.onClose}
      actions={
        <>
          <button type="button" className="button" onClick={props.onClose}>
            Cancel
          </button>
          <button
            type="button"
            className="button"
            data-kind="primary"
            data-testid="join-call"
            aria-disabled={!encryption.mayJoin}
            // biome-ignore lint/a11y/noAutofocus: focus must move into a modal dialog, and this is what one came for.
            autoFocus
            onClick={join}
          >
            {encryption.standing === 'contradiction'
              ? 'Join without encryption'
              : speaks
                ? 'Join'
                : maySpeak
                  ? 'Join muted'
                  : 'Join to listen'}
          </button>
        </>
      }
    >
      <div className="join-preview" data-testid="preview" data-camera={camera !== null || undefined}>
        {camera ? (
          <VideoView track={camera} mirrored />
        ) : (
          <span className="tile-avatar" style={{ backgroundColor: me?.color }}>
            {initials(me?.name ?? '?')}
          </span>
        )}
        <div className="join-toggles">
          {maySpeak && (
            <Tip text={speaks ? 'Mute (Ctrl+Shift+M)' : 'Unmute (Ctrl+Shift+M)'}>
              <button
                type="button"
                className="call-control"
                data-testid="preview-microphone"
                data-off={!speaks || undefined}
                aria-pressed={speaks}
                aria-label="Microphone"
                aria-keyshortcuts="Control+Shift+M"
                onClick={toggleMicrophone}
              >
                {speaks ? <Mic size={17} /> : <MicOff size={17} />}
              </button>
            </Tip>
          )}
          {mayShow && (
            <button
              type="button"
              className="call-control"
              data-testid="preview-camera"
              data-off={camera === null || undefined}
              aria-pressed={camera !== null}
              aria-label="Camera"
              onClick={() => {
                touched.current = true;
                if (camera) keep('camera', null);
                else turnOn('camera', chosen.camera);
              }}
            >
              {camera ? <Video size={17} /> : <VideoOff size={17} />}
            </button>
          )}
        </div>
      </div>
      {microphone && <LevelMeter track={microphone} muted={!speaks} />}
      {problem && (
        <p className="notice join-problem" role="alert" data-testid="preview-problem">
          {problem}
        </p>
      )}
      {(microphone || camera) && (
        <div className="join-devices">
          {microphone && (
            <DeviceSelect
              label="Microphone"
              kind="audioinput"
              devices={devices}
              value={idOf(microphone)}
              onChoose={(id) => choose('microphone', id)}
            />
          )}
          {camera && (
            <DeviceSelect
              label="Camera"
              kind="videoinput"
              devices={devices}
              value={idOf(camera)}
              onChoose={(id) => choose('camera', id)}
            />
          )}
        </div>
      )}
      <RecordedBeforeJoining />
      <Encryption encryption={encryption} isEmpty={others.length === 0} />
      <p className="join-words">
        {others.length > 0
          ? `${listed(others)} ${others.length === 1 ? 'is' : 'are'} in the call.`
          : 'Everybody in this room sees that a call has begun and can join it.'}
        {!maySpeak && ' You may listen and look on.'}
        {maySpeak && !speaks && !problem && ' You join muted. Unmute at any time, or hold Space to talk.'}
      </p>
    </Dialog>
  );
}

/** The same key as in the call. */
function useMuteKey(toggle: (() => void) | null): void {
  const latest = useRef(toggle);
  latest.current = toggle;
  useEffect(() => {
    const onDown = (event: KeyboardEvent) => {
      if (event.code !== 'KeyM' || !(event.ctrlKey || event.metaKey) || !event.shiftKey) return;
      event.preventDefault();
      if (!event.repeat) latest.current?.();
    };
    window.addEventListener('keydown', onDown, true);
    return () => window.removeEventListener('keydown', onDown, true);
  }, []);
}

async function request(kind: Kind, device: string | null): Promise<MediaStreamTrack | null> {
  const wish = kind === 'microphone' ? { audio: audioWish(device) } : { video: cameraWish(device) };
  return (await navigator.mediaDevices.getUserMedia(wish)).getTracks()[0] ?? null;
}

/** Whether the browser gives it without asking. Not every browser says. */
async function isAllowed(kind: Kind): Promise<boolean> {
  try {
    return (await navigator.permissions.query({ name: kind })).state === 'granted';
  } catch {
    return false;
  }
}

function remember(choice: JoinChoice): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(choice));
  } catch {
    // Without storage one begins as at first.
  }
}

/** At most three names, then how many more. */
function listed(names: string[]): string {
  if (names.length > 3) return `${names.slice(0, 2).join(', ')} and ${names.length - 2} others`;
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? '');
}
