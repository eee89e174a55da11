/** Colours that arrive from outside are checked before they reach a style. */

const FALLBACK = '#7a8194';

/** `color` if it is a plain hexadecimal or `hsl()`/`rgb()` colour of numbers, otherwise a neutral grey. */
export function safeColor(color: unknown): string {
  if (typeof color !== 'string') return FALLBACK;
  const hex = /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i;
  const functional = /^(?:hsl|rgb)\(\s*\d{1,3}(?:\.\d+)?(?:deg)?(?:[\s,]+\d{1,3}(?:\.\d+)?%?){2}\s*\)$/i;
  return hex.test(color) || functional.test(color) ? color : FALLBACK;
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0] ?? '?'];
  return letters.map((word) => Array.from(word ?? '?')[0]?.toUpperCase() ?? '?').join('');
}
