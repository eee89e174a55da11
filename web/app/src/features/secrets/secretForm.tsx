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
        <label className="field">
          <span>Name</span>
          <input
            className="input secret-mono"
            data-testid="secret-name"
            value={draft.name}
            maxLength={64}
            placeholder="API_TOKEN"
            spellCheck={false}
            autoCapitalize="off"
            // biome-ignore lint/a11y/noAutofocus: the dialog's content has changed, and this is where it goes on.
            autoFocus
            onChange={(event) => change({ name: event.target.value })}
          />
        </label>
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
          <label className="field">
            <span>Host</span>
            <input
              className="input"
              data-testid="secret-host"
              value={draft.host}
              maxLength={260}
              placeholder="api.example.com"
              spellCheck={false}
              onChange={(event) => change({ host: event.target.value })}
            />
          </label>
          <label className="field">
            <span>Header</span>
            <input
              className="input"
              data-testid="secret-header"
              value={draft.header}
              maxLength={128}
              spellCheck={false}
              onChange={(event) => change({ header: event.target.value })}
            />
          </label>
          <label className="field">
            <span>With the value at {'{}'}</span>
            <input
              className="input"
              data-testid="secret-template"
              value={draft.template}
              maxLength={128}
              spellCheck={false}
              onChange={(event) => change({ template: event.target.value })}
            />
          </label>
        </div>
      )}
      {draft.kind === 'git' && (
        <div className="secret-header">
          <label className="field">
            <span>Repositories at or below</span>
            <input
              className="input"
              data-testid="secret-url"
              value={draft.url}
              maxLength={256}
              placeholder="https://git.example.com/team"
              spellCheck={false}
              onChange={(event) => change({ url: event.target.value })}
            />
          </label>
          <label className="field">
            <span>User name</span>
            <input
              className="input"
              data-testid="secret-user"
              value={draft.user}
              maxLength={256}
              spellCheck={false}
              autoCapitalize="off"
              onChange={(event) => change({ user: event.target.value })}
            />
          </label>
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
