import { describe, expect, it } from 'vitest';
import { parseAnsi } from './ansi';

const text = (output: string) =>
  parseAnsi(output)
    .map((line) => line.map((span) => span.text).join(''))
    .join('\n');

describe('parseAnsi', () => {
  it('keeps colours and bold until they are reset', () => {
    expect(parseAnsi('a \u001b[1;31mFAILED\u001b[0m b')).toEqual([
      [
        { text: 'a ', className: '' },
        { text: 'FAILED', className: 'ansi-red ansi-bold' },
        { text: ' b', className: '' },
      ],
    ]);
  });

  it('carries a colour over line ends', () => {
    expect(parseAnsi('\u001b[32mone\ntwo')[1]).toEqual([{ text: 'two', className: 'ansi-green' }]);
  });

  it.each([
    ['cursor movement', 'a\u001b[2K\u001b[1Gb', 'ab'],
    ['a window title', '\u001b]0;title\u0007done', 'done'],
    ['a 256-colour code', '\u001b[38;5;208mx\u001b[0m', 'x'],
    ['a true-colour code', '\u001b[38;2;1;2;3mx', 'x'],
    ['CRLF', 'a\r\nb', 'a\nb'],
    ['a progress line', '10%\r50%\r100%\ndone', '100%\ndone'],
    ['a bell', 'a\u0007b', 'ab'],
  ])('understands %s', (_name, output, shown) => {
    expect(text(output)).toBe(shown);
  });
});
