/**
 * One terminal on screen: the emulator and its connection. It stays connected for as long as it is there, also while it is
 * hidden, so that whoever holds the keyboard keeps it. This module and the emulator are a lazy chunk.
 */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Emulator } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { useEffect, useRef } from 'react';
import { copyText } from '../../ui/clipboard';
import { theme } from '../../ui/theme';
import { useRoom } from '../room/roomContext';
import { TerminalLink } from './terminalLink';
import { holds, type Status } from './terminalModel';
import { terminalTheme } from './terminalTheme';

const SCROLLBACK_LINES = 5000;
const FONT_SIZE = 13;
/** Forget everything, the scrollback too. */
const RESET = '\x1bc\x1b[3J';

export interface TerminalScreenProps {
  id: string;
  label: string;
  /** In front, and its panel is open. */
  visible: boolean;
  /** Counts up whenever the keyboard should go into the terminal. */
  focus: number;
  /** The connection as long as there is one. */
  onLink: (id: string, link: TerminalLink | null) => void;
}

export default function TerminalScreen(props: TerminalScreenProps) {
  const { session } = useRoom();
  const { id, label, visible, focus, onLink } = props;
  const host = useRef<HTMLDivElement>(null);
  const parts = useRef<{ emulator: Emulator; measure: () => void } | null>(null);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const emulator = new Emulator({
      allowProposedApi: false,
      cursorBlink: true,
      disableStdin: true,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
      fontSize: FONT_SIZE,
      lineHeight: 1.25,
      // Each byte that means nothing would be a line in the console.
      logLevel: 'off',
      minimumContrastRatio: 4.5,
      scrollback: SCROLLBACK_LINES,
      theme: terminalTheme(theme.get()),
    });
    const fitAddon = new FitAddon();
    emulator.loadAddon(fitAddon);
    emulator.open(element);
    const link = new TerminalLink(session.room.id, id, session.sessions, {
      write: (bytes, done) => emulator.write(bytes, done),
      // In the order of what is written, which the emulator's own method is not.
      reset: () => emulator.write(RESET),
    });
    const measure = () => {
      // A hidden element has no room to speak of.
      if (!element.checkVisibility()) return;
      const room = fitAddon.proposeDimensions();
      if (room && Number.isFinite(room.rows) && Number.isFinite(room.cols)) link.fits(room.rows, room.cols);
    };
    const follow = (status: Status | null) => {
      if (!status) return;
      const typing = holds(status) && link.state.get() === 'online';
      emulator.options.disableStdin = !typing;
      emulator.options.cursorBlink = typing;
      // Whoever holds the keyboard decides about the size, and this page only if that is here.
      if (emulator.rows !== status.rows || emulator.cols !== status.cols)
        emulator.resize(status.cols, status.rows);
    };
    const update = () => follow(link.status.get());
    const typed = new TextEncoder();
    const mine = () => holds(link.status.get());
    const stops = [
      link.status.subscribe(update),
      link.state.subscribe(update),
      theme.subscribe(() => {
        emulator.options.theme = terminalTheme(theme.get());
      }),
    ];
    emulator.onData((text) => mine() && link.type(typed.encode(text)));
    emulator.onBinary((text) => mine() && link.type(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    emulator.attachCustomKeyEventHandler((event) => {
      // The page's own: the way out of the terminal.
      if (event.key === 'F6') return false;
      const copies = event.ctrlKey && event.shiftKey && event.key.toLowerCase() === 'c';
      if (copies && event.type === 'keydown' && emulator.hasSelection()) {
        event.preventDefault();
        void copyText(emulator.getSelection());
      }
      // Pasting is left to the browser.
      const pastes = event.ctrlKey && event.shiftKey && event.key.toLowerCase() === 'v';
      return !copies && !pastes;
    });
    const resized = new ResizeObserver(measure);
    resized.observe(element);
    // The emulator measures characters once; it must measure again when its font has arrived.
    void document.fonts.load(`${FONT_SIZE}px "JetBrains Mono Variable"`).then(() => {
      if (parts.current?.emulator !== emulator) return;
      const { fontFamily } = emulator.options;
      emulator.options.fontFamily = 'monospace';
      emulator.options.fontFamily = fontFamily;
      measure();
    });
    parts.current = { emulator, measure };
    onLink(id, link);
    measure();
    return () => {
      onLink(id, null);
      parts.current = null;
      resized.disconnect();
      for (const stop of stops) stop();
      link.destroy();
      emulator.dispose();
    };
  }, [id, onLink, session]);

  useEffect(() => {
    if (visible) parts.current?.measure();
  }, [visible]);

  useEffect(() => {
    if (visible && focus > 0) parts.current?.emulator.focus();
  }, [visible, focus]);

  useEffect(() => {
    parts.current?.emulator.textarea?.setAttribute('aria-label', `${label}. F6 leaves it.`);
  }, [label]);

  return (
    <div
      className="terminal-screen"
      data-testid="terminal-screen"
      data-terminal={id}
      hidden={!visible}
      ref={host}
    />
  );
}
