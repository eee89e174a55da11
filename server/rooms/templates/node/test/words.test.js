import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import test from 'node:test';

import { countWords, words } from '../src/words.js';

test('a text without words has none', () => {
  assert.deepEqual(words(' … 42 '), []);
});

test('words are found in any language', () => {
  assert.deepEqual(words("Don't panic, Jürgen!"), ["don't", 'panic', 'jürgen']);
});

test('the most frequent word comes first', () => {
  assert.deepEqual(countWords('to be or not to be'), [['be', 2], ['to', 2], ['not', 1], ['or', 1]]);
});

test('a report is written to a file', () => {
  writeFileSync('report.json', `${JSON.stringify(countWords('to be or not to be'), null, 2)}\n`);
});
