import { describe, expect, it } from 'vitest';
import * as Y from 'yjs';
import { FakeModel } from './fakeModel';
import { normalised } from './lineEnds';
import { TextBinding } from './textBinding';

/** Two people with one document each and a lossless link that delivers when told to. */
function pair(text: string) {
  const one = peer();
  const two = peer();
  one.text.insert(0, text);
  Y.applyUpdate(two.doc, Y.encodeStateAsUpdate(one.doc));
  const toOne: Uint8Array[] = [];
  const toTwo: Uint8Array[] = [];
  one.doc.on('update', (update: Uint8Array, origin: unknown) => origin !== 'link' && toTwo.push(update));
  two.doc.on('update', (update: Uint8Array, origin: unknown) => origin !== 'link' && toOne.push(update));
  one.bind();
  two.bind();
  const deliver = () => {
    while (toOne.length + toTwo.length > 0) {
      for (const update of toOne.splice(0)) Y.applyUpdate(one.doc, update, 'link');
      for (const update of toTwo.splice(0)) Y.applyUpdate(two.doc, update, 'link');
    }
  };
  return { one, two, deliver };
}

function peer() {
  const doc = new Y.Doc();
  const text = doc.getText('text');
  const model = new FakeModel();
  const self = { doc, text, model, binding: null as TextBinding | null, bind: () => {} };
  self.bind = () => {
    self.binding = new TextBinding(text, model.bound);
  };
  return self;
}

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function typeSomewhere(model: FakeModel, next: (below: number) => number, pieces: string[]): void {
  const length = model.getValueLength();
  const changes = [];
  for (let at = next(length + 1); at <= length && changes.length < 3; at += 1 + next(5)) {
    const take = Math.min(next(3), length - at);
    changes.push({ offset: at, length: take, text: pieces[next(pieces.length)] ?? '' });
    at += take;
  }
  model.type(...changes);
}

describe('TextBinding', () => {
  it('makes computed edits one step that undo takes back, and leaves what others do meanwhile', () => {
    const { one, two, deliver } = pair('one\ntwo\n');
    one.model.type({ offset: 0, length: 0, text: 'typed ' });
    one.binding?.edit([
      { from: 0, to: 6, text: '' },
      { from: 10, to: 13, text: '2' },
    ]);
    expect(one.model.getValue()).toBe('one\n2\n');
    two.model.type({ offset: 8, length: 0, text: '# bo\n' });
    deliver();
    expect([one.model.getValue(), two.model.getValue()]).toEqual(['one\n2\n# bo\n', 'one\n2\n# bo\n']);
    one.model.undo?.();
    deliver();
    expect(one.model.getValue()).toBe('typed one\ntwo\n# bo\n');
    one.model.undo?.();
    deliver();
    expect(two.model.getValue()).toBe('one\ntwo\n# bo\n');
  });

  it('shows the document in the model and writes typing into the document', () => {
    const { one, two, deliver } = pair('hello');
    expect(one.model.getValue()).toBe('hello');
    one.model.type({ offset: 5, length: 0, text: ' world' });
    deliver();
    expect(two.model.getValue()).toBe('hello world');
  });

  it.each([
    ['LF', 'alpha\nbeta\n\ngamma'],
    ['CRLF', 'alpha\r\nbeta\r\n\r\ngamma'],
    ['mixed line ends', 'alpha\r\nbeta\n\rgamma\r'],
  ])('converges for random concurrent multi-cursor edits of %s text', (_name, start) => {
    for (let seed = 1; seed <= 80; seed++) {
      const next = random(seed);
      const { one, two, deliver } = pair(start);
      for (let step = 0; step < 40; step++) {
        typeSomewhere(next(2) ? one.model : two.model, next, ['', 'x', 'yy\nz', '\n', 'é']);
        if (next(5) < 2) deliver();
      }
      deliver();
      const text = one.text.toString();
      expect(two.text.toString(), `seed ${seed}`).toBe(text);
      expect(one.model.getValue(), `seed ${seed}`).toBe(normalised(text));
      expect(two.model.getValue(), `seed ${seed}`).toBe(normalised(text));
    }
  });

  it('keeps CRLF in the document when a line is added', () => {
    const { one } = pair('a\r\nb\r\n');
    one.model.type({ offset: 1, length: 0, text: '\nnew' });
    expect(one.text.toString()).toBe('a\r\nnew\r\nb\r\n');
  });

  it('follows a change of all line ends by a program', () => {
    const { one, two, deliver } = pair('a\nb\n');
    two.doc.transact(() => {
      two.text.delete(0, two.text.length);
      two.text.insert(0, 'a\r\nb\r\n');
    });
    deliver();
    expect(one.model.getValue()).toBe('a\nb\n');
    one.model.type({ offset: 4, length: 0, text: 'c\n' });
    expect(one.text.toString()).toBe('a\r\nb\r\nc\r\n');
  });

  it('undoes only what was typed here, whatever others typed meanwhile', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed);
      const { one, two, deliver } = pair('\n\n');
      let others = 0;
      for (let step = 0; step < 60; step++) {
        const mine = next(2) === 0;
        const { model, binding } = mine ? one : two;
        binding?.endUndoGroup();
        model.type({ offset: next(model.getValueLength() + 1), length: 0, text: mine ? 'a' : 'b' });
        if (!mine) others++;
        if (next(5) < 3) deliver();
      }
      deliver();
      while (one.model.canUndo?.()) {
        one.model.undo?.();
        deliver();
      }
      expect(one.text.toString().replaceAll('\n', ''), `seed ${seed}`).toBe('b'.repeat(others));
      expect(two.model.getValue()).toBe(one.text.toString());
    }
  });

  it('redoes, and says where the text changed', () => {
    const { one } = pair('one two');
    const places: number[] = [];
    if (one.binding) one.binding.onUndone = (offset) => places.push(offset);
    one.model.type({ offset: 3, length: 0, text: ' and' });
    one.model.undo?.();
    expect(one.model.getValue()).toBe('one two');
    one.model.redo?.();
    expect(one.model.getValue()).toBe('one and two');
    expect(places).toEqual([3, 7]);
  });

  it('leaves both alone after dispose', () => {
    const { one, two, deliver } = pair('x');
    one.binding?.dispose();
    two.model.type({ offset: 1, length: 0, text: 'y' });
    deliver();
    expect(one.text.toString()).toBe('xy');
    expect(one.model.getValue()).toBe('x');
    expect(one.model.undo).toBeUndefined();
  });
});
