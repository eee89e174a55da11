/**
 * A program's output as lines of coloured text. Colours and bold are kept, every other escape sequence is dropped, and a
 * carriage return begins the line again, as progress bars expect. It is not a terminal: cursor movement has no effect.
 */
export interface Span {
  text: string;
  /** Class names, such as `ansi-red ansi-bold`; empty for plain text. */
  className: string;
}

const COLORS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
// CSI sequences, OSC sequences with their end, and two-character escapes.
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are control characters.
const ESCAPE = /\u001b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what remains of them has no picture.
const UNPRINTABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

interface Style {
  color: string | null;
  bold: boolean;
  dim: boolean;
}

export function parseAnsi(output: string): Span[][] {
  const lines: Span[][] = [[]];
  let style: Style = { color: null, bold: false, dim: false };
  const write = (text: string) => {
    text.split('\n').forEach((line, index) => {
      if (index > 0) lines.push([]);
      // A return at the very end of a line is half of CRLF; elsewhere the text after it replaces the line.
      const restart = line.replace(/\r+$/, '').lastIndexOf('\r');
      if (restart !== -1) lines[lines.length - 1] = [];
      const clean = line
        .slice(restart + 1)
        .replace(UNPRINTABLE, '')
        .replaceAll('\r', '');
      if (clean) lines[lines.length - 1]?.push({ text: clean, className: classes(style) });
    });
  };
  let at = 0;
  for (const match of output.matchAll(ESCAPE)) {
    write(output.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] === 'm') style = restyled(style, match[1] ?? '');
  }
  write(output.slice(at));
  return lines;
}

function restyled(style: Style, parameters: string): Style {
  const next = { ...style };
  const codes = parameters.split(/[;:]/).map(Number);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] ?? 0;
    if (code === 0) Object.assign(next, { color: null, bold: false, dim: false });
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 22) Object.assign(next, { bold: false, dim: false });
    else if (code >= 30 && code <= 37) next.color = COLORS[code - 30] ?? null;
    else if (code >= 90 && code <= 97) next.color = COLORS[code - 90] ?? null;
    else if (code === 39) next.color = null;
    else if (code === 38 || code === 48) i += codes[i + 1] === 5 ? 2 : 4;
  }
  return next;
}

function classes({ color, bold, dim }: Style): string {
  return [color && `ansi-${color}`, bold && 'ansi-bold', dim && 'ansi-dim'].filter(Boolean).join(' ');
}
