/** Which of Monaco's grammars fits a file's name. */
import { monaco } from './monaco';

export function languageFor(name: string): string {
  const lower = name.toLowerCase();
  for (const language of monaco.languages.getLanguages()) {
    if (language.filenames?.some((filename) => filename.toLowerCase() === lower)) return language.id;
    if (language.extensions?.some((extension) => lower.endsWith(extension.toLowerCase()))) return language.id;
  }
  return 'plaintext';
}
