// Writes the inputs with which fuzzing begins: updates of the real Yjs, and frames around them. Usage: node seeds.mjs
import { mkdirSync, writeFileSync } from 'node:fs';
import { makeCase } from '../tests/yjs/cases.mjs';

const write = (target, name, bytes) => {
  const folder = new URL(`seeds/${target}/`, import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(name, folder), Buffer.from(bytes));
};
const sized = (update) => [update.length & 255, update.length >> 8, ...update];

let written = 0;
for (let seed = 1; written < 8; seed++) {
  const updates = makeCase(seed).sent;
  const size = updates.reduce((sum, update) => sum + update.length, 0);
  if (size < 150 || size > 450) continue;
  written++;
  write('update_gate', `yjs-${seed}`, [0, ...updates.flatMap(sized)]);
  write('merge_split', `yjs-${seed}`, [60, 0, ...updates.flatMap(sized)]);
}
const update = makeCase(1).sent[0];
for (const [name, frame] of Object.entries({
  'step-1': [0, 0, 1, 0],
  'step-2': [0, 1, update.length, ...update],
  update: [0, 2, update.length, ...update],
  'save-status': [102, 1, 0],
  awareness: [1, 8, 1, 5, 1, 4, ...Buffer.from('null')],
})) {
  write('protocol_decode', name, frame);
}
for (const [name, vector] of Object.entries({ nothing: [0], some: [2, 3, 5, 1, 2] })) {
  write('state_vector', name, [...sized(vector), 1, 1, 1, 0, 4, 0, 0, 9, 2, 0, 0, 1]);
}
write('awareness_decode', 'one', [1, 5, 1, 16, ...Buffer.from('{"user":{"a":1}}')]);
write('awareness_decode', 'gone', [1, 5, 2, 4, ...Buffer.from('null')]);
