/** Asks for a name before entering by a link. */
import { type FormEvent, useState } from 'react';
import { sentence } from '../../api/client';
import type { SessionStore } from '../../session/session';
import { Logo } from '../../ui/logo';

export function JoinGate(props: { title: string | null; sessions: SessionStore; onJoined: () => void }) {
  const [name, setName] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const join = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await props.sessions.signIn(name.trim());
      props.onJoined();
    } catch (error) {
      setProblem(sentence(error));
      setBusy(false);
    }
  };
  return (
    <main className="page-center">
      <form className="join" onSubmit={join}>
        <Logo size={36} />
        <div>
          <p className="join-kicker">You are invited to</p>
          <h1 data-testid="join-title">{props.title ?? 'a room'}</h1>
        </div>
        <label className="field">
          <span>Your name</span>
          <input
            className="input"
            data-testid="join-name"
            value={name}
            maxLength={40}
            autoComplete="nickname"
            placeholder="What others see next to your cursor"
            // biome-ignore lint/a11y/noAutofocus: typing the name is the only thing to do here.
            autoFocus
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        {problem && (
          <p className="notice" data-tone="bad" role="alert">
            {problem}
          </p>
        )}
        <button
          type="submit"
          className="button"
          data-kind="primary"
          data-size="large"
          data-testid="join-button"
          disabled={busy || name.trim() === ''}
        >
          {busy ? 'Joining…' : 'Join the room'}
        </button>
      </form>
    </main>
  );
}
