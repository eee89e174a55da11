/**
 * Which names a file or folder may have, told while the person types. It mirrors the server's rules so that most mistakes are
 * seen at once; the server decides.
 */
const MAX_NAME_BYTES = 255;

/** A sentence that says what is wrong with `name`, or `null`. `siblings` are the other names in the folder. */
export function nameProblem(name: string, siblings: readonly string[]): string | null {
  if (name === '') return 'Type a name.';
  if (name.trim() !== name) return 'A name cannot begin or end with a space.';
  if (name === '.' || name === '..') return `"${name}" is not a name.`;
  if (/[/\\]/.test(name)) return 'A name cannot contain a slash. Make a folder first, then the file in it.';
  if (/\p{Cc}/u.test(name)) return 'A name cannot contain control characters.';
  if (/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(name))
    return 'A name cannot contain invisible characters that change the direction of writing.';
  if (new TextEncoder().encode(name).length > MAX_NAME_BYTES) return 'This name is too long.';
  const twin = siblings.find((sibling) => sibling.toLowerCase() === name.toLowerCase());
  return twin === undefined ? null : `There is already "${twin}" in this folder.`;
}
