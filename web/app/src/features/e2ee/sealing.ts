/** The page's side of a call's encryption: the worker through which everything goes that is sent and arrives, and which tracks cannot be read. */
import type { Kind } from './frames';
import type { Bytes } from './sframe';
import type { FromWorker, ToWorker, Way } from './worker';

/** Can this browser do it? Where it cannot, a page does not join. Pages without HTTPS have no cryptography either. */
export function canSeal(): boolean {
  return (
    typeof RTCRtpScriptTransform === 'function' &&
    'transform' in RTCRtpSender.prototype &&
    crypto.subtle !== undefined
  );
}

/**
 * **Invariant:** whoever has one and gives it each sender before anything is negotiated sends nothing in the clear: without its worker
 * no frame goes on.
 */
export class Sealing {
  private readonly worker: Worker;

  /** `hear`: a track can be read again, or still not. `onBroken`: the worker is not there, or failed. */
  constructor(secret: Bytes, hear: (told: FromWorker) => void, onBroken: () => void) {
    this.worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    this.worker.onerror = onBroken;
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => hear(data);
    this.setSecret(secret);
  }

  setSecret(secret: Bytes): void {
    this.say({ type: 'secret', secret });
  }

  seal(sender: RTCRtpSender, kind: Kind): void {
    sender.transform = this.transform({ kind, line: null });
  }

  /** Once for each line; again it does nothing. */
  open(receiver: RTCRtpReceiver, line: string): void {
    receiver.transform ??= this.transform({
      kind: receiver.track.kind === 'audio' ? 'audio' : 'video',
      line,
    });
  }

  /** Which line carries which track from now on. */
  setLines(lines: ReadonlyMap<string, string>): void {
    this.say({ type: 'lines', lines });
  }

  close(): void {
    this.worker.terminate();
  }

  private transform(way: Way): RTCRtpScriptTransform {
    return new RTCRtpScriptTransform(this.worker, way);
  }

  private say(message: ToWorker): void {
    this.worker.postMessage(message);
  }
}
