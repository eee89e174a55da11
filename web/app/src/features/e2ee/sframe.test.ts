import { describe, expect, it } from 'vitest';
import { type Bytes, Opener, readHeader, Sealer, writeHeader } from './sframe';

const hex = (text: string): Bytes =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const toHex = (bytes: Bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const secret = (seed: number): Bytes => new Uint8Array(32).fill(seed);
const frame = (...bytes: number[]): Bytes => new Uint8Array(bytes);

describe('headers of SFrame', () => {
  // RFC 9605, appendix C.1.
  it('are written and read as the RFC has them', () => {
    for (const [kid, counter, header] of [
      [0n, 0, '00'],
      [0n, 7, '07'],
      [7n, 255, '78ff'],
      [8n, 0, '8008'],
      [0x123n, 0x4567, '9901234567'],
      [0xffn, 0xffff, '89ffffff'],
      [0x010000000000n, 1, 'd1010000000000'],
      [0x0000ffffffffffffn, 0x010000, 'daffffffffffff010000'],
      [0x0001000000000000n, 0xffffffff, 'eb01000000000000ffffffff'],
      [0xffffffffffffffffn, 0x01000000, 'fbffffffffffffffff01000000'],
    ] as const) {
      expect(toHex(writeHeader(kid, counter)), header).toBe(header);
      const length = header.length / 2;
      expect(readHeader(frame(9, ...hex(header), 9), 1), header).toEqual({ kid, counter, length });
    }
  });

  it('are none when they are cut short or count further than anybody does', () => {
    for (const header of ['', '08', '99012345', 'dc010000000000ffffffffff', 'ff01'])
      expect(readHeader(hex(header), 0), header).toBe(null);
  });
});

describe('frames of SFrame', () => {
  // RFC 9605, appendix C.3, AES_256_GCM_SHA512_128. Its metadata is what stays clear here.
  const base = hex('000102030405060708090a0b0c0d0e0f');
  const metadata = hex('4945544620534672616d65205747');
  const plain = hex('64726166742d696574662d736672616d652d656e63');
  const sealed = '990123456794f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279';

  it('are the ones of the RFC', async () => {
    const sealer = await Sealer.begin(base, 0x123n, 0x4567);
    const whole = frame(...metadata, ...plain);
    const out = await sealer.seal(whole, metadata.length);
    expect(toHex(out)).toBe(toHex(metadata) + sealed);
    expect(await new Opener(base).open(out, metadata.length)).toEqual(whole);
  });

  it('are read by who has the secret, whoever sent them, in whatever order', async () => {
    const opener = new Opener(secret(1));
    for (let sender = 0; sender < 3; sender += 1) {
      const sealer = await Sealer.begin(secret(1));
      const sent = await Promise.all(
        Array.from({ length: 40 }, (_, nth) => sealer.seal(frame(nth, 1, 2), 1)),
      );
      for (const one of sent.reverse()) {
        const opened = await opener.open(one, 1);
        expect(opened?.slice(1)).toEqual(frame(1, 2));
      }
    }
    const nothing = await (await Sealer.begin(secret(1))).seal(frame(), 0);
    expect(await opener.open(nothing, 0)).toEqual(frame());
  });

  it('are of one key and nonce each, also of the same contents and of pages that joined anew', async () => {
    const seen = new Set<string>();
    for (let page = 0; page < 4; page += 1) {
      const sealer = await Sealer.begin(secret(1));
      for (let nth = 0; nth < 8; nth += 1) seen.add(toHex(await sealer.seal(frame(1, 2, 3), 0)));
    }
    expect(seen.size).toBe(32);
  });

  it('are not read with another secret, nor when any bit was changed', async () => {
    const sealer = await Sealer.begin(secret(1));
    const sent = await sealer.seal(frame(0xf0, 1, 2, 3, 4), 1);
    expect(await new Opener(secret(2)).open(sent, 1)).toBe(null);
    for (let bit = 0; bit < 8 * sent.length; bit += 1) {
      const changed = sent.slice();
      const at = bit >> 3;
      changed[at] = (changed[at] ?? 0) ^ (1 << (bit & 7));
      expect(await new Opener(secret(1)).open(changed, 1), `bit ${bit}`).toBe(null);
    }
    for (let length = 0; length < sent.length; length += 1)
      expect(await new Opener(secret(1)).open(sent.slice(0, length), 1), `${length} bytes`).toBe(null);
    expect(await new Opener(secret(1)).open(frame(0xf0, 1, 2, 3, 4), 1), 'in the clear').toBe(null);
  });

  it('are read once', async () => {
    const sealer = await Sealer.begin(secret(1));
    const opener = new Opener(secret(1));
    const sent: Bytes[] = [];
    for (let nth = 0; nth < 2500; nth += 1) sent.push(await sealer.seal(frame(nth & 255), 0));
    const [first, late, last] = [sent[0], sent[600], sent[2499]];
    for (const one of [first, last, late]) expect(one && (await opener.open(one, 0))).not.toBe(null);
    for (const one of [first, last, late]) expect(one && (await opener.open(one, 0))).toBe(null);
    // Two of one kind at one time.
    const [second] = sent.slice(700, 701);
    const both = await Promise.all([second, second].map((one) => one && opener.open(one, 0)));
    expect(both.filter((one) => one !== null)).toHaveLength(1);
  });

  it('end before a counter comes twice', async () => {
    const sealer = await Sealer.begin(secret(1), 1n, 2 ** 32 - 1);
    const last = await sealer.seal(frame(1), 0);
    expect(await new Opener(secret(1)).open(last, 0)).toEqual(frame(1));
    expect(sealer.isSpent).toBe(true);
    await expect(sealer.seal(frame(1), 0)).rejects.toThrow('used up');
  });
});
