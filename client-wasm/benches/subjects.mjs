/**
 * What is measured, of this client and of Yjs in the same way: in Node.js and in a page. `compare.mjs` is how to run it.
 *
 * `clock` gives milliseconds: in Node.js the processor's, with the collector's and the compiler's threads, so that others on the machine do not show;
 * in a page there are only those on the wall.
 */

/** The two, by what a page or a program imports of them. */
export function subjects({ Y, createDocument }) {
  return {
    ours: {
      make() {
        const doc = createDocument();
        const made = { doc, text: doc.text(), bytes: 0, state: () => doc.encodeState(), end: () => doc.client.destroy() };
        doc.on('update', ({ update }) => {
          made.bytes += update.length;
        });
        return made;
      },
      load(state) {
        const doc = createDocument();
        doc.applyUpdate(state);
        return { doc, text: doc.text(), end: () => doc.client.destroy() };
      },
    },
    yjs: {
      make() {
        const doc = new Y.Doc();
        const made = { doc, text: doc.getText('text'), bytes: 0, state: () => Y.encodeStateAsUpdate(doc), end: () => doc.destroy() };
        doc.on('update', (update) => {
          made.bytes += update.length;
        });
        return made;
      },
      load(state) {
        const doc = new Y.Doc();
        Y.applyUpdate(doc, state);
        return { doc, text: doc.getText('text'), end: () => doc.destroy() };
      },
    },
  };
}

const assert = (holds, what) => {
  if (!holds) throw new Error(what);
};
const sorted = (values) => values.sort((a, b) => a - b);
export const median = (values) => sorted(values)[Math.floor(values.length / 2)];
const percentile = (values, share) => sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))];

/** Each keystroke is a change of its own, whose update is taken as when it is sent. */
export function replay(subject, trace, clock) {
  const one = subject.make();
  const start = clock();
  for (const [at, gone, come] of trace.patches) {
    if (gone > 0) one.text.delete(at, gone);
    if (come.length > 0) one.text.insert(at, come);
  }
  const ms = clock() - start;
  assert(one.text.toString() === trace.endContent, 'the replay ended with another text');
  assert(one.bytes > trace.patches.length, 'no updates were written');
  const state = one.state();
  one.end();
  return { ms, state };
}

export function load(subject, state, length, clock) {
  const start = clock();
  const one = subject.load(state);
  const ms = clock() - start;
  assert(one.text.length === length, 'what was loaded is another text');
  one.end();
  return ms;
}

/** Keys in a document that was just loaded, each on the wall's clock: somewhere else each time, or on and on at one place. */
export function keys(subject, state, where) {
  const one = subject.load(state);
  const { length } = one.text;
  const taken = [];
  for (let key = 0; key < 3_000; key++) {
    const at = where === 'anywhere' ? (key * 7919) % length : Math.floor(length / 2) + key;
    const start = performance.now();
    one.text.insert(at, 'x');
    taken.push(performance.now() - start);
  }
  assert(one.text.length === length + taken.length, 'keys are missing');
  one.end();
  return { p50: percentile(taken, 0.5), p99: percentile(taken, 0.99), max: percentile(taken, 1) };
}

/** A text of a megabyte that came about in 20,000 pieces, each at a place that a seed decides. */
export function megabyte(Y) {
  const doc = new Y.Doc();
  doc.clientID = 1;
  const text = doc.getText('text');
  let seed = 1;
  for (let piece = 0; piece < 20_000; piece++) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    text.insert(seed % (text.length + 1), `${piece}`.padEnd(52, 'abc def '));
  }
  return Y.encodeStateAsUpdate(doc);
}

/** All of it, in turns. Returns medians by row. */
export function measure(both, { trace, big, rounds, clock, collect }) {
  const seen = {};
  const note = (row, name, value) => {
    seen[row] ??= {};
    seen[row][name] ??= [];
    seen[row][name].push(value);
  };
  let state;
  for (let round = 0; round < rounds; round++) {
    for (const [name, subject] of Object.entries(both)) {
      collect();
      const replayed = replay(subject, trace, clock);
      state ??= replayed.state;
      note('replay', name, replayed.ms);
    }
    for (const [name, subject] of Object.entries(both)) {
      collect();
      note('load', name, load(subject, state, trace.endContent.length, clock));
    }
    for (const where of ['anywhere', 'onward']) {
      for (const [name, subject] of Object.entries(both)) {
        collect();
        const { p50, p99, max } = keys(subject, big, where);
        note(`key ${where}, p50`, name, p50);
        note(`key ${where}, p99`, name, p99);
        note(`key ${where}, slowest`, name, max);
      }
    }
  }
  const rows = Object.entries(seen).map(([row, by]) => [row, Object.fromEntries(Object.entries(by).map(([name, all]) => [name, median(all)]))]);
  return { rows: Object.fromEntries(rows), state };
}
