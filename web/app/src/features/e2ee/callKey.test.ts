import { describe, expect, it } from 'vitest';
import { fingerprint, keyIn, newKey, readKey, secretOf, withKey, withoutKey } from './callKey';

const ZEROS = 'A'.repeat(43);

describe('the key of a call', () => {
  it('is 256 bits, another one each time, and one text', () => {
    const [one, other] = [newKey(), newKey()];
    expect(one).not.toBe(other);
    expect(secretOf(one)).toHaveLength(32);
    expect(secretOf(ZEROS)).toEqual(new Uint8Array(32));
    for (const wrong of ['', 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}B`, `${'A'.repeat(42)}+`])
      expect(secretOf(wrong), wrong).toBe(null);
  });

  it('is found in what people paste', () => {
    for (const text of [
      ZEROS,
      ` ${ZEROS}\n`,
      `https://rooms.example/r/abc#key=${ZEROS}`,
      `https://rooms.example/r/abc#token=v4.x-y_z&key=${ZEROS}`,
    ])
      expect(readKey(text), text).toBe(ZEROS);
    for (const text of [
      '',
      'hello',
      'https://rooms.example/r/abc',
      'https://rooms.example/r/abc#key=x',
      '#key=',
    ])
      expect(readKey(text), text).toBe(null);
  });

  it('goes into a link beside the token of a guest, and out of it', () => {
    const guest = 'https://rooms.example/r/abc#token=a.b-c_d';
    const link = withKey(guest, ZEROS);
    const { hash } = new URL(link);
    expect(keyIn(hash)).toBe(ZEROS);
    expect(withoutKey(hash)).toBe('#token=a.b-c_d');
    expect(withoutKey(new URL(withKey('https://rooms.example/r/abc', ZEROS)).hash)).toBe('');
  });

  it('shows as digits that are the same for the same key alone', async () => {
    const digits = await fingerprint(ZEROS);
    expect(digits).toMatch(/^\d{5} \d{5} \d{5} \d{5}$/);
    expect(await fingerprint(ZEROS)).toBe(digits);
    const all = await Promise.all(Array.from({ length: 50 }, () => fingerprint(newKey())));
    expect(new Set([...all, digits]).size).toBe(51);
  });
});
