/** The key of a room's calls as text: in a link's fragment, which browsers send to nobody, pasted, and as digits that people compare. */
import { type Bytes, SECRET_BYTES } from './sframe';

/** 32 bytes in base64url, without padding. */
const PATTERN = /^[A-Za-z0-9_-]{43}$/;
const FIELD = 'key';
const GROUPS = 4;

export function newKey(): string {
  return keyOf(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
}

function keyOf(secret: Bytes): string {
  const text = btoa(String.fromCharCode(...secret));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** `null` if it is none. */
export function secretOf(key: string): Bytes | null {
  if (!PATTERN.test(key)) return null;
  const text = atob(key.replaceAll('-', '+').replaceAll('_', '/'));
  const secret = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  // The last letter has bits to spare: one key is one text.
  return keyOf(secret) === key ? secret : null;
}

/** The key in what somebody pasted, which is the key or a link that has it. */
export function readKey(text: string): string | null {
  const [, fragment] = text.trim().split('#', 2);
  const key = fragment === undefined ? text.trim() : keyIn(fragment);
  return key !== null && secretOf(key) ? key : null;
}

export function keyIn(hash: string): string | null {
  const key = new URLSearchParams(hash.replace(/^#/, '')).get(FIELD);
  return key !== null && secretOf(key) ? key : null;
}

/** The fragment without its key. */
export function withoutKey(hash: string): string {
  const fields = new URLSearchParams(hash.replace(/^#/, ''));
  fields.delete(FIELD);
  const rest = fields.toString();
  return rest === '' ? '' : `#${rest}`;
}

/** A link that brings the key along. */
export function withKey(url: string, key: string): string {
  return `${url}${url.includes('#') ? '&' : '#'}${FIELD}=${key}`;
}

/** Twenty digits that are the same for all who have the same key, and tell nothing of it: 66 bits, so that no other key can be found for them. */
export async function fingerprint(key: string): Promise<string> {
  const secret = secretOf(key);
  if (!secret) return '';
  const base = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode('BuildSpaces call fingerprint');
  const how = { name: 'HKDF', hash: 'SHA-512', salt: new Uint8Array(), info };
  const words = new Uint32Array(await crypto.subtle.deriveBits(how, base, 64 * GROUPS));
  const group = (nth: number) =>
    ((words[2 * nth] ?? 0) * 2 ** 21 + ((words[2 * nth + 1] ?? 0) >>> 11)) % 100_000;
  return Array.from({ length: GROUPS }, (_, nth) => String(group(nth)).padStart(5, '0')).join(' ');
}
