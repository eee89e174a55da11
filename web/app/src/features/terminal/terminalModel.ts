/** What the server says of terminals: the room's list in the `runs:main` document, and the texts of a terminal's socket. Pure. */
import type { Terminal } from '../../api/types';

export interface Looking {
  viewer: string;
  person: string;
  name: string;
}

/** Everything about a terminal but what it shows; the server sends it whole whenever it changes. */
export interface Status {
  you: string;
  state: 'starting' | 'running' | 'ended';
  /** What the sandbox is doing while the terminal starts. */
  phase: string | null;
  /** Since when, and what it did before. */
  since?: number | null;
  done?: readonly { phase: string; took: number }[];
  /** Why it ended. */
  message: string | null;
  rows: number;
  cols: number;
  /** `viewer` is null while it is kept for somebody who has left. */
  keyboard: { viewer: string | null; person: string; name: string } | null;
  asking: readonly Looking[];
  viewers: readonly Looking[];
  /** What it shows is kept. */
  recorded: boolean;
  may_type: boolean;
  may_take: boolean;
  /** Bytes of what was typed here that were lost. */
  cut: number;
}

export type FromServer =
  | { type: 'continue'; offset: number }
  | { type: 'reset'; offset: number; bytes: number }
  | ({ type: 'state' } & Status);

export type ToServer =
  | { type: 'size'; rows: number; cols: number }
  | { type: 'shown'; offset: number }
  | { type: 'ask' }
  | { type: 'withdraw' }
  | { type: 'give'; to: string }
  | { type: 'decline'; to: string }
  | { type: 'take' };

const STATES: readonly string[] = ['starting', 'running', 'ended'] satisfies Terminal['state'][];

/** The room's terminals, oldest first. */
export function readTerminals(value: unknown): Terminal[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item): item is Terminal => {
    const terminal = item as Terminal | null;
    return typeof terminal?.id === 'string' && STATES.includes(terminal.state);
  });
}

/** A text of the server's; `null` for one that this page does not know. */
export function readText(text: string): FromServer | null {
  try {
    const message = JSON.parse(text) as FromServer;
    return ['continue', 'reset', 'state'].includes(message.type) ? message : null;
  } catch {
    return null;
  }
}

export function holds(status: Status | null): boolean {
  return status?.state === 'running' && status.keyboard?.viewer === status.you;
}

export function asks(status: Status | null): boolean {
  return status?.asking.some((looking) => looking.viewer === status.you) ?? false;
}

/** The keyboard in a few words, for the person who reads this page. */
export function keyboardWords(status: Status, me: string | undefined): string {
  const { keyboard } = status;
  if (keyboard === null) return 'Nobody has the keyboard';
  if (keyboard.viewer === status.you) return 'You have the keyboard';
  const who = keyboard.person === me ? 'You' : keyboard.name;
  if (keyboard.viewer === null)
    return who === 'You' ? 'The keyboard is kept for you' : `The keyboard is kept for ${who}`;
  return who === 'You' ? 'You have the keyboard in another window' : `${who} has the keyboard`;
}
