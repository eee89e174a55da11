/**
 * This client beside Yjs in one run of Node.js: replays a recorded editing history key by key, loads the document that comes of it, and types into it.
 *
 *     scripts/build-client && node --expose-gc client-wasm/benches/replay.mjs TRACE.json.gz [ROUNDS]
 *
 * The trace has the format of the editing-traces collection. Each keystroke is a change of its own whose update is taken, as when it is sent. The two
 * take turns; what is printed are the medians and their ratio: of the processor's time for replay and load, of the slowest key in a hundred for `key`.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import * as Y from '../../web/node_modules/yjs/dist/yjs.mjs';
import { createDocument, load } from '../pkg/index.js';

const [path, rounds = '3'] = process.argv.slice(2);
if (!path) throw new Error('usage: node --expose-gc client-wasm/benches/replay.mjs TRACE.json.gz [ROUNDS]');
const trace = JSON.parse(gunzipSync(readFileSync(path)).toString());
const patches = trace.txns.flatMap((txn) => txn.patches);
await load();

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const percentile = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)];
function timed(run) {
  globalThis.gc?.();
  // The processor's time, with the collector's and the compiler's threads: others on the machine do not show in it.
  const start = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(start);
  return [(user + system) / 1000, result];
}

const subjects = {
  ours: {
    make: () => {
      const doc = createDocument();
      let bytes = 0;
      doc.on('update', ({ update }) => {
        bytes += update.length;
      });
      const text = doc.text();
      return { doc, text, state: () => doc.encodeState(), bytes: () => bytes };
    },
    load: (state) => {
      const doc = createDocument();
      doc.applyUpdate(state);
      return { doc, text: doc.text() };
    },
    end: ({ doc }) => doc.client.destroy(),
  },
  yjs: {
    make: () => {
      const doc = new Y.Doc();
      let bytes = 0;
      doc.on('update', (update) => {
        bytes += update.length;
      });
      return { doc, text: doc.getText('text'), state: () => Y.encodeStateAsUpdate(doc), bytes: () => bytes };
    },
    load: (state) => {
      const doc = new Y.Doc();
      Y.applyUpdate(doc, state);
      return { doc, text: doc.getText('text') };
    },
    end: ({ doc }) => doc.destroy(),
  },
};

const seen = { ours: { replay: [], load: [], key: [] }, yjs: { replay: [], load: [], key: [] } };
let state;
for (let round = 0; round < Number(rounds); round++) {
  for (const [name, subject] of Object.entries(subjects)) {
    const one = subject.make();
    const [ms] = timed(() => {
      for (const [at, gone, come] of patches) {
        if (gone > 0) one.text.delete(at, gone);
        if (come.length > 0) one.text.insert(at, come);
      }
    });
    assert.equal(one.text.toString(), trace.endContent, name);
    assert.ok(one.bytes() > patches.length);
    seen[name].replay.push(ms);
    state ??= one.state();
    subject.end(one);
  }
  for (const [name, subject] of Object.entries(subjects)) {
    const [ms, one] = timed(() => subject.load(state));
    assert.equal(one.text.toString(), trace.endContent, name);
    seen[name].load.push(ms);
    // One key after another, each somewhere else in the document.
    const keys = [];
    for (let key = 0; key < 2_000; key++) {
      const at = (key * 7919) % trace.endContent.length;
      const start = performance.now();
      one.text.insert(at, 'x');
      keys.push(performance.now() - start);
    }
    seen[name].key.push(percentile(keys, 0.99));
    subject.end(one);
  }
}
for (const what of ['replay', 'load', 'key']) {
  const [ours, yjs] = [median(seen.ours[what]), median(seen.yjs[what])];
  console.log(`${what}\tours ${ours.toFixed(3)} ms\tyjs ${yjs.toFixed(3)} ms\tratio ${(ours / yjs).toFixed(2)}`);
}
