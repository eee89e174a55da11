import { expect, test } from 'vitest';
import * as Y from 'yjs';
import { fromJson, toJson } from './relativePosition';

test('positions are what Yjs writes and reads, in both forms', () => {
  const doc = new Y.Doc();
  doc.clientID = 2 ** 45 + 7;
  const text = doc.getText('text');
  text.insert(0, 'some words');
  const nested = new Y.Text('within');
  doc.getMap('map').set('text', nested);
  for (const [type, index, assoc] of [
    [text, 0, 0],
    [text, 4, 0],
    [text, 4, -1],
    [text, 10, 0],
    [nested, 6, 0],
    [nested, 2, 0],
  ] as const) {
    const position = Y.createRelativePositionFromTypeIndex(type, index, assoc);
    const bytes = Y.encodeRelativePosition(position);
    const json = toJson(bytes);
    const read = Y.createRelativePositionFromJSON(json);
    // As bytes: what Yjs sends names no type where it names an item.
    expect([...Y.encodeRelativePosition(read)]).toEqual([...bytes]);
    const again = fromJson(JSON.parse(JSON.stringify(Y.relativePositionToJSON(position))));
    expect(again && [...again]).toEqual([...bytes]);
  }
});

test('what is no position is none', () => {
  for (const json of [
    null,
    7,
    {},
    { item: null },
    { item: { client: -1, clock: 0 } },
    { item: { client: 'x', clock: 0 } },
    { tname: 'x'.repeat(5000) },
  ])
    expect(fromJson(json)).toBeNull();
  for (const bytes of [[], [9], [0, 128], [0, 1]]) expect(toJson(Uint8Array.from(bytes))).toBeNull();
});
