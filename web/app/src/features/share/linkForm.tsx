/** Makes a link that lets one guest in, with a role, a name and an end. */
import { Link2 } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { sentence } from '../../api/client';
import type { Link, Role } from '../../api/types';
import { abilities, roleTitle } from '../access/access';
import { useAccess } from '../access/useAccess';
import { withKeyOf } from '../e2ee/encryptionModel';
import { useRoom } from '../room/roomContext';
import { CopyField } from './copyField';
import { LINK_ROLES, lifetime, linkWords, moment, type Unit } from './linkTerms';

interface Made {
  link: Link;
  words: string;
}

export function LinkForm() {
  const { session } = useRoom();
  const access = useAccess();
  const [role, setRole] = useState<Role>('viewer');
  const [name, setName] = useState('');
  const [count, setCount] = useState('1');
  const [unit, setUnit] = useState<Unit>('days');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [made, setMade] = useState<Made | null>(null);

  const make = async (event: FormEvent) => {
    event.preventDefault();
    const held = lifetime(count, unit);
    setMade(null);
    if ('problem' in held) return setProblem(held.problem);
    setProblem(null);
    setBusy(true);
    const asked = { role, name: name.trim(), seconds: held.seconds };
    try {
      const link = await session.api.createLink(session.room.id, {
        role,
        expires_in: held.seconds,
        ...(asked.name !== '' && { name: asked.name }),
      });
      setMade({
        link: { ...link, url: withKeyOf(session, link.url) },
        words: linkWords(link, asked, Date.now()),
      });
    } catch (error) {
      setProblem(sentence(error));
    }
    setBusy(false);
  };

  return (
    <form className="share-section" onSubmit={make} aria-label="Make a guest link">
      <h3>Invite somebody by a link</h3>
      <fieldset className="segments" aria-label="Role">
        {LINK_ROLES.map((offered) => (
          <label key={offered} className="segment" data-testid={`link-role-${offered}`}>
            <input
              type="radio"
              name="link-role"
              checked={role === offered}
              onChange={() => setRole(offered)}
            />
            <span>{roleTitle(offered)}</span>
          </label>
        ))}
      </fieldset>
      <p className="share-note" aria-live="polite">
        {roleTitle(role)}: {abilities(role)}
      </p>
      <div className="link-terms">
        <label className="field">
          <span>Name of the guest</span>
          <input
            className="input"
            data-testid="link-name"
            value={name}
            maxLength={40}
            placeholder="Guest"
            autoComplete="off"
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <label className="field">
          <span>Holds for</span>
          <input
            className="input"
            data-testid="link-count"
            inputMode="numeric"
            value={count}
            maxLength={5}
            aria-invalid={problem !== null}
            autoComplete="off"
            onChange={(event) => setCount(event.target.value)}
          />
        </label>
        <label className="field">
          <span className="visually-hidden">Hours or days</span>
          <select
            className="input"
            data-testid="link-unit"
            value={unit}
            onChange={(event) => setUnit(event.target.value as Unit)}
          >
            <option value="hours">hours</option>
            <option value="days">days</option>
          </select>
        </label>
      </div>
      {access.expires !== null && (
        <p className="share-note">No longer than your own access, which ends {moment(access.expires)}.</p>
      )}
      {problem && (
        <p className="notice" data-tone="bad" role="alert" data-testid="link-problem">
          {problem}
        </p>
      )}
      <button
        type="submit"
        className="button"
        data-kind="primary"
        data-testid="link-create"
        aria-disabled={busy}
      >
        <Link2 size={14} aria-hidden /> {busy ? 'Making the link…' : 'Make the link'}
      </button>
      {made && (
        <div className="link-made" role="status" data-testid="link-made">
          <CopyField key={made.link.token} label="The guest link" value={made.link.url} testId="link-url" />
          <p className="share-note">
            {made.words} It is a secret, and it is shown only now. All who use one link are one person here,
            so make one for each.
          </p>
        </div>
      )}
    </form>
  );
}
