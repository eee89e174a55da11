/**
 * Frames that only who has the secret can read: SFrame (RFC 9605) with AES_256_GCM_SHA512_128. Pure, but for the random id of a sender.
 *
 * A frame is `clear | header | ciphertext`. What is `clear` the network needs and is authenticated as SFrame's metadata. The header has
 * the key's id (KID) and a counter. Every sender has a KID of its own and from that, as the RFC derives them, a key of its own, so no two
 * frames ever share key and nonce. The KID is 64 random bits and not the participant's id, because that one the server gives out: it
 * could give the same twice.
 */
export type Bytes = Uint8Array<ArrayBuffer>;

export const SECRET_BYTES = 32;
/** AES_256_GCM_SHA512_128 in the registry of RFC 9605. */
const SUITE = 5;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** Frames under one key, at most. After that a sender begins anew, with another KID. At 150 a second that is most of a year. */
const MOST_FRAMES = 2 ** 32;
/** How far a frame may be behind the newest of its sender. With all layers of a camera that is a quarter of a minute. */
const WINDOW = 2048;
/** Senders that are remembered. Whoever joins anew is another one. */
const MOST_SENDERS = 256;

interface Keys {
  key: CryptoKey;
  salt: Bytes;
}

const utf8 = new TextEncoder();

/** A sender's key and salt (RFC 9605, section 4.4.2). */
async function derive(secret: Bytes, kid: bigint): Promise<Keys> {
  const base = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits', 'deriveKey']);
  const expand = (what: string) => {
    const info = join(utf8.encode(`SFrame 1.0 Secret ${what} `), bytesOf(kid, 8), bytesOf(BigInt(SUITE), 2));
    return { name: 'HKDF', hash: 'SHA-512', salt: new Uint8Array(), info };
  };
  const algorithm = { name: 'AES-GCM', length: 256 };
  const key = await crypto.subtle.deriveKey(expand('key'), base, algorithm, false, ['encrypt', 'decrypt']);
  const salt = new Uint8Array(await crypto.subtle.deriveBits(expand('salt'), base, 8 * NONCE_BYTES));
  return { key, salt };
}

function parameters(keys: Keys, counter: number, header: Bytes, clear: Bytes): AesGcmParams {
  const iv = bytesOf(BigInt(counter), NONCE_BYTES);
  for (let at = 0; at < NONCE_BYTES; at += 1) iv[at] = (iv[at] ?? 0) ^ (keys.salt[at] ?? 0);
  return { name: 'AES-GCM', iv, additionalData: join(header, clear), tagLength: 8 * TAG_BYTES };
}

/** One sender, who is this page. */
export class Sealer {
  private constructor(
    private readonly keys: Keys,
    private readonly kid: bigint,
    private counter: number,
  ) {}

  static async begin(secret: Bytes, kid: bigint = randomKid(), counter = 0): Promise<Sealer> {
    return new Sealer(await derive(secret, kid), kid, counter);
  }

  get isSpent(): boolean {
    return this.counter >= MOST_FRAMES;
  }

  /** Leaves the first `clear` bytes as they are. */
  async seal(frame: Bytes, clear: number): Promise<Bytes> {
    if (this.isSpent) throw new Error('this sender has used up its key');
    const counter = this.counter;
    this.counter += 1;
    const [head, body] = [frame.slice(0, clear), frame.slice(clear)];
    const header = writeHeader(this.kid, counter);
    const sealed = await crypto.subtle.encrypt(
      parameters(this.keys, counter, header, head),
      this.keys.key,
      body,
    );
    return join(head, header, new Uint8Array(sealed));
  }
}

/** Everybody else. */
export class Opener {
  /** Those of whom a frame could be read, the oldest first. */
  private readonly senders = new Map<bigint, { keys: Keys; seen: Seen }>();

  constructor(private readonly secret: Bytes) {}

  /** The frame as it was; `null` if it is of another secret, not encrypted, changed on its way, or was there before. */
  async open(frame: Bytes, clear: number): Promise<Bytes | null> {
    const header = readHeader(frame, clear);
    if (header === null || frame.length < clear + header.length + TAG_BYTES) return null;
    const { kid, counter, length } = header;
    const known = this.senders.get(kid);
    if (known?.seen.has(counter)) return null;
    const keys = known?.keys ?? (await derive(this.secret, kid));
    const [head, body] = [frame.slice(0, clear), frame.slice(clear + length)];
    let plain: ArrayBuffer;
    try {
      const how = parameters(keys, counter, frame.slice(clear, clear + length), head);
      plain = await crypto.subtle.decrypt(how, keys.key, body);
    } catch {
      return null;
    }
    // Only now it is known that the sender exists, and that the counter is theirs.
    if (!this.remembered(kid, keys).add(counter)) return null;
    return join(head, new Uint8Array(plain));
  }

  private remembered(kid: bigint, keys: Keys): Seen {
    let sender = this.senders.get(kid);
    if (!sender) {
      sender = { keys, seen: new Seen() };
      this.senders.set(kid, sender);
      const [oldest] = this.senders.keys();
      if (this.senders.size > MOST_SENDERS && oldest !== undefined) this.senders.delete(oldest);
    }
    return sender.seen;
  }
}

/** Which counters of a sender were there. Each place holds the last that fell on it, so none is let in twice, however late. */
class Seen {
  private readonly last = new Float64Array(WINDOW).fill(-1);

  has(counter: number): boolean {
    return (this.last[counter % WINDOW] ?? -1) >= counter;
  }

  /** False if it was there already, or may have been. */
  add(counter: number): boolean {
    if (this.has(counter)) return false;
    this.last[counter % WINDOW] = counter;
    return true;
  }
}

/** The SFrame header (RFC 9605, section 4.3): one byte, and of KID and counter as many as they need. */
export function writeHeader(kid: bigint, counter: number): Bytes {
  const number = BigInt(counter);
  const part = (value: bigint) => (value < 8n ? new Uint8Array() : bytesOf(value, widthOf(value)));
  const [first, second] = [part(kid), part(number)];
  const field = (value: bigint, bytes: Bytes) =>
    bytes.length === 0 ? Number(value) : 8 | (bytes.length - 1);
  return join(new Uint8Array([(field(kid, first) << 4) | field(number, second)]), first, second);
}

export function readHeader(
  frame: Bytes,
  at: number,
): { kid: bigint; counter: number; length: number } | null {
  const config = frame[at];
  if (config === undefined) return null;
  let next = at + 1;
  const read = (field: number): bigint | null => {
    if (field < 8) return BigInt(field);
    const bytes = frame.subarray(next, next + field - 7);
    next += field - 7;
    if (next > frame.length) return null;
    return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  };
  const kid = read(config >> 4);
  const counter = read(config & 15);
  // No sender counts so far.
  if (kid === null || counter === null || counter >= MOST_FRAMES) return null;
  return { kid, counter: Number(counter), length: next - at };
}

function randomKid(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
}

function widthOf(value: bigint): number {
  return Math.ceil(value.toString(16).length / 2);
}

function bytesOf(value: bigint, width: number): Bytes {
  const bytes = new Uint8Array(width);
  for (let at = width - 1, rest = value; at >= 0; at -= 1, rest >>= 8n) bytes[at] = Number(rest & 255n);
  return bytes;
}

function join(...parts: Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
