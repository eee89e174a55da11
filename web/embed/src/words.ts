/** What an editor says of its document: one word for style, one sentence for people. Pure. */

export type Mood = 'loading' | 'saved' | 'saving' | 'offline' | 'denied' | 'missing' | 'refused' | 'reading';

export interface Situation {
  state: 'connecting' | 'synced' | 'saved' | 'offline' | 'denied';
  reason: string;
  unsaved: number;
  /** Its text was here, from the server or from this device. */
  isHere: boolean;
  mayEdit: boolean;
  /** What this device keeps outlives the page. */
  isKept: boolean;
  /** There is no such file in the room. */
  missing: string | null;
  /** The server did not take a change. */
  isRefused: boolean;
}

export interface Said {
  mood: Mood;
  text: string;
  /** Stands in place of the text, or above it; empty if there is nothing to say. */
  message: string;
}

const edits = (count: number): string => (count === 1 ? '1 edit' : `${count} edits`);

/** The server's reasons begin small and end without a stop. */
function sentence(words: string): string {
  const end = /[.!?…]$/.test(words) ? '' : '.';
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${end}`;
}

export function describe(about: Situation): Said {
  const say = (mood: Mood, text: string, message = ''): Said => ({ mood, text, message });
  const { state, unsaved, isHere, mayEdit } = about;
  if (state === 'denied') {
    const why = sentence(about.reason || 'the server refused it');
    return say('denied', 'No access', `You have no access to this document. ${why}`);
  }
  if (about.missing !== null)
    return say('missing', 'Not there', `There is no ${about.missing} in this room.`);
  if (about.isRefused)
    return say('refused', 'Not saved', 'The server did not take your last change. It is in this page only.');
  if (state === 'offline') {
    if (!isHere) return say('offline', 'No connection', 'The server cannot be reached. Trying again…');
    const where = about.isKept ? 'on this device' : 'in this page until it is closed';
    return say(
      'offline',
      unsaved > 0 && mayEdit ? `No connection: ${edits(unsaved)} kept ${where}` : 'No connection',
    );
  }
  if (state === 'connecting') return say('loading', isHere ? 'Connecting…' : 'Loading…');
  if (!mayEdit) return say('reading', 'Read only');
  return unsaved > 0 ? say('saving', 'Saving…') : say('saved', 'Saved');
}
