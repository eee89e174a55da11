import { describe, expect, it } from 'vitest';
import {
  DEFAULT_LAYOUT,
  firstBox,
  fitBox,
  layerFor,
  nextChosen,
  placesIn,
  readLayout,
  screensOf,
} from './dockModel';
import { type Participant, type Source, tiles } from './mediaModel';

function participant(id: string, ...sources: Source[]): Participant {
  return {
    id,
    person: { id, name: id, color: '#000000' },
    kind: 'person',
    tracks: sources.map((source) => ({ id: `${id}/${source}`, source, muted: false })),
    away: false,
    speaks: true,
    quality: null,
  };
}

describe('the large picture', () => {
  const me = participant('me', 'screen');
  const all = (...others: Participant[]) => tiles([...others, me], 'me');
  const bob = participant('bob', 'screen', 'camera');
  const eve = participant('eve', 'screen');
  const next = (others: Participant[], before: string[], chosen: string | null) =>
    nextChosen(all(...others), before, chosen);

  it('is a screen that somebody begins to share, never an own one', () => {
    expect(next([], [], null)).toBeNull();
    expect(next([bob], [], null)).toBe('bob/screen');
    expect(next([bob], [], 'bob/camera')).toBe('bob/screen');
    expect(screensOf(all(bob)).map(({ key }) => key)).toEqual(['bob/screen']);
  });

  it('stays while another begins, and gives its place to that when it ends', () => {
    expect(next([bob, eve], ['bob/screen'], 'bob/screen')).toBe('bob/screen');
    expect(next([participant('bob'), eve], ['bob/screen', 'eve/screen'], 'bob/screen')).toBe('eve/screen');
    expect(next([participant('bob')], ['bob/screen'], 'bob/screen')).toBeNull();
    expect(next([], ['bob/screen'], 'bob/screen')).toBeNull();
  });

  it('stays closed until another begins', () => {
    expect(next([bob], ['bob/screen'], null)).toBeNull();
    expect(next([bob, eve], ['bob/screen'], null)).toBe('eve/screen');
  });

  it('is a camera as long as that is on', () => {
    expect(next([bob], ['bob/screen'], 'bob/camera')).toBe('bob/camera');
    expect(next([participant('bob')], [], 'bob/camera')).toBeNull();
    expect(next([], [], 'bob/camera')).toBeNull();
  });
});

describe('where it stands', () => {
  it('is read back, and as at first when it is not understood', () => {
    const layout = { place: 'floating', box: { x: 1, y: 2, width: 300, height: 200 } } as const;
    expect(readLayout(JSON.stringify(layout))).toEqual(layout);
    for (const bad of [null, '', '[', '7', '{"place":"ceiling"}', '{"place":"stage","box":{"x":"1"}}'])
      expect(readLayout(bad)).toEqual(DEFAULT_LAYOUT);
  });

  it('is where there is room', () => {
    const wide = { width: 1440, height: 900 };
    expect(placesIn(wide, { width: 988, height: 580 })).toHaveLength(5);
    expect(placesIn(wide, { width: 470, height: 580 })).toEqual(['bottom', 'floating', 'stage']);
    expect(placesIn(wide, { width: 988, height: 200 })).toEqual(['left', 'right', 'floating', 'stage']);
    expect(placesIn({ width: 390, height: 844 }, { width: 150, height: 400 })).toEqual(['stage']);
    expect(placesIn({ width: 844, height: 390 }, { width: 500, height: 250 })).toEqual(['stage']);
  });

  it('stays within the window', () => {
    const window = { width: 1000, height: 700 };
    const box = { x: 900, y: -50, width: 400, height: 300 };
    expect(fitBox(box, window)).toEqual({ x: 600, y: 0, width: 400, height: 300 });
    expect(fitBox({ ...box, width: 10, height: 5000 }, window)).toMatchObject({ width: 260, height: 700 });
    expect(fitBox(box, { width: 200, height: 100 })).toEqual({ x: 0, y: 0, width: 200, height: 100 });
    const first = firstBox(window);
    expect(fitBox(first, window)).toEqual(first);
  });
});

it('asks for the layer that is next to the size it is shown in', () => {
  expect([100, 320, 400, 401, 800, 801, Number.POSITIVE_INFINITY].map(layerFor)).toEqual([
    'low',
    'low',
    'low',
    'middle',
    'middle',
    'high',
    'high',
  ]);
});
