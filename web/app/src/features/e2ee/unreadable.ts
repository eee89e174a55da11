/** Tracks of a call that cannot be decrypted. Pure, but for a timer. */
import { Store } from '../../ui/store';

/**
 * How long nothing is asked of a picture that cannot be read before it is tried again. Meanwhile its sender makes no keyframes for
 * somebody who cannot use them: each goes to everybody.
 */
const REST_MS = 10_000;

/** Ids of tracks, `<participant>/<source>`. */
export class Unreadable extends Store<ReadonlySet<string>> {
  private readonly resting = new Map<string, ReturnType<typeof setTimeout>>();

  /** `onRest`: what is wanted may be different. */
  constructor(private readonly onRest: () => void) {
    super(new Set());
  }

  mark(track: string, isReadable: boolean): void {
    const tracks = new Set(this.get());
    if (isReadable) tracks.delete(track);
    else tracks.add(track);
    if (tracks.size !== this.get().size) this.set(tracks);
    if (isReadable) {
      // Whoever can be heard again can be seen again.
      const [of] = track.split('/', 1);
      this.wake((resting) => resting.startsWith(`${of}/`));
    } else {
      clearTimeout(this.resting.get(track));
      this.resting.set(
        track,
        setTimeout(() => this.wake((resting) => resting === track), REST_MS),
      );
      this.onRest();
    }
  }

  /** All may be readable, by another key or after another beginning. */
  clear(): void {
    if (this.get().size > 0) this.set(new Set());
    this.wake(() => true);
  }

  /** What is to be sent of what is shown. */
  without<Layer>(shown: ReadonlyMap<string, Layer | null>): Map<string, Layer | null> {
    return new Map([...shown].map(([track, layer]) => [track, this.resting.has(track) ? null : layer]));
  }

  private wake(is: (track: string) => boolean): void {
    const woken = [...this.resting].filter(([track]) => is(track));
    for (const [track, timer] of woken) {
      clearTimeout(timer);
      this.resting.delete(track);
    }
    if (woken.length > 0) this.onRest();
  }
}
