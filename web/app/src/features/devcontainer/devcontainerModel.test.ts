import { describe, expect, it } from 'vitest';
import { fileName, portRows, readDevcontainer, sameDevcontainer } from './devcontainerModel';

const VALUE = {
  path: '.devcontainer/devcontainer.json',
  image: 'team/node:20',
  setup: ['postCreateCommand'],
  ports: [
    { port: 3000, label: 'Site', expected: true },
    { port: 8080, label: 'API', expected: false },
  ],
  notices: [
    { key: 'privileged', message: 'It is not granted.' },
    { key: null, message: 'There is more.' },
  ],
};

describe('what the sandbox was made by', () => {
  it('is read as the server tells it', () => {
    const read = readDevcontainer(VALUE);
    expect(read).toEqual(VALUE);
    expect(read && fileName(read)).toBe('devcontainer.json');
    expect(sameDevcontainer(read, readDevcontainer(structuredClone(VALUE)))).toBe(true);
    expect(sameDevcontainer(read, null)).toBe(false);
  });

  it('is nothing where the server tells nothing, and what is of no use is left out', () => {
    for (const nothing of [undefined, null, {}, 'x', [], { path: 7 }])
      expect(readDevcontainer(nothing)).toBeNull();
    expect(
      readDevcontainer({
        path: 'p',
        ports: [null, { port: 0 }, 7],
        notices: [{}, 'x'],
        image: 3,
        setup: 'x',
      }),
    ).toEqual({ path: 'p', image: null, setup: [], ports: [], notices: [] });
  });
});

describe('the list of ports', () => {
  it('has those that listen and those that are expected, with their names', () => {
    expect(portRows([8080, 5000], readDevcontainer(VALUE))).toEqual([
      { port: 3000, label: 'Site', listening: false },
      { port: 5000, label: null, listening: true },
      { port: 8080, label: 'API', listening: true },
    ]);
    expect(portRows([5000], null)).toEqual([{ port: 5000, label: null, listening: true }]);
  });
});
