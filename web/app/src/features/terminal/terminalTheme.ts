/** The emulator's colours: the page's own where it has them, and sixteen that can be read on them. */
import type { ITheme } from '@xterm/xterm';
import type { Theme } from '../../ui/theme';

const ANSI: Record<Theme, ITheme> = {
  light: {
    black: '#1b1e27',
    red: '#c02b34',
    green: '#11703a',
    yellow: '#8f5600',
    blue: '#2563c9',
    magenta: '#7a3fc2',
    cyan: '#0b6f86',
    white: '#6a7183',
    brightBlack: '#636a7b',
    brightRed: '#d5404a',
    brightGreen: '#17884a',
    brightYellow: '#a66a06',
    brightBlue: '#3f7be0',
    brightMagenta: '#9355dd',
    brightCyan: '#11869f',
    brightWhite: '#3b4150',
  },
  dark: {
    black: '#2a2f3a',
    red: '#ff7f7b',
    green: '#4cc57f',
    yellow: '#e6b450',
    blue: '#74a8ff',
    magenta: '#c49bff',
    cyan: '#5fcfe0',
    white: '#cfd4de',
    brightBlack: '#878fa0',
    brightRed: '#ff9d99',
    brightGreen: '#74dba0',
    brightYellow: '#f3ca78',
    brightBlue: '#9cc1ff',
    brightMagenta: '#d7baff',
    brightCyan: '#8de2ee',
    brightWhite: '#ffffff',
  },
};

/** Reads the tokens as they are now; call it again when the theme changes. */
export function terminalTheme(look: Theme): ITheme {
  const tokens = getComputedStyle(document.documentElement);
  const token = (name: string) => tokens.getPropertyValue(name).trim();
  return {
    ...ANSI[look],
    background: token('--surface'),
    foreground: token('--text'),
    cursor: token('--accent'),
    cursorAccent: token('--surface'),
    selectionBackground: token('--selected'),
    selectionInactiveBackground: token('--hover'),
    scrollbarSliderBackground: `${token('--text')}1f`,
    scrollbarSliderHoverBackground: `${token('--text')}38`,
    scrollbarSliderActiveBackground: `${token('--text')}4d`,
  };
}
