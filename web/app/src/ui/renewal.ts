/** Loads the page anew by itself, where that helps and nobody minds. */

/** What is announced on the window before. Whoever has something that would be lost prevents it. */
export const RENEWING = 'buildspaces:renewing';

const RENEWED = 'buildspaces.renewed';
/** A page that is no better for it is not loaded all the time. */
const APART_MS = 60_000;

export function renew(): void {
  const isRecent = Date.now() - Number(sessionStorage.getItem(RENEWED)) < APART_MS;
  if (isRecent || !window.dispatchEvent(new Event(RENEWING, { cancelable: true }))) return;
  sessionStorage.setItem(RENEWED, `${Date.now()}`);
  window.location.reload();
}
