import { expect, it } from 'vitest';
import { fitting, scrollAfter, zoomIn, zoomOut, zoomWords } from './zoomModel';

it('fits a picture into its pane by its longer side', () => {
  expect(fitting({ width: 1920, height: 1080 }, { width: 960, height: 1000 })).toBe(0.5);
  expect(fitting({ width: 1000, height: 1000 }, { width: 900, height: 250 })).toBe(0.25);
  expect(fitting({ width: 0, height: 0 }, { width: 900, height: 250 })).toBe(1);
});

it('goes up by steps from what fits, and back to what fits', () => {
  expect([zoomIn(null, 0.4), zoomIn(0.5, 0.4), zoomIn(1, 0.4), zoomIn(4, 0.4)]).toEqual([0.5, 0.75, 1.5, 4]);
  // As large as a step already: the next one.
  expect(zoomIn(null, 0.5)).toBe(0.75);
  // So large that no step is larger.
  expect(zoomIn(null, 5)).toBeNull();
  expect([zoomOut(1, 0.4), zoomOut(0.5, 0.4), zoomOut(null, 0.4), zoomOut(1, 2)]).toEqual([
    0.75,
    null,
    null,
    null,
  ]);
});

it('keeps what one looks at where it is', () => {
  // In the middle of a picture as large as its pane, which doubles.
  expect(scrollAfter({ scroll: 0, at: 50, pane: 100 }, 100, 200)).toBe(50);
  // At the left edge.
  expect(scrollAfter({ scroll: 0, at: 0, pane: 100 }, 100, 200)).toBe(0);
  // A smaller picture stands in the middle of the pane.
  expect(scrollAfter({ scroll: 0, at: 50, pane: 100 }, 60, 300)).toBe(100);
  expect(scrollAfter({ scroll: 100, at: 50, pane: 100 }, 300, 60)).toBe(0);
});

it('says how large that is', () => {
  expect([zoomWords(null), zoomWords(0.75)]).toEqual(['Fit', '75 %']);
});
