/** Yjs clients without a browser: the npm packages that other people use, and what the tests read documents with. */
import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import WebSocketPolyfill from 'ws';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';
import { until } from './wait.mjs';

const MESSAGE_SAVED = 102;

/** One open document with y-websocket 3.0. `api` is the person; `null` connects without a session. */
export class Client {
  constructor(url, name, api, options = {}) {
    this.doc = new Y.Doc();
    this.text = this.doc.getText('text');
    this.acknowledged = 0;
    this.closes = [];
    this.provider = new WebsocketProvider(`${url.replace(/^http/, 'ws')}/yjs`, name, this.doc, {
      WebSocketPolyfill,
      disableBc: true,
      params: api ? { token: api.token } : {},
      maxBackoffTime: 500,
      ...options,
    });
    this.provider.messageHandlers[MESSAGE_SAVED] = (_encoder, decoder) => {
      const payload = decoding.createDecoder(decoding.readVarUint8Array(decoder));
      this.acknowledged = Math.max(this.acknowledged, decoding.readVarUint(payload));
    };
    this.provider.on('connection-close', (event) =>
      this.closes.push({ code: event?.code, reason: event?.reason }),
    );
  }

  get awareness() {
    return this.provider.awareness;
  }

  synced() {
    return until('a client to be in sync', () => this.provider.synced);
  }

  /** Asks to be told when all that was sent so far is saved. The answer appears in `acknowledged`. */
  askWhetherSaved(number) {
    const payload = encoding.createEncoder();
    encoding.writeVarUint(payload, number);
    const message = encoding.createEncoder();
    encoding.writeVarUint(message, MESSAGE_SAVED);
    encoding.writeVarUint8Array(message, encoding.toUint8Array(payload));
    const socket = this.provider.ws;
    if (socket?.readyState === 1) socket.send(encoding.toUint8Array(message));
  }

  destroy() {
    this.provider.destroy();
    this.awareness.destroy();
    this.doc.destroy();
  }
}

/** Opens a document, waits until it is there, gives it to `read`, and closes it again. */
export async function look(api, name, read) {
  const client = new Client(api.url, name, api);
  try {
    await client.synced();
    return await read(client);
  } finally {
    client.destroy();
  }
}

/** The room's tree as `path -> node`. */
export function pathsOf(nodes) {
  const all = nodes.toJSON();
  const path = (node) => (node.parent ? `${path(all[node.parent])}/${node.name}` : node.name);
  return new Map(Object.values(all).map((node) => [path(node), node]));
}

/** `path -> node`, read from the projected tree. */
export const treeOf = (api, room) =>
  look(api, `${room}/tree:main`, ({ doc }) => pathsOf(doc.getMap('nodes')));

/** The text of a file as the server has it. */
export async function textOf(api, room, path) {
  const node = (await treeOf(api, room)).get(path);
  if (!node) throw new Error(`there is no ${path}`);
  return look(api, `${room}/file:${node.id}`, ({ text }) => text.toString());
}

/** Replaces a file's text from outside, as one edit of one person, and waits until it is on disk. */
export async function write(api, room, path, text) {
  const node = (await treeOf(api, room)).get(path);
  if (!node) throw new Error(`there is no ${path}`);
  await look(api, `${room}/file:${node.id}`, async (client) => {
    client.doc.transact(() => {
      client.text.delete(0, client.text.length);
      client.text.insert(0, text);
    });
    client.askWhetherSaved(1);
    await until(`${path} to be saved`, () => client.acknowledged >= 1);
  });
}

/** Waits until a run is over, and returns it. */
export async function runEnded(api, room, run, ms = 60_000) {
  return until(
    `run ${run} to end`,
    async () => {
      const found = (await api.runs(room)).find((r) => r.id === run);
      return found && !['queued', 'running'].includes(found.state) && found;
    },
    ms,
  );
}

/** A Python file with one test whose body is these lines. */
export function pythonTest(...body) {
  const lines = body.map((line) => `        ${line}\n`).join('');
  return `import time, unittest\nfrom pathlib import Path\n\n\nclass Test(unittest.TestCase):\n    def test_it(self):\n${lines}`;
}

/** A generator of numbers below 1 that repeats for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
