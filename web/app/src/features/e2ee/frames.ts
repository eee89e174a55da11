/**
 * What becomes of each frame of a call: sealed on its way out, opened on its way in, or dropped. It knows which bytes must stay clear and
 * which tracks cannot be read. Pure; `worker.ts` puts it between encoder and network.
 *
 * **Invariant:** nothing goes on as it was. A frame that cannot be sealed is not sent, one that cannot be opened is not decoded: sound
 * that cannot be read is silence, and a picture stays away.
 */
import { type Bytes, Opener, Sealer } from './sframe';

export type Kind = 'audio' | 'video';

/** How long nothing can be read before that is said, and said again. A key may be on its way. */
const PATIENCE_MS = 1000;
/** Frames that fail before it is said. */
const PATIENCE_FRAMES = 3;

/** A VP8 keyframe's tag, start code and size (RFC 6386, section 9.1): receivers read them before frames are opened. */
const KEYFRAME_HEADER = 10;
/** The server tells keyframes by the lowest bit of the first byte. */
const FRAME_HEADER = 1;

interface Track {
  isReadable: boolean;
  /** Since when and how often nothing could be read. */
  since: number;
  failed: number;
}

export interface Opened {
  frame: Bytes;
  /** Frames before this one are missing, so that it shows nothing. */
  wantsKeyframe: boolean;
}

export class Frames {
  private sealer: Promise<Sealer> | null = null;
  private opener: Opener | null = null;
  private secret: Bytes | null = null;
  /** Which line carries which track. */
  private lines: ReadonlyMap<string, string> = new Map();
  private readonly tracks = new Map<string, Track>();

  constructor(
    private readonly tell: (track: string, isReadable: boolean) => void,
    private readonly now: () => number,
  ) {}

  /** From now on this secret, and no other. */
  setSecret(secret: Bytes): void {
    this.secret = secret;
    this.sealer = Sealer.begin(secret);
    this.opener = new Opener(secret);
  }

  async seal(kind: Kind, frame: Bytes): Promise<Bytes | null> {
    let sealer = await this.sealer;
    if (sealer?.isSpent && this.secret) {
      this.sealer = Sealer.begin(this.secret);
      sealer = await this.sealer;
    }
    return sealer?.seal(frame, clearBytes(kind, frame)) ?? null;
  }

  async open(line: string, kind: Kind, frame: Bytes): Promise<Opened | null> {
    const opened = (await this.opener?.open(frame, clearBytes(kind, frame))) ?? null;
    const name = this.lines.get(line);
    const track = this.track(name ?? line);
    if (opened === null) {
      track.failed += 1;
      if (track.failed === 1) track.since = this.now();
      if (track.failed < PATIENCE_FRAMES || this.now() - track.since < PATIENCE_MS) return null;
      track.failed = 0;
      track.isReadable = false;
      if (name !== undefined) this.tell(name, false);
      return null;
    }
    const wantsKeyframe =
      kind === 'video' && !(track.isReadable && track.failed === 0) && !isKeyframe(opened);
    if (!track.isReadable && name !== undefined) this.tell(name, true);
    track.failed = 0;
    track.isReadable = true;
    return { frame: opened, wantsKeyframe };
  }

  /** All lines that carry something from now on. What could not be read of a track is remembered, for when it comes back. */
  setLines(lines: ReadonlyMap<string, string>): void {
    this.lines = lines;
    const carried = new Set(lines.values());
    for (const [name, { isReadable }] of this.tracks)
      if (isReadable && !carried.has(name)) this.tracks.delete(name);
  }

  private track(name: string): Track {
    let track = this.tracks.get(name);
    if (!track) {
      track = { isReadable: true, since: 0, failed: 0 };
      this.tracks.set(name, track);
    }
    return track;
  }
}

function isKeyframe(frame: Bytes): boolean {
  return ((frame[0] ?? 1) & 1) === 0;
}

/** How many bytes of a frame stay readable: of sound none, of VP8 as many as its first byte says, so it is the same before and after. */
export function clearBytes(kind: Kind, frame: Bytes): number {
  if (kind === 'audio') return 0;
  return isKeyframe(frame) ? KEYFRAME_HEADER : FRAME_HEADER;
}
