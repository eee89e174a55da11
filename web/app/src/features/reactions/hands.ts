/**
 * Raised hands go from page to page as presence of the room, as reactions do, and stay up until they are taken down or their window leaves the
 * call. It renders nothing.
 */
import { type Readable, Store } from '../../ui/store';
import { type Hand, handsUp, type Raised, readRaised, sameHands } from './handsModel';
import type { Awareness } from './reactions';

const FIELD = 'hand';

export class Hands {
  readonly up = new Store<readonly Hand[]>([]);
  private readonly stop: () => void;

  /** `me`: the id of this page's person; `part`: its participant, while it has one. */
  constructor(
    private readonly awareness: Awareness,
    private readonly me: () => string | null,
    private readonly part: Readable<{ phase: string; me: string | null }>,
  ) {
    awareness.on('change', this.read);
    this.stop = part.subscribe(this.follow);
    this.read();
  }

  destroy(): void {
    this.awareness.off('change', this.read);
    this.stop();
  }

  raise(): void {
    const { me } = this.part.get();
    if (me !== null) this.say({ participant: me, since: Date.now() });
  }

  /** False if it was down. */
  lower(): boolean {
    const isUp = this.own() !== null;
    if (isUp) this.say(null);
    return isUp;
  }

  /** Whoever leaves wants nothing more; whoever joins anew, after a connection was lost, is somebody else to the call. */
  private follow = (): void => {
    const own = this.own();
    const { phase, me } = this.part.get();
    if (phase === 'out') this.lower();
    else if (own && me !== null && own.participant !== me) this.say({ ...own, participant: me });
  };

  private own(): Raised | null {
    return readRaised(this.awareness.getStates().get(this.awareness.clientID)?.[FIELD]);
  }

  private say(raised: Raised | null): void {
    this.awareness.setLocalStateField(FIELD, raised);
  }

  private read = (): void => {
    const up = handsUp(this.awareness.getStates(), this.awareness.clientID, this.me());
    if (!sameHands(this.up.get(), up)) this.up.set(up);
  };
}
