/** Through which device the call is heard, as this browser remembers it. */
import { Store } from '../../ui/store';

const KEY = 'buildspaces.speaker';

/** Not every browser lets a page choose. */
export const canChooseSpeaker =
  typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype;

/** The id of a device; empty: the browser's choice. */
export const speaker = new Store<string>(remembered());

function remembered(): string {
  try {
    return localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

export function chooseSpeaker(id: string): void {
  speaker.set(id);
  try {
    localStorage.setItem(KEY, id);
  } catch {
    // Without storage it is chosen for this page.
  }
}

/** Has it heard through the chosen device, and through the browser's choice while that is not there. */
export function hearThrough(element: HTMLMediaElement, id: string): void {
  if (canChooseSpeaker) element.setSinkId(id).catch(() => element.setSinkId('').catch(() => undefined));
}
