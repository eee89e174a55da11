/** What somebody chose when they joined a call, as this browser remembers it for the next: which devices, and what was on. Pure. */

export interface JoinChoice {
  /** Ids of devices; `null`: the browser's choice. */
  microphone: string | null;
  camera: string | null;
  /** Joined unmuted, and with the camera on. */
  speaks: boolean;
  shows: boolean;
}

/** One begins muted. */
export const FIRST_CHOICE: JoinChoice = { microphone: null, camera: null, speaks: false, shows: false };

/** Of what was remembered what is understood, and of devices those that are here now. */
export function readChoice(
  text: string | null,
  devices: readonly Pick<MediaDeviceInfo, 'kind' | 'deviceId'>[],
): JoinChoice {
  let value: Partial<Record<keyof JoinChoice, unknown>> | null;
  try {
    value = JSON.parse(text ?? 'null');
  } catch {
    return FIRST_CHOICE;
  }
  const here = (kind: MediaDeviceKind, id: unknown) =>
    devices.find((device) => device.kind === kind && device.deviceId === id)?.deviceId ?? null;
  return {
    microphone: here('audioinput', value?.microphone),
    camera: here('videoinput', value?.camera),
    speaks: value?.speaks === true,
    shows: value?.shows === true,
  };
}
