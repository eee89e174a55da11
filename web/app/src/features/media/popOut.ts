/** A window of its own for the large picture: one that the page draws into, or else the browser's for a video. */
import { theme } from '../../ui/theme';
import type { Dock } from './dock';

interface DocumentPictureInPicture {
  requestWindow(options: { width: number; height: number }): Promise<Window>;
}

const documents = () =>
  (window as { documentPictureInPicture?: DocumentPictureInPicture }).documentPictureInPicture ?? null;

export const canPopOut = () => documents() !== null || document.pictureInPictureEnabled === true;

/** Only from a click: browsers open no window otherwise. */
export async function popOut(dock: Dock, title: string, video: HTMLVideoElement | null): Promise<void> {
  const api = documents();
  if (api) {
    const own = await api.requestWindow({ width: 800, height: 490 });
    dress(own.document, title);
    const stop = theme.subscribe(() => {
      own.document.documentElement.dataset.theme = theme.get();
    });
    own.addEventListener('pagehide', () => {
      stop();
      const popped = dock.popped.get();
      if (popped?.kind === 'document' && popped.window === own) dock.popped.set(null);
    });
    dock.popped.set({ kind: 'document', window: own });
    return;
  }
  if (!video) return;
  await video.requestPictureInPicture();
  video.addEventListener('leavepictureinpicture', () => dock.popped.set(null), { once: true });
  dock.popped.set({ kind: 'video' });
}

/** Looks like the page. */
function dress(page: Document, title: string): void {
  page.title = title;
  page.documentElement.lang = document.documentElement.lang;
  page.documentElement.dataset.theme = theme.get();
  page.body.className = 'dock-window';
  for (const sheet of document.querySelectorAll<HTMLElement>('link[rel="stylesheet"], style')) {
    const copy = page.importNode(sheet, true);
    // The new page has no address of its own to look from.
    if (sheet instanceof HTMLLinkElement) (copy as HTMLLinkElement).href = sheet.href;
    page.head.append(copy);
  }
}
