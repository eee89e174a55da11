/**
 * The room's connection in words. Many documents are open at once; a person wants to know one thing: is what I typed
 * safe, and do I see the others? `describe` folds the documents' states into that. Pure.
 */
import type { DocState } from './docSession';

export type ConnectionKind =
  | 'connecting'
  | 'synced'
  | 'saving'
  | 'saved'
  | 'reconnecting'
  | 'offline'
  | 'reconnected'
  | 'gone';

export interface ConnectionView {
  kind: ConnectionKind;
  text: string;
  /** The longer sentence for the tooltip and for screen readers. */
  detail: string;
  unsaved: number;
}

export interface ConnectionInput {
  /** The documents without which there is no room. */
  room: DocState[];
  /** Open files. One that was deleted does not make the room's connection bad. */
  files: DocState[];
  browserOnline: boolean;
  /** Without it nothing that was typed here can be saved, so nothing is said about saving. */
  mayEdit: boolean;
  /** The connection came back a moment ago. */
  justReturned: boolean;
}

export function describe(input: ConnectionInput): ConnectionView {
  const all = [...input.room, ...input.files];
  const counts = (doc: DocState) => input.mayEdit && doc.link !== 'gone' && doc.link !== 'barred';
  const unsaved = all.reduce((sum, doc) => sum + (counts(doc) ? doc.unsaved : 0), 0);
  const meanwhile = input.mayEdit
    ? 'You can go on typing; everything is sent when'
    : 'What you see may be outdated until';
  const kept = unsaved > 0 ? ` ${edits(unsaved, 'your')} kept here` : '';
  const view = (kind: ConnectionKind, text: string, detail: string): ConnectionView => ({
    kind,
    text,
    detail,
    unsaved,
  });

  if (input.room.some((doc) => doc.link === 'gone'))
    return view('gone', 'Room not found', 'This room does not exist any more.');
  const away = all.some((doc) => doc.link === 'away');
  if (away && !input.browserOnline)
    return view(
      'offline',
      `Offline${kept && ` —${kept}`}`,
      `This browser has no network. ${meanwhile} it is back.`,
    );
  if (away && input.room.some((doc) => doc.loaded))
    return view(
      'reconnecting',
      `Reconnecting…${kept}`,
      `The server cannot be reached right now. ${meanwhile} it answers.`,
    );
  if (away)
    return view('reconnecting', 'Reconnecting…', 'The server cannot be reached right now. Trying again.');
  if (input.room.some((doc) => doc.link === 'connecting'))
    return view('connecting', 'Connecting…', 'Loading the room.');
  if (unsaved > 0)
    return view('saving', 'Saving…', `${capital(edits(unsaved, 'your'))} on the way to the server's disk.`);
  if (input.justReturned)
    return view(
      'reconnected',
      'Reconnected',
      `The connection is back and ${input.mayEdit ? 'everything is saved' : 'you see the latest version of everything'}.`,
    );
  if (input.mayEdit && all.some((doc) => doc.touched))
    return view('saved', 'Saved', "Everything you typed is on the server's disk.");
  return view('synced', 'Synced', 'You see the latest version of everything.');
}

function edits(count: number, whose: string): string {
  return count === 1 ? `${whose} edit is` : `${whose} ${count} edits are`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
