import { expect, it, describe as suite } from 'vitest';
import { type ConnectionInput, describe } from './connectionState';
import type { DocState } from './docSession';

const doc = (change: Partial<DocState> = {}): DocState => ({
  link: 'online',
  loaded: true,
  unsaved: 0,
  touched: false,
  refused: null,
  ...change,
});
const view = (change: Partial<ConnectionInput>) =>
  describe({
    room: [doc(), doc()],
    files: [],
    browserOnline: true,
    mayEdit: true,
    justReturned: false,
    ...change,
  });

suite('describe', () => {
  it.each<[string, Partial<ConnectionInput>, string]>([
    ['loading', { room: [doc({ link: 'connecting', loaded: false })] }, 'Connecting…'],
    ['everything there, nothing typed', {}, 'Synced'],
    ['an edit under way', { files: [doc({ unsaved: 1, touched: true })] }, 'Saving…'],
    ['everything saved', { files: [doc({ touched: true })] }, 'Saved'],
    ['server away, nothing typed', { room: [doc({ link: 'away' })] }, 'Reconnecting…'],
    [
      'server away, one edit',
      { room: [doc({ link: 'away' })], files: [doc({ unsaved: 1 })] },
      'Reconnecting… your edit is kept here',
    ],
    [
      'server away, three edits in two files',
      { files: [doc({ link: 'away', unsaved: 1 }), doc({ link: 'away', unsaved: 2 })] },
      'Reconnecting… your 3 edits are kept here',
    ],
    [
      'no network',
      { room: [doc({ link: 'away' })], files: [doc({ unsaved: 3 })], browserOnline: false },
      'Offline — your 3 edits are kept here',
    ],
    ['no network, nothing typed', { room: [doc({ link: 'away' })], browserOnline: false }, 'Offline'],
    ['just back', { justReturned: true }, 'Reconnected'],
    ['just back, still saving', { justReturned: true, files: [doc({ unsaved: 1 })] }, 'Saving…'],
    ['room gone', { room: [doc({ link: 'gone' })] }, 'Room not found'],
    ['a viewer who typed', { mayEdit: false, files: [doc({ unsaved: 2, touched: true })] }, 'Synced'],
    [
      'a viewer whose server is away',
      { mayEdit: false, files: [doc({ link: 'away', unsaved: 2, touched: true })] },
      'Reconnecting…',
    ],
    ['runs that may not be read', { room: [doc(), doc({ link: 'barred', loaded: false })] }, 'Synced'],
    ['a deleted file does not count', { files: [doc({ link: 'gone', unsaved: 4 })] }, 'Synced'],
  ])('%s', (_name, input, text) => {
    expect(view(input).text).toBe(text);
  });
});
