/** Runs beside the page and sees each encoded frame of a call (encoded transforms). What becomes of it is said by `frames.ts`. */
import { Frames, type Kind } from './frames';
import type { Bytes } from './sframe';

/** From the page. */
export type ToWorker =
  | { type: 'secret'; secret: Bytes }
  | { type: 'lines'; lines: ReadonlyMap<string, string> };
/** To the page: a track can be read again, or still not. */
export interface FromWorker {
  track: string;
  isReadable: boolean;
}
/** With each transform. Lines have a name where they come in. */
export type Way = { kind: Kind; line: string | null };

/** What TypeScript's types of pages do not have. */
interface Frame {
  data: ArrayBuffer;
}
interface Transformer {
  readable: ReadableStream<Frame>;
  writable: WritableStream<Frame>;
  options: Way;
  sendKeyFrameRequest(): Promise<void>;
}
interface Scope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  onrtctransform: ((event: { transformer: Transformer }) => void) | null;
  postMessage(message: FromWorker): void;
}
const scope = self as unknown as Scope;

const frames = new Frames(
  (track, isReadable) => scope.postMessage({ track, isReadable }),
  () => performance.now(),
);

scope.onmessage = ({ data: message }) => {
  if (message.type === 'secret') frames.setSecret(message.secret);
  else frames.setLines(message.lines);
};

scope.onrtctransform = ({ transformer }) => {
  const { kind, line } = transformer.options;
  const work = async (data: Bytes): Promise<Bytes | null> => {
    if (line === null) return frames.seal(kind, data);
    const opened = await frames.open(line, kind, data);
    // Refused while one is on its way, or when the line is gone: the decoder asks by itself, too.
    if (opened?.wantsKeyframe) void transformer.sendKeyFrameRequest().catch(() => undefined);
    return opened?.frame ?? null;
  };
  const between = new TransformStream<Frame, Frame>({
    async transform(frame, controller) {
      const data = await work(new Uint8Array(frame.data)).catch(() => null);
      if (data === null) return;
      frame.data = data.buffer;
      controller.enqueue(frame);
    },
  });
  // It ends with its connection.
  transformer.readable
    .pipeThrough(between)
    .pipeTo(transformer.writable)
    .catch(() => undefined);
};
