/** Opens a preview in a tab of its own. */
import { sentence } from '../../api/client';
import { notify } from '../../ui/toast';
import type { RoomSession } from '../room/roomSession';

export async function openInTab(session: RoomSession, port: number, path = '/'): Promise<void> {
  // Now, while the browser still sees that somebody clicked; where it leads is known in a moment.
  const tab = window.open('about:blank');
  if (!tab) {
    notify('This browser keeps pages from opening tabs. Allow it for this page, then try again.', 'bad');
    return;
  }
  // What runs there must not reach this page.
  tab.opener = null;
  try {
    const { url } = await session.api.openPreview(session.room.id, port, path);
    tab.location.replace(url);
  } catch (error) {
    tab.close();
    notify(sentence(error), 'bad');
  }
}
