/** Asks before somebody's access is taken back, and says what that does and what it does not. */
import { useState } from 'react';
import { sentence } from '../../api/client';
import { ConfirmDialog } from '../../ui/dialog';
import { notify } from '../../ui/toast';
import { useAccess } from '../access/useAccess';
import type { PersonHere } from '../presence/people';
import { useRoom } from '../room/roomContext';

/** The server cuts what is longer. */
const MAX_REASON_CHARS = 80;

export function RemoveDialog(props: { person: PersonHere; onClose: () => void }) {
  const { session } = useRoom();
  const { open } = useAccess();
  const { person } = props;
  const [reason, setReason] = useState('');
  const remove = async () => {
    try {
      await session.api.remove(session.room.id, person.id, reason.trim());
      notify(`${person.name} was removed from the room.`);
      return null;
    } catch (error) {
      return sentence(error);
    }
  };
  return (
    <ConfirmDialog
      title={`Remove “${person.name}”?`}
      confirm="Remove"
      onConfirm={remove}
      onClose={props.onClose}
    >
      <div className="remove-person">
        <p>
          {person.name} leaves the room at once and cannot come back with this access for 30 days. Whoever
          came in by the same link is removed with them. What they wrote stays.
        </p>
        {open && (
          <p>
            <strong>This server is open:</strong> whoever has the room's address can still join under another
            name.
          </p>
        )}
        <label className="field">
          <span>
            Reason <em>(optional, they read it)</em>
          </span>
          <input
            className="input"
            data-testid="remove-reason"
            value={reason}
            maxLength={MAX_REASON_CHARS}
            autoComplete="off"
            onChange={(event) => setReason(event.target.value)}
          />
        </label>
      </div>
    </ConfirmDialog>
  );
}
