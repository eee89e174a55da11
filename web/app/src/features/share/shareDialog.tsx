/** Bringing people in: links with a role and an end, the plain address, and who is here now. */
import { KeyRound } from 'lucide-react';
import { useState } from 'react';
import { Dialog } from '../../ui/dialog';
import { abilities, may, roleTitle } from '../access/access';
import { useAccess } from '../access/useAccess';
import type { PersonHere } from '../presence/people';
import { CopyField } from './copyField';
import { LinkForm } from './linkForm';
import { addressWords } from './linkTerms';
import { PeopleList } from './peopleList';
import { RemoveDialog } from './removeDialog';
import './share.css';

export function ShareDialog(props: { onClose: () => void }) {
  const access = useAccess();
  const [removing, setRemoving] = useState<PersonHere | null>(null);
  if (removing) return <RemoveDialog person={removing} onClose={() => setRemoving(null)} />;
  const share = may(access, 'share');
  return (
    <Dialog title="Share this room" onClose={props.onClose}>
      <div className="share" data-testid="share-dialog">
        {share && access.links && <LinkForm />}
        {share && !access.links && <NoLinks open={access.open} />}
        {!share && (
          <p>
            {roleTitle(access.role)}s cannot hand out links: you {abilities(access.role)} Ask a host to invite
            others.
          </p>
        )}
        <section className="share-section">
          <h3>The room's address</h3>
          <CopyField
            label="Address of the room"
            value={location.origin + location.pathname}
            testId="share-address"
          />
          <p className="share-note">{addressWords(access)}</p>
        </section>
        <PeopleList onRemove={may(access, 'manage') ? setRemoving : null} />
      </div>
    </Dialog>
  );
}

/** Why there are no links with a role here, and how to turn them on. */
function NoLinks(props: { open: boolean }) {
  return (
    <div className="notice share-no-links" data-testid="share-no-links">
      <KeyRound size={14} aria-hidden />
      <p>
        <strong>This server cannot make links with a role and an end,</strong> because it has no key to sign
        them with. Whoever runs it can set <code>auth.secret</code> in its configuration (
        <code>openssl rand -hex 32</code> prints one).{' '}
        {props.open
          ? 'From then on everybody needs a link, unless auth.guests = true.'
          : 'Until then access comes from the system that makes its tokens.'}
      </p>
    </div>
  );
}
