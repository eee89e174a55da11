import { describe, expect, it } from 'vitest';
import { namePlace } from './namePlace';

describe('a name at a caret', () => {
  it.each([
    ['above a short line', 'x', 'long enough to be covered', 10, 'above'],
    ['above an empty line', '', null, 1, 'above'],
    ['above what is only indented', '            ', 'y', 3, 'above'],
    ['below where the line above has text', 'return total', '', 1, 'below'],
    ['at the end of its line between two long ones', 'return total', 'return tax()', 4, 'end'],
    ['below in the first line', null, '', 1, 'below'],
    ['at the end of the only line', null, null, 1, 'end'],
  ])('stands %s', (_name, above, below, column, place) => {
    expect(namePlace(above, below, column, 'Grace')).toBe(place);
  });
});
