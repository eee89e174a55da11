/** Which microphone, camera and speakers, during a call. What is on goes on with the other device. */
import { useEffect, useState } from 'react';
import { Dialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { LevelMeter } from './levelMeter';
import { canChooseSpeaker, chooseSpeaker, speaker } from './speaker';
import { VideoView } from './videoView';

export function DevicesDialog(props: { onClose: () => void }) {
  const { call } = useRoom().session;
  const { problem } = useStore(call.state);
  const { microphone, camera } = useStore(call.local);
  const devices = useDevices();
  const through = useStore(speaker);
  const count = (kind: MediaDeviceKind) => devices.filter((device) => device.kind === kind).length;
  return (
    <Dialog
      title="Devices"
      onClose={props.onClose}
      actions={
        <button type="button" className="button" data-kind="primary" onClick={props.onClose}>
          Done
        </button>
      }
    >
      {camera && (
        <div className="join-preview" data-testid="device-preview">
          <VideoView track={camera} mirrored />
        </div>
      )}
      {microphone && <LevelMeter track={microphone} />}
      {problem && (
        <p className="notice join-problem" role="alert">
          {problem}
        </p>
      )}
      <div className="join-devices" data-testid="device-choices">
        <DeviceSelect
          label="Microphone"
          kind="audioinput"
          devices={devices}
          value={idOf(microphone)}
          onChoose={(id) => void call.switchTo('microphone', id)}
        />
        <DeviceSelect
          label="Camera"
          kind="videoinput"
          devices={devices}
          value={idOf(camera)}
          onChoose={(id) => void call.switchTo('camera', id)}
        />
        <DeviceSelect
          label="Speakers"
          kind="audiooutput"
          devices={devices}
          value={canChooseSpeaker ? through || 'default' : null}
          onChoose={chooseSpeaker}
        />
      </div>
      <p className="join-words">
        {microphone || camera
          ? Math.max(count('audioinput'), count('videoinput')) > 1
            ? 'Others hear and see the change at once.'
            : 'There is no other microphone or camera on this machine.'
          : 'Turn on the microphone or the camera first: the browser names devices only then.'}
      </p>
    </Dialog>
  );
}

/** Those that this machine has, as they come and go. Their names are told only to pages that may use one. */
function useDevices(): MediaDeviceInfo[] {
  const [devices, setDevices] = useState<MediaDeviceInfo[]>([]);
  useEffect(() => {
    const { mediaDevices } = navigator;
    const look = () => void mediaDevices?.enumerateDevices().then(setDevices, () => undefined);
    look();
    mediaDevices?.addEventListener('devicechange', look);
    return () => mediaDevices?.removeEventListener('devicechange', look);
  }, []);
  return devices;
}

/** The device of a track. */
export function idOf(track: MediaStreamTrack | null): string | null {
  return track && (track.getSettings().deviceId ?? '');
}

/** Nothing where there is no choice. */
export function DeviceSelect(props: {
  label: string;
  kind: MediaDeviceKind;
  devices: MediaDeviceInfo[];
  /** Which it is; `null` if it is none. */
  value: string | null;
  onChoose: (id: string) => void;
}) {
  const devices = props.devices.filter((device) => device.kind === props.kind);
  if (devices.length < 2 || props.value === null) return null;
  return (
    <label className="field">
      <span>{props.label}</span>
      <select className="input" value={props.value} onChange={(event) => props.onChoose(event.target.value)}>
        {devices.map((device) => (
          <option key={device.deviceId} value={device.deviceId}>
            {device.label || props.label}
          </option>
        ))}
      </select>
    </label>
  );
}
