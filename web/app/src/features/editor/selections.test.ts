import { describe, expect, it } from 'vitest';
import * as Y from 'yjs';
import { fromSent, toSent } from './selections';

function text(content: string): Y.Text {
  const text = new Y.Doc().getText('text');
  text.insert(0, content);
  return text;
}

describe('selections', () => {
  it('stay at their text while others type before them', () => {
    const here = text('hello world');
    const sent = JSON.parse(JSON.stringify(toSent(here, [{ anchor: 6, head: 11 }])));
    here.insert(0, '>> ');
    expect(fromSent(here, sent)).toEqual([{ anchor: 9, head: 14 }]);
  });

  it('move to the place where their text was deleted', () => {
    const here = text('hello world');
    const sent = toSent(here, [{ anchor: 8, head: 8 }]);
    here.delete(6, 5);
    expect(fromSent(here, sent)).toEqual([{ anchor: 6, head: 6 }]);
  });

  it.each([null, 'x', [null], [{ a: 1, h: 2 }], [{ a: { item: 'no' }, h: {} }]])(
    'leave out what is malformed: %j',
    (sent) => {
      expect(fromSent(text('abc'), sent)).toEqual([]);
    },
  );

  it('are bounded', () => {
    const many = Array.from({ length: 100 }, () => ({ anchor: 0, head: 0 }));
    expect(toSent(text('abc'), many)).toHaveLength(16);
  });
});
