/** Who is in a document, from what each says of themselves. Where the server knows somebody, `user` is the server's word. Pure. */

export interface Guest {
  client: number;
  name: string;
  colour: string;
  /** The same for all windows of one person, if the server knows them. */
  id: string | null;
}

/** Readable under white text and on both backgrounds. */
const COLOURS = ['#b4431c', '#0d7466', '#6d3fd1', '#b3225f', '#1f5fc4', '#4a6f12', '#96610a', '#86309b'];

const MAX_NAME = 40;

export function readGuest(client: number, state: unknown): Guest {
  const { user } = (typeof state === 'object' && state !== null ? state : {}) as { user?: unknown };
  const { name, color, id } = (typeof user === 'object' && user !== null ? user : {}) as Record<
    string,
    unknown
  >;
  return {
    client,
    name: typeof name === 'string' && name.trim() ? name.trim().slice(0, MAX_NAME) : 'Guest',
    colour: typeof color === 'string' && /^#[0-9a-f]{6}$/i.test(color) ? color : colourOf(client),
    id: typeof id === 'string' && id ? id : null,
  };
}

export function colourOf(number: number): string {
  return COLOURS[number % COLOURS.length] as string;
}

/** A colour that nobody of these has, if there is one left; `own` if that is free. */
export function freeColour(own: string, others: Iterable<string>): string {
  const taken = new Set(others);
  if (!taken.has(own)) return own;
  return COLOURS.find((colour) => !taken.has(colour)) ?? own;
}

/** One entry for each person, and one for each window of somebody the server does not know; by name. */
export function peopleOf(states: ReadonlyMap<number, unknown>): Guest[] {
  const people = new Map<string, Guest>();
  for (const [client, state] of states) {
    // Who says nothing of themselves only looks on with another program.
    if (typeof state !== 'object' || state === null) continue;
    const guest = readGuest(client, state);
    const key = guest.id ?? `client ${client}`;
    if (!people.has(key)) people.set(key, guest);
  }
  return [...people.values()].sort((a, b) => a.name.localeCompare(b.name) || a.client - b.client);
}

/** Black or white, whichever is easier to read on `colour`. */
export function inkOn(colour: string): string {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? '#000' : '#fff';
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? '?')][0]?.toUpperCase() ?? '?').join('');
}
