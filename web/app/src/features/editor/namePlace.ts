/** Where a name beside somebody's caret covers no text. Pure. */

export type NamePlace = 'above' | 'below' | 'end';

/** A name's letters are narrower than the code's, and it has some room around it. */
const AROUND_COLUMNS = 2;

/**
 * Above or below the caret if the line there has no text where the name would stand, otherwise behind the end of the caret's own line.
 * `above` and `below` are those lines' texts, `null` where there is none; `column` counts from 1.
 */
export function namePlace(
  above: string | null,
  below: string | null,
  column: number,
  name: string,
): NamePlace {
  const free = (line: string | null) =>
    line !== null && line.slice(column - 1, column - 1 + name.length + AROUND_COLUMNS).trim() === '';
  if (free(above)) return 'above';
  if (free(below)) return 'below';
  return 'end';
}
