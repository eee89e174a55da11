/** How long a guest link holds, as a number and a unit, and what the answer amounts to in words. Pure. */
import type { Access, Link, Role } from '../../api/types';

export type Unit = 'hours' | 'days';

const SECONDS: Record<Unit, number> = { hours: 3600, days: 24 * 3600 };
/** The server's bound. */
const MAX_SECONDS = 366 * SECONDS.days;
/** A link that holds this much shorter than asked was cut by its maker's own access; less is rounding. */
const CUT_MS = 60_000;

/** What somebody may hand out from here, most careful first. */
export const LINK_ROLES: readonly Role[] = ['viewer', 'commenter', 'editor'];

/** Seconds, or a sentence that says what is wrong. */
export function lifetime(count: string, unit: Unit): { seconds: number } | { problem: string } {
  const number = Number(count);
  if (count.trim() === '' || !Number.isInteger(number) || number < 1)
    return { problem: `Type a whole number of ${unit}, 1 or more.` };
  const seconds = number * SECONDS[unit];
  if (seconds > MAX_SECONDS) return { problem: 'A link holds for at most 366 days.' };
  return { seconds };
}

export interface Asked {
  role: Role;
  name: string;
  seconds: number;
}

/** What the link does. `now` is when it was made. */
export function linkWords(link: Pick<Link, 'expires'>, asked: Asked, now: number): string {
  const who = `It lets ${asked.name === '' ? 'one guest' : asked.name} in as ${asked.role}`;
  if (link.expires === null) return `${who}.`;
  const cut = link.expires < now + asked.seconds * 1000 - CUT_MS;
  return `${who} until ${moment(link.expires)}${cut ? ', when your own access ends' : ''}.`;
}

export function moment(time: number): string {
  return new Date(time).toLocaleString([], {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  });
}

/** Who can do something with the room's plain address. */
export function addressWords(access: Pick<Access, 'open'>): string {
  return access.open
    ? 'Whoever can reach this server and has this address can join under any name and edit.'
    : 'By itself it lets nobody in: it is for people who have access already.';
}
