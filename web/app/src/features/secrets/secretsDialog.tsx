/** The room's secrets: which there are, how steps get them and which steps do. No value is ever shown. */
import { KeyRound, Loader, Plus, RefreshCw, Trash2 } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { ApiError, sentence } from '../../api/client';
import type { Rule, Secret } from '../../api/types';
import { ConfirmDialog, Dialog } from '../../ui/dialog';
import { useRoom } from '../room/roomContext';
import { SecretForm } from './secretForm';
import { givenWords, historyWords, ruleChanges } from './secretModel';
import './secrets.css';

type Loaded =
  | { is: 'loading' }
  | { is: 'here'; secrets: Secret[]; rules: Rule[] }
  /** `off`: this server keeps none. */
  | { is: 'failed'; problem: string; off: boolean };

type View = { is: 'list' } | { is: 'form'; secret: Secret | null } | { is: 'delete'; secret: Secret };

export function SecretsDialog(props: { onClose: () => void }) {
  const { session } = useRoom();
  const [loaded, setLoaded] = useState<Loaded>({ is: 'loading' });
  const [view, setView] = useState<View>({ is: 'list' });

  const load = useCallback(async () => {
    try {
      const [secrets, rules] = await Promise.all([
        session.api.secrets(session.room.id),
        session.api.rules(session.room.id),
      ]);
      setLoaded({ is: 'here', secrets, rules });
    } catch (error) {
      const off = error instanceof ApiError && error.code === 'secrets_off';
      setLoaded({ is: 'failed', problem: sentence(error), off });
    }
  }, [session]);
  useEffect(() => {
    void load();
  }, [load]);

  const back = () => {
    setView({ is: 'list' });
    void load();
  };

  if (view.is === 'form' && loaded.is === 'here')
    return (
      <Dialog
        title={view.secret ? `Replace the secret ${view.secret.name}` : 'Add a secret'}
        onClose={props.onClose}
      >
        <SecretForm
          secret={view.secret}
          taken={loaded.secrets.map((secret) => secret.name)}
          rules={loaded.rules}
          onBack={back}
        />
      </Dialog>
    );
  if (view.is === 'delete' && loaded.is === 'here')
    return <DeleteDialog secret={view.secret} rules={loaded.rules} onClose={back} />;
  return (
    <Dialog title="Secrets of this room" onClose={props.onClose}>
      <div className="secrets" data-testid="secrets-dialog">
        <p className="secrets-note">
          Passwords and tokens that steps need, or git. A value goes in and never comes out: it is stored
          encrypted, and masked in what steps print. Whoever can edit what a step runs can still have that
          step use it; what is given as a header or to git never enters the sandbox. Terminals get none.
        </p>
        {loaded.is === 'loading' && (
          <p className="secrets-note" role="status">
            <Loader size={13} className="spin" aria-hidden /> Looking…
          </p>
        )}
        {loaded.is === 'failed' && (
          <div
            className="notice"
            data-tone={loaded.off ? undefined : 'bad'}
            role="alert"
            data-testid="secrets-problem"
          >
            <KeyRound size={14} aria-hidden />
            <p>{loaded.problem}</p>
          </div>
        )}
        {loaded.is === 'here' && (
          <>
            {loaded.secrets.length === 0 ? (
              <p className="secrets-empty" data-testid="secrets-empty">
                No secrets yet.
              </p>
            ) : (
              <ul className="secrets-list">
                {loaded.secrets.map((secret) => (
                  <SecretRow
                    key={secret.name}
                    secret={secret}
                    rules={loaded.rules}
                    onReplace={() => setView({ is: 'form', secret })}
                    onDelete={() => setView({ is: 'delete', secret })}
                  />
                ))}
              </ul>
            )}
            <button
              type="button"
              className="button"
              data-kind="primary"
              data-testid="secret-add"
              onClick={() => setView({ is: 'form', secret: null })}
            >
              <Plus size={14} aria-hidden /> Add a secret
            </button>
          </>
        )}
      </div>
    </Dialog>
  );
}

function SecretRow(props: {
  secret: Secret;
  rules: readonly Rule[];
  onReplace: () => void;
  onDelete: () => void;
}) {
  const { secret } = props;
  const users = props.rules.filter((rule) => rule.secrets.includes(secret.name)).map((rule) => rule.name);
  return (
    <li className="secret" data-testid="secret" data-name={secret.name}>
      <div className="secret-words">
        <code>{secret.name}</code>
        <span>{givenWords(secret.name, secret.given)}</span>
        <small>
          {secret.given.kind === 'git'
            ? 'For fetching, pulling and pushing.'
            : users.length > 0
              ? `Given to ${users.join(', ')}.`
              : 'Given to no steps.'}{' '}
          {historyWords(secret, Date.now())}.
        </small>
      </div>
      <button
        type="button"
        className="button"
        data-size="small"
        data-kind="quiet"
        data-testid="secret-replace"
        aria-label={`Replace ${secret.name}`}
        onClick={props.onReplace}
      >
        <RefreshCw size={13} aria-hidden /> Replace
      </button>
      <button
        type="button"
        className="icon-button"
        data-size="small"
        data-testid="secret-delete"
        aria-label={`Delete ${secret.name}`}
        onClick={props.onDelete}
      >
        <Trash2 size={14} />
      </button>
    </li>
  );
}

function DeleteDialog(props: { secret: Secret; rules: readonly Rule[]; onClose: () => void }) {
  const { session } = useRoom();
  const { secret, rules } = props;
  const users = rules.filter((rule) => rule.secrets.includes(secret.name));
  const remove = async () => {
    try {
      // First, so that no step asks for what is gone.
      for (const change of ruleChanges(rules, secret.name, new Set()))
        await session.api.setRuleSecrets(session.room.id, change.rule, change.secrets);
      await session.api.deleteSecret(session.room.id, secret.name);
      return null;
    } catch (error) {
      return sentence(error);
    }
  };
  return (
    <ConfirmDialog
      title={`Delete the secret ${secret.name}?`}
      confirm="Delete"
      onConfirm={remove}
      onClose={props.onClose}
    >
      <p>
        Its value cannot be brought back.{' '}
        {users.length > 0 && `${users.map((rule) => rule.name).join(', ')} will run without it.`} If it may
        have become known, revoke it where it comes from, too.
      </p>
    </ConfirmDialog>
  );
}
