/**
 * Yjs' relative positions as bytes, which the client has, and as JSON, which travels in presence: the room's own page and others' editors write and read it. Pure.
 *
 * Source: `yjs/src/utils/RelativePosition.js`. What others send may be anything; what cannot be read is `null`.
 */

interface Id {
  client: number;
  clock: number;
}

export interface PositionJson {
  type?: Id;
  tname?: string;
  item?: Id;
  assoc?: number;
}

const [ITEM, NAME, TYPE] = [0, 1, 2];

/** Longest name of a type that is read. */
const MAX_NAME = 1024;

export function toJson(bytes: Uint8Array): PositionJson | null {
  let at = 0;
  const number = (): number => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined || factor > 2 ** 53) throw new RangeError('the position ends too early');
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  };
  const id = (): Id => ({ client: number(), clock: number() });
  try {
    const json: PositionJson = {};
    const tag = number();
    if (tag === ITEM) json.item = id();
    else if (tag === TYPE) json.type = id();
    else if (tag === NAME) {
      const length = number();
      json.tname = new TextDecoder().decode(bytes.subarray(at, at + length));
      at += length;
    } else return null;
    const last = bytes[at];
    // A signed number: the seventh bit is the sign. Only 0 and -1 are written.
    json.assoc = last === undefined || last === 0 ? 0 : last & 0x40 ? -1 : 1;
    return json;
  } catch {
    return null;
  }
}

export function fromJson(json: unknown): Uint8Array | null {
  if (typeof json !== 'object' || json === null) return null;
  const { type, tname, item, assoc = 0 } = json as PositionJson;
  const out: number[] = [];
  const number = (value: number): void => {
    for (; value > 127; value = Math.floor(value / 128)) out.push(128 | (value % 128));
    out.push(value);
  };
  const id = (tag: number, { client, clock }: Id): boolean => {
    if (![client, clock].every((part) => Number.isSafeInteger(part) && part >= 0)) return false;
    for (const part of [tag, client, clock]) number(part);
    return true;
  };
  if (isId(item)) {
    if (!id(ITEM, item)) return null;
  } else if (typeof tname === 'string' && tname.length <= MAX_NAME) {
    const name = new TextEncoder().encode(tname);
    number(NAME);
    number(name.length);
    out.push(...name);
  } else if (isId(type)) {
    if (!id(TYPE, type)) return null;
  } else return null;
  out.push(typeof assoc === 'number' && assoc < 0 ? 0x41 : 0);
  return Uint8Array.from(out);
}

const isId = (value: unknown): value is Id => typeof value === 'object' && value !== null;
