/** Adds a secret or replaces one, and says which steps are given it. */
import { type FormEvent, useState } from 'react';
import { sentence } from '../../api/client';
import type { Rule, Secret } from '../../api/types';
import { useRoom } from '../room/roomContext';
import { draftOf, givenOf, KINDS, kindWords, problemOf, ruleChanges, valueWords } from './secretModel';

export function SecretForm(props: {
  /** The one that is replaced; `null` for a new one. */
  secret: Secret | null;
  taken: readonly string[];
  rules: readonly Rule[];
  onBack: () => void;
}) {
  const { session } = useRoom();
  const { secret, rules } = props;
  const [draft, setDraft] = useState(() => draftOf(secret, rules));
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const change = (part: Partial<typeof draft>) => setDraft({ ...draft, ...part });

  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    const missing = problemOf(draft, secret ? [] : props.taken);
    setProblem(missing);
    if (missing !== null) return;
    setBusy(true);
    try {
      const room = session.room.id;
      await session.api.putSecret(room, draft.name, { value: draft.value, given: givenOf(draft) });
      // No step is given what is for git.
      const chosen = draft.kind === 'git' ? new Set<string>() : draft.rules;
      for (const named of ruleChanges(rules, draft.name, chosen))
        await session.api.setRuleSecrets(room, named.rule, named.secrets);
      props.onBack();
    } catch (error) {
      setProblem(sentence(error));
      setBusy(false);
    }
  };

  const toggle = (rule: string) => {
    const chosen = new Set(draft.rules);
    if (!chosen.delete(rule)) chosen.add(rule);
    change({ rules: chosen });
  };

  return (
    <form className="secret-form" data-testid="secret-form" onSubmit={save} autoComplete="off">
      {secret === null && (
        <TextField
          label="Name"
          testId="secret-name"
          most={64}
          placeholder="API_TOKEN"
          mono
          first
          value={draft.name}
          onChange={(name) => change({ name })}
        />
      )}
      <div className="field">
        <span className="field-label">How it is given</span>
        <fieldset className="segments" aria-label="How it is given">
          {KINDS.map(({ kind, title }) => (
            <label key={kind} className="segment" data-testid={`secret-kind-${kind}`}>
              <input
                type="radio"
                name="secret-kind"
                checked={draft.kind === kind}
                onChange={() => change({ kind })}
              />
              <span>{title}</span>
            </label>
          ))}
        </fieldset>
        <p className="secrets-note" aria-live="polite">
          {kindWords(draft.kind, draft.name)}
        </p>
      </div>
      {draft.kind === 'header' && (
        <div className="secret-header">
          <TextField
            label="Host"
            testId="secret-host"
            most={260}
            placeholder="api.example.com"
            value={draft.host}
            onChange={(host) => change({ host })}
          />
          <TextField
            label="Header"
            testId="secret-header"
            most={128}
            value={draft.header}
            onChange={(header) => change({ header })}
          />
          <TextField
            label="With the value at {}"
            testId="secret-template"
            most={128}
            value={draft.template}
            onChange={(template) => change({ template })}
          />
        </div>
      )}
      {draft.kind === 'git' && (
        <div className="secret-header">
          <TextField
            label="Repositories at or below"
            testId="secret-url"
            most={256}
            placeholder="https://git.example.com/team"
            value={draft.url}
            onChange={(url) => change({ url })}
          />
          <TextField
            label="User name"
            testId="secret-user"
            most={256}
            value={draft.user}
            onChange={(user) => change({ user })}
          />
        </div>
      )}
      <label className="field">
        <span>{valueWords(draft.kind, secret !== null)}</span>
        <textarea
          className="input secret-value"
          data-testid="secret-value"
          value={draft.value}
          rows={3}
          spellCheck={false}
          autoCapitalize="off"
          onChange={(event) => change({ value: event.target.value })}
        />
      </label>
      {rules.length > 0 && draft.kind !== 'git' && (
        <fieldset className="secret-rules">
          <legend>Given to the steps of</legend>
          {rules.map((rule) => (
            <label key={rule.id}>
              <input
                type="checkbox"
                data-testid="secret-rule"
                checked={draft.rules.has(rule.id)}
                onChange={() => toggle(rule.id)}
              />
              {rule.name}
            </label>
          ))}
        </fieldset>
      )}
      {problem && (
        <p className="notice" data-tone="bad" role="alert" data-testid="secret-problem">
          {problem}
        </p>
      )}
      <footer className="dialog-actions">
        <button type="button" className="button" data-testid="secret-back" onClick={props.onBack}>
          Cancel
        </button>
        <button
          type="submit"
          className="button"
          data-kind="primary"
          data-testid="secret-save"
          aria-disabled={busy}
        >
          {busy ? 'Saving…' : secret ? 'Replace it' : 'Add it'}
        </button>
      </footer>
    </form>
  );
}

/** A line of text with its name. What goes in is no prose. */
function TextField(props: {
  label: string;
  testId: string;
  most: number;
  placeholder?: string;
  mono?: boolean;
  first?: boolean;
  value: string;
  onChange: (value: string) => void;
}) {
  return (
    <label className="field">
      <span>{props.label}</span>
      <input
        className={props.mono ? 'input secret-mono' : 'input'}
        data-testid={props.testId}
        value={props.value}
        maxLength={props.most}
        placeholder={props.placeholder}
        spellCheck={false}
        autoCapitalize="off"
        // biome-ignore lint/a11y/noAutofocus: the dialog's content has changed, and this is where it goes on.
        autoFocus={props.first}
        onChange={(event) => props.onChange(event.target.value)}
      />
    </label>
  );
}
