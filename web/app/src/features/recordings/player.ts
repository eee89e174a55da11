/**
 * Plays a replay on a screen: where it is, how fast it goes, and what must be written to get there. It has no clock and no emulator of
 * its own: whoever draws calls `tick` for each frame.
 *
 * What is drawn follows what is wanted: somebody who drags the bar about costs one way to where they end up, not each way in between.
 */
import { Store } from '../../ui/store';
import type { Replay, Size } from './cast';

export interface Screen {
  /** Empty, and so large. */
  reset: (size: Size) => void;
  resize: (size: Size) => void;
  /** Resolves when it can be seen. */
  write: (text: string) => Promise<void>;
}

export const SPEEDS = [1, 2, 4] as const;
export type Speed = (typeof SPEEDS)[number];

export interface PlayerState {
  /** Milliseconds. */
  at: number;
  playing: boolean;
  speed: Speed;
}

/** Characters that are written at once; between them the wish may change. */
const AT_ONCE = 256 * 1024;

export class Player {
  readonly state = new Store<PlayerState>({ at: 0, playing: false, speed: 1 });
  /** How many moments are on the screen. */
  private drawn = 0;
  private drawing = false;
  private gone = false;
  private frame: number | null = null;

  constructor(
    readonly replay: Replay,
    private readonly screen: Screen,
  ) {
    screen.reset(replay.size);
  }

  /** From the beginning, if it is at its end. */
  toggle(): void {
    const { at, playing } = this.state.get();
    if (!playing && at >= this.replay.length) this.seek(0);
    this.frame = null;
    this.change({ playing: !playing && this.replay.length > 0 });
  }

  seek(at: number): void {
    this.change({ at: Math.min(Math.max(0, at), this.replay.length) });
    void this.draw();
  }

  setSpeed(speed: Speed): void {
    this.change({ speed });
  }

  /** It is `now` milliseconds. */
  tick(now: number): void {
    const { at, playing, speed } = this.state.get();
    const passed = this.frame === null ? 0 : now - this.frame;
    this.frame = now;
    if (!playing) return;
    const next = at + passed * speed;
    if (next >= this.replay.length) this.change({ playing: false });
    this.seek(next);
  }

  destroy(): void {
    this.gone = true;
  }

  private change(change: Partial<PlayerState>): void {
    this.state.set({ ...this.state.get(), ...change });
  }

  /** The number of moments that are to be on the screen. */
  private wanted(): number {
    const { moments } = this.replay;
    const { at } = this.state.get();
    let [low, high] = [0, moments.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((moments[middle]?.at ?? 0) <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private async draw(): Promise<void> {
    if (this.drawing) return;
    this.drawing = true;
    for (let wanted = this.wanted(); wanted !== this.drawn && !this.gone; wanted = this.wanted()) {
      if (wanted < this.drawn) {
        this.screen.reset(this.replay.size);
        this.drawn = 0;
        continue;
      }
      let text = '';
      let size: Size | null = null;
      while (this.drawn < wanted && size === null && text.length < AT_ONCE) {
        const moment = this.replay.moments[this.drawn++];
        if (moment && 'text' in moment) text += moment.text;
        else if (moment) size = moment.size;
      }
      if (text !== '') await this.screen.write(text);
      if (size && !this.gone) this.screen.resize(size);
    }
    this.drawing = false;
  }
}
