/** Languages by the names and file endings they go by; each is fetched when it is needed. */
import type { LanguageSupport } from '@codemirror/language';

const LOADERS = {
  css: async () => (await import('@codemirror/lang-css')).css(),
  html: async () => (await import('@codemirror/lang-html')).html(),
  javascript: async () => (await import('@codemirror/lang-javascript')).javascript({ jsx: true }),
  json: async () => (await import('@codemirror/lang-json')).json(),
  markdown: async () => (await import('@codemirror/lang-markdown')).markdown(),
  python: async () => (await import('@codemirror/lang-python')).python(),
  rust: async () => (await import('@codemirror/lang-rust')).rust(),
  typescript: async () =>
    (await import('@codemirror/lang-javascript')).javascript({ typescript: true, jsx: true }),
} satisfies Record<string, () => Promise<LanguageSupport>>;

export type LanguageName = keyof typeof LOADERS;

const ENDINGS: Record<string, LanguageName> = {
  cjs: 'javascript',
  css: 'css',
  htm: 'html',
  html: 'html',
  js: 'javascript',
  json: 'json',
  jsx: 'javascript',
  md: 'markdown',
  mjs: 'javascript',
  py: 'python',
  rs: 'rust',
  ts: 'typescript',
  tsx: 'typescript',
};

/** What was asked for, or else what the file's name says; `null` for plain text. */
export function languageOf(asked: string | null, path: string): LanguageName | null {
  const name = asked?.trim().toLowerCase() ?? '';
  if (name in LOADERS) return name as LanguageName;
  if (name !== '') return ENDINGS[name] ?? null;
  return ENDINGS[/\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''] ?? null;
}

export const loadLanguage = (name: LanguageName): Promise<LanguageSupport> => LOADERS[name]();
