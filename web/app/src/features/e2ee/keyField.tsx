/** Where somebody pastes a key, or a link that has it. */
import { KeyRound } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { useRoom } from '../room/roomContext';
import { readKey } from './callKey';

/** `isAsked`: it appears because somebody wants to write into it. */
export function KeyField(props: { label: string; isAsked?: boolean; onTaken?: () => void }) {
  const { session } = useRoom();
  const [text, setText] = useState('');
  const [problem, setProblem] = useState(false);
  const take = (event: FormEvent) => {
    event.preventDefault();
    const key = readKey(text);
    setProblem(key === null);
    if (key === null) return;
    session.callKeys.take(key);
    setText('');
    props.onTaken?.();
  };
  return (
    <form className="call-key-field" onSubmit={take}>
      <label className="field">
        <span>{props.label}</span>
        <input
          className="input"
          data-testid="call-key-input"
          value={text}
          placeholder="A link with the key, or the key"
          autoComplete="off"
          spellCheck={false}
          aria-invalid={problem}
          // biome-ignore lint/a11y/noAutofocus: it is where the button was that asked for it.
          autoFocus={props.isAsked}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      <button type="submit" className="button" data-testid="call-key-use">
        <KeyRound size={14} aria-hidden /> Use it
      </button>
      {problem && (
        <p className="notice" data-tone="bad" role="alert" data-testid="call-key-problem">
          That has no key in it. A key has 43 letters, and stands at the end of a link after “key=”.
        </p>
      )}
    </form>
  );
}
