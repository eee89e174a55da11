/**
 * Before the call: who is in it, how one looks, which devices. Nothing is on until it is turned on here, and the browser is asked
 * for a device only then, so whoever blocks the camera joins all the same.
 */
import { Mic, MicOff, Video, VideoOff } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { initials } from '../../ui/color';
import { Dialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import { Encryption, useEncryption } from '../e2ee/encryption';
import { useRoom } from '../room/roomContext';
import { audioWish, cameraWish } from './call';
import { RecordedBeforeJoining } from './callRecording';
import { DeviceSelect } from './devices';
import { LevelMeter } from './levelMeter';
import { deviceWords } from './mediaModel';
import { VideoView } from './videoView';

type Kind = 'microphone' | 'camera';

export function JoinDialog(props: { onClose: () => void }) {
  const { session } = useRoom();
  const me = useStore(session.sessions)?.person;
  const participants = useStore(session.media.participants);
  const maySpeak = useMay('publish_audio');
  const mayShow = useMay('publish_video');
  const encryption = useEncryption();
  const [microphone, setMicrophone] = useState<MediaStreamTrack | null>(null);
  const [camera, setCamera] = useState<MediaStreamTrack | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [devices, setDevices] = useState<MediaDeviceInfo[]>([]);
  const [chosen, setChosen] = useState<Record<Kind, string | null>>({ microphone: null, camera: null });
  // What is not handed to the call is turned off when the dialog closes, however it does.
  const held = useRef<Record<Kind, MediaStreamTrack | null>>({ microphone: null, camera: null });
  const open = useRef(true);
  // Whoever turns something on and joins at once means it.
  const asking = useRef<Promise<void>>(Promise.resolve());
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
      const wish = kind === 'microphone' ? { audio: audioWish(device) } : { video: cameraWish(device) };
      const stream = await navigator.mediaDevices.getUserMedia(wish);
      const track = stream.getTracks()[0] ?? null;
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
  const join = async () => {
    await asking.current;
    if (!open.current || !encryption.mayJoin) return;
    const { microphone, camera } = held.current;
    held.current = { microphone: null, camera: null };
    session.call.join({ microphone, camera, devices: chosen, key: encryption.joinsWith });
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
              : microphone
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
            <button
              type="button"
              className="call-control"
              data-testid="preview-microphone"
              data-off={microphone === null || undefined}
              aria-pressed={microphone !== null}
              aria-label="Microphone"
              onClick={() =>
                microphone ? keep('microphone', null) : turnOn('microphone', chosen.microphone)
              }
            >
              {microphone ? <Mic size={17} /> : <MicOff size={17} />}
            </button>
          )}
          {mayShow && (
            <button
              type="button"
              className="call-control"
              data-testid="preview-camera"
              data-off={camera === null || undefined}
              aria-pressed={camera !== null}
              aria-label="Camera"
              onClick={() => (camera ? keep('camera', null) : turnOn('camera', chosen.camera))}
            >
              {camera ? <Video size={17} /> : <VideoOff size={17} />}
            </button>
          )}
        </div>
      </div>
      {microphone && <LevelMeter track={microphone} />}
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
              track={microphone}
              onChoose={(id) => choose('microphone', id)}
            />
          )}
          {camera && (
            <DeviceSelect
              label="Camera"
              kind="videoinput"
              devices={devices}
              track={camera}
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
        {maySpeak && !microphone && ' You join muted and can unmute at any time.'}
      </p>
    </Dialog>
  );
}

/** At most three names, then how many more. */
function listed(names: string[]): string {
  if (names.length > 3) return `${names.slice(0, 2).join(', ')} and ${names.length - 2} others`;
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? '');
}
