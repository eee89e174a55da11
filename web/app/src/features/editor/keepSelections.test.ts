import { describe, expect, it } from 'vitest';
import { afterEdits } from './keepSelections';
import type { OffsetEdit } from './lineEnds';

const insert = (at: number, text: string): OffsetEdit => ({ from: at, to: at, text });
const selection = { start: 5, end: 8 };

describe('afterEdits', () => {
  it.each<[string, OffsetEdit[], { start: number; end: number }]>([
    ['text before it moves it', [insert(0, 'xx')], { start: 7, end: 10 }],
    ['text at its start stays outside', [insert(5, 'xx')], { start: 7, end: 10 }],
    ['text at its end stays outside', [insert(8, 'xx')], { start: 5, end: 8 }],
    ['text within belongs to it', [insert(6, 'xx')], { start: 5, end: 10 }],
    ['text after it does nothing', [insert(9, 'xx')], { start: 5, end: 8 }],
    ['text at both edges stays outside', [insert(5, 'a'), insert(8, 'b')], { start: 6, end: 9 }],
    ['deleting all of it leaves a caret', [{ from: 4, to: 9, text: '' }], { start: 4, end: 4 }],
    ['deleting its first half', [{ from: 3, to: 6, text: '' }], { start: 3, end: 5 }],
    ['replacing exactly it keeps it', [{ from: 5, to: 8, text: 'new text' }], { start: 5, end: 13 }],
  ])('%s', (_name, edits, expected) => {
    expect(afterEdits(selection, edits)).toEqual(expected);
  });

  it('leaves a caret before what is inserted at it', () => {
    expect(afterEdits({ start: 4, end: 4 }, [insert(1, 'ab'), insert(4, 'xyz')])).toEqual({
      start: 6,
      end: 6,
    });
  });
});
