/** Secrets in words, and what a form must have before the server is asked. Pure. */
import type { Given, Rule, Secret } from '../../api/types';
import { ago } from '../runs/format';

/** The server takes no less: what is shorter could not be masked in output. */
const MIN_CHARS = 8;
/** Servers that take a token take any name beside it. */
const GIT_USER = 'git';
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

export type Kind = Given['kind'];

/** A form as it is filled in. The fields of a kind stay while another one is chosen. */
export interface Draft {
  name: string;
  kind: Kind;
  host: string;
  header: string;
  template: string;
  url: string;
  user: string;
  value: string;
  /** Ids of the rules whose steps are to be given it. */
  rules: ReadonlySet<string>;
}

export const KINDS: readonly { kind: Kind; title: string }[] = [
  { kind: 'env', title: 'Variable' },
  { kind: 'file', title: 'File' },
  { kind: 'header', title: 'Header' },
  { kind: 'git', title: 'Git' },
];

/** What a kind means, for whoever chooses one. `name` may be empty yet. */
export function kindWords(kind: Kind, name: string): string {
  const called = NAME.test(name) ? name : 'NAME';
  if (kind === 'env') return `The program finds it in its environment, as $${called}.`;
  if (kind === 'file')
    return `The program reads /run/secrets/${called}. The file is in memory and gone when the step ends.`;
  if (kind === 'git')
    return 'It never enters the sandbox: the server gives it to another server when this room pulls, pushes or is made of a repository there.';
  return 'It never enters the sandbox: the server puts it into requests to one host. The program asks that host by http://, and the server goes on by https.';
}

export function givenWords(name: string, given: Given): string {
  if (given.kind === 'env') return `variable $${name}`;
  if (given.kind === 'file') return `file /run/secrets/${name}`;
  if (given.kind === 'git') return `git at ${given.url}`;
  return `header ${given.header} to ${given.host}`;
}

export function valueWords(kind: Kind, replaces: boolean): string {
  if (kind === 'git') return replaces ? 'New token or password' : 'Token or password';
  return replaces ? 'New value' : 'Value';
}

export function historyWords(secret: Secret, now: number): string {
  const used = secret.used_at === null ? 'not used yet' : `last used ${ago(secret.used_at, now)}`;
  return `Set by ${secret.set_by_name} ${ago(secret.set_at, now)}, ${used}`;
}

/** A new one is given to all rules; one that is replaced stays as it is. */
export function draftOf(secret: Secret | null, rules: readonly Rule[]): Draft {
  const given = secret?.given;
  const chosen = secret === null ? rules : rules.filter((rule) => rule.secrets.includes(secret.name));
  return {
    name: secret?.name ?? '',
    kind: given?.kind ?? 'env',
    host: given?.kind === 'header' ? given.host : '',
    header: given?.kind === 'header' ? given.header : 'Authorization',
    template: given?.kind === 'header' ? (given.template ?? '{}') : 'Bearer {}',
    url: given?.kind === 'git' ? given.url : '',
    user: given?.kind === 'git' ? (given.user ?? GIT_USER) : GIT_USER,
    value: '',
    rules: new Set(chosen.map((rule) => rule.id)),
  };
}

export function givenOf(draft: Draft): Given {
  if (draft.kind === 'git') return { kind: 'git', url: draft.url.trim(), user: draft.user.trim() };
  if (draft.kind !== 'header') return { kind: draft.kind };
  return {
    kind: 'header',
    host: draft.host.trim(),
    header: draft.header.trim(),
    template: draft.template.trim(),
  };
}

/** What is missing, a sentence; `null` if the server can be asked. */
export function problemOf(draft: Draft, taken: readonly string[]): string | null {
  if (!NAME.test(draft.name))
    return 'A name has letters, digits and underscores, and does not begin with a digit: API_TOKEN.';
  if (taken.includes(draft.name))
    return `There is a secret ${draft.name} already. Replace that one, or choose another name.`;
  if (draft.kind === 'header' && draft.host.trim() === '')
    return 'Which host is it for? Write its name, such as api.example.com.';
  if (draft.kind === 'header' && draft.template.split('{}').length !== 2)
    return 'The header needs {} once, where the value stands: Bearer {}.';
  if (draft.kind === 'git' && !draft.url.trim().startsWith('https://'))
    return 'Which repositories is it for? Write where they are, such as https://git.example.com/team.';
  if (draft.kind === 'git' && draft.user.trim() === '')
    return 'The other server wants a name beside the token. Most take any, such as git.';
  if (draft.value.replace(/\s/g, '').length < MIN_CHARS)
    return `The value needs ${MIN_CHARS} characters or more, because what is shorter cannot be masked in output.`;
  return null;
}

/** Rules whose secrets change when `name` is given to `chosen` alone, with what they name then. */
export function ruleChanges(
  rules: readonly Rule[],
  name: string,
  chosen: ReadonlySet<string>,
): { rule: string; secrets: string[] }[] {
  return rules
    .filter((rule) => rule.secrets.includes(name) !== chosen.has(rule.id))
    .map((rule) => ({
      rule: rule.id,
      secrets: chosen.has(rule.id)
        ? [...rule.secrets, name]
        : rule.secrets.filter((secret) => secret !== name),
    }));
}
