// Makes seeded cases with the real Yjs, and holds what the gate made of them against it. `crdt/tests/yjs.rs` runs it.
//
// A case is what several people did to one document, as the updates they sent, and what Yjs has in the end. The other side delivers the
// updates in another order, twice, late and merged, and returns sequences of updates; applied to an empty document each must give the same.
//
// Frames in both directions are a length (u32, little endian) and that many bytes. Usage: node cases.mjs <first seed> <cases>
import { readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../../web/package.json', import.meta.url));
const Y = require('yjs');

/** Cases in one frame. */
const BATCH = 50;
/** Sequences of updates that come back for each case. */
const SEQUENCES = 4;
const REMOTE = 'remote';

/**
 * When an update arrives, Yjs deletes formatting that is redundant at that moment, so two documents that got the same in another order can
 * differ until they exchange those deletions too. People's documents do that here; those that are compared do not.
 */
const callObserver = Y.Text.prototype._callObserver;
Y.Text.prototype._callObserver = function (transaction, keys) {
  callObserver.call(this, transaction, keys);
  if (transaction.doc.isCompared) transaction._needFormattingCleanup = false;
};

function comparedDoc() {
  return Object.assign(new Y.Doc({ guid: 'case' }), { isCompared: true });
}

/** mulberry32: the same numbers for the same seed everywhere. */
function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit) => Math.floor(next() * limit);
  return { below, pick: (list) => list[below(list.length)], chance: (p) => next() < p };
}

const WORDS = ['a', 'bc', 'def', ' ', '\n', 'é', '😀', '👩‍👧', 'hello ', 'x'.repeat(70)];
const BYTES = new Uint8Array([0, 255]);
const VALUES = [1, -7, 2.5, 1e12, true, null, 'v', '', [1, [2]], { k: { l: 1 } }, BYTES];
/** What yrs by itself would change. */
const DELICATE = [-0, [123n], { k: -(2n ** 40n) }, [-0, { k: [5n, BYTES] }]];
const KEYS = ['k', 'l', 'm'];

/** Types of a document that can be edited, the nested ones among them. A plain document has no XML. */
function types(doc, isPlain) {
  const found = [doc.getText('text'), doc.getMap('map'), doc.getArray('array')];
  if (!isPlain) found.push(doc.getXmlFragment('xml'));
  for (let at = 1; at < found.length && found.length < 40; at++) {
    const type = found[at];
    const inner = type instanceof Y.Map ? [...type.values()] : type.toArray ? type.toArray() : [];
    found.push(...inner.filter((value) => value instanceof Y.AbstractType));
  }
  return found;
}

function nested(random) {
  switch (random.below(3)) {
    case 0:
      return new Y.Map([[random.pick(KEYS), plain(random)]]);
    case 1:
      return Y.Array.from([plain(random), plain(random)]);
    default:
      return new Y.Text(random.pick(WORDS));
  }
}

function value(random) {
  if (random.chance(0.02))
    return new Y.Doc({ guid: `sub-${random.below(1000)}`, autoLoad: random.chance(0.5) });
  return random.chance(0.3) ? nested(random) : plain(random);
}

function plain(random) {
  return random.pick(random.chance(0.1) ? DELICATE : VALUES);
}

/** Editors never cut a surrogate pair; if one is cut, Yjs itself shows different things depending on the order. */
function outsideOfPairs(units, at) {
  const isLow = at < units.length && units.charCodeAt(at) >= 0xdc00 && units.charCodeAt(at) < 0xe000;
  return isLow ? at + 1 : at;
}

function editText(random, text, isPlain) {
  const units = text
    .toDelta()
    .map(({ insert }) => (typeof insert === 'string' ? insert : ' '))
    .join('');
  const at = outsideOfPairs(units, random.below(text.length + 1));
  const len = outsideOfPairs(units, Math.min(text.length, at + 1 + random.below(6))) - at;
  switch (isPlain ? random.below(2) * 5 : random.below(8)) {
    case 0:
    case 1:
      if (len > 0) text.delete(at, len);
      break;
    case 2:
      if (len > 0) text.format(at, len, { [random.pick(['b', 'i'])]: random.pick([true, null, 'x']) });
      break;
    case 3:
      text.insertEmbed(at, random.pick([{ image: '[[{"x' }, {}]));
      break;
    case 4:
      text.insert(at, random.pick(WORDS), { b: true });
      break;
    default:
      text.insert(at, random.pick(WORDS));
  }
}

function editList(random, list, make) {
  const at = random.below(list.length + 1);
  const len = Math.min(list.length - at, 1 + random.below(3));
  if (len > 0 && random.chance(0.35)) list.delete(at, len);
  else
    list.insert(
      at,
      Array.from({ length: 1 + random.below(3) }, () => make(random)),
    );
}

function edit(random, doc, isPlain) {
  const type = random.pick(types(doc, isPlain));
  if (type instanceof Y.XmlText || type instanceof Y.Text) editText(random, type, isPlain);
  else if (type instanceof Y.Map) {
    if (random.chance(0.3)) type.delete(random.pick(KEYS));
    else type.set(random.pick(KEYS), value(random));
  } else if (type instanceof Y.XmlFragment) {
    if (type instanceof Y.XmlElement && random.chance(0.3))
      type.setAttribute(random.pick(KEYS), random.pick(WORDS));
    else
      editList(random, type, () =>
        random.chance(0.5) ? new Y.XmlElement('p') : new Y.XmlText(random.pick(WORDS)),
      );
  } else editList(random, type, value);
}

/** The updates of a case, some states that repeat them, and the document in the end. */
export function makeCase(seed) {
  const random = generator(seed);
  // Formatted text and XML are never cut into pieces.
  const isPlain = random.chance(0.3);
  const sent = [];
  const extra = [];
  const people = Array.from({ length: 2 + random.below(3) }, (_, index) => {
    const doc = new Y.Doc({ guid: 'case' });
    doc.clientID = random.chance(0.5) ? index + 1 : random.below(2 ** 31) * 4 + index;
    doc.on('update', (update, origin) => {
      if (origin !== REMOTE) sent.push(update);
    });
    const undo = new Y.UndoManager(types(doc).slice(0, 4), { captureTimeout: random.chance(0.5) ? 0 : 1e9 });
    return { doc, undo };
  });
  const steps = 3 + random.below(random.chance(0.1) ? 60 : 20);
  for (let step = 0; step < steps; step++) {
    const { doc, undo } = random.pick(people);
    const choice = random.below(12);
    if (choice < 3) {
      const other = random.pick(people).doc;
      const update = Y.encodeStateAsUpdate(other, Y.encodeStateVector(doc));
      Y.applyUpdate(doc, update, REMOTE);
      if (random.chance(0.2)) extra.push(update);
    } else if (choice === 3) {
      if (random.chance(0.7)) undo.undo();
      else undo.redo();
    } else if (choice === 4) {
      extra.push(Y.encodeStateAsUpdate(doc));
    } else if (choice < 7) {
      doc.transact(() => {
        for (let i = 0; i <= random.below(4); i++) edit(random, doc, isPlain);
      });
    } else {
      edit(random, doc, isPlain);
    }
  }
  const last = comparedDoc();
  for (const update of sent) Y.applyUpdate(last, update, REMOTE);
  for (const { doc } of people) {
    doc.destroy();
  }
  return { seed, sent, extra, wanted: content(last), exact: exact(last), vector: sortedVector(last) };
}

/** What people see, as text that is the same for equal documents. */
function content(doc) {
  const seen = (_, value) => {
    if (value instanceof Uint8Array || value instanceof Y.Doc) return null;
    if (typeof value === 'bigint') return Number(value);
    if (value && typeof value === 'object' && !Array.isArray(value) && value.constructor === Object)
      return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
    return value;
  };
  const json = (type) => JSON.parse(JSON.stringify(lists(type), seen));
  return {
    text: doc.getText('text').toString(),
    map: json(doc.getMap('map')),
    array: json(doc.getArray('array')),
    delta: doc.getText('text').toDelta(),
    // Yjs takes the letters of a format that is a string for attributes.
    xml: doc.getXmlFragment('xml').toString().replaceAll(' 0="x"', ''),
  };
}

/** As `toJSON`, but a subdocument is null. */
function lists(type) {
  if (type instanceof Y.Map)
    return Object.fromEntries([...type.entries()].map(([key, value]) => [key, lists(value)]));
  if (type instanceof Y.Array) return type.toArray().map(lists);
  if (type instanceof Y.AbstractType) return type.toString();
  return type instanceof Y.Doc ? null : type;
}

/** The values of map and array as they are, also those that JSON has not. */
function exact(doc) {
  const shown = (_, value) => {
    if (typeof value === 'bigint') return `${value}n`;
    return Object.is(value, -0) ? '-0' : value;
  };
  return JSON.parse(JSON.stringify([doc.getMap('map'), doc.getArray('array')].map(lists), shown));
}

function sortedVector(doc) {
  return [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => b - a);
}

/** JSON with the keys of all objects in order. */
function canonical(value) {
  return JSON.stringify(value, (_, part) =>
    part && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function check(made, name, updates) {
  const doc = comparedDoc();
  for (const update of updates) {
    Y.applyUpdate(doc, update, REMOTE);
    if (doc.store.pendingStructs !== null || doc.store.pendingDs !== null) {
      throw new Error(`seed ${made.seed}: ${name} has an update that Yjs cannot integrate yet`);
    }
  }
  for (const [part, wanted, found] of [
    ['content', made.wanted, content(doc)],
    ['value', made.exact, exact(doc)],
    ['state vector', made.vector, sortedVector(doc)],
  ]) {
    if (canonical(wanted) !== canonical(found)) {
      throw new Error(
        `seed ${made.seed}: ${name} has another ${part}\n${canonical(wanted)}\n${canonical(found)}`,
      );
    }
  }
  doc.destroy();
}

// --- frames ---

function writer() {
  const parts = [];
  const u32 = (value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  const bytes = (value) => {
    u32(value.length);
    parts.push(Buffer.from(value));
  };
  const list = (values) => {
    u32(values.length);
    values.forEach(bytes);
  };
  return { u32, bytes, list, done: () => Buffer.concat(parts) };
}

function writeAll(buffer) {
  for (let at = 0; at < buffer.length; ) {
    try {
      at += writeSync(1, buffer, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function readAll(len) {
  const buffer = Buffer.alloc(len);
  for (let at = 0; at < len; ) {
    try {
      const read = readSync(0, buffer, at, len - at, null);
      if (read === 0) throw new Error('the other side is gone');
      at += read;
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
  return buffer;
}

function main(first, count) {
  for (let from = first; from < first + count; from += BATCH) {
    const made = [];
    for (let seed = from; seed < Math.min(from + BATCH, first + count); seed++) made.push(makeCase(seed));
    const out = writer();
    out.u32(made.length);
    for (const one of made) {
      out.u32(one.seed);
      out.list(one.sent);
      out.list(one.extra);
      out.bytes(Buffer.from(JSON.stringify(one.wanted)));
      out.bytes(Buffer.from(JSON.stringify(one.vector)));
    }
    const frame = out.done();
    const head = Buffer.alloc(4);
    head.writeUInt32LE(frame.length);
    writeAll(head);
    writeAll(frame);

    const answer = readAll(readAll(4).readUInt32LE());
    let at = 0;
    const u32 = () => {
      at += 4;
      return answer.readUInt32LE(at - 4);
    };
    const bytes = () => {
      const len = u32();
      at += len;
      return answer.subarray(at - len, at);
    };
    for (const one of made) {
      for (let sequence = 0; sequence < SEQUENCES; sequence++) {
        const name = bytes().toString();
        check(one, name, Array.from({ length: u32() }, bytes));
      }
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(...process.argv.slice(2).map(Number));
}
