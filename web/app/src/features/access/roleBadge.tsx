/** Which role this person has here. One that can change nothing stands out, because everything else looks the same. */
import { Eye, KeyRound, PenLine } from 'lucide-react';
import { Tip } from '../../ui/tip';
import './access.css';
import { abilities, may, readOnlyReason, roleTitle } from './access';
import { useAccess } from './useAccess';

export function RoleBadge() {
  const access = useAccess();
  const readOnly = !may(access, 'edit_documents');
  const Icon = readOnly ? Eye : access.role === 'host' ? KeyRound : PenLine;
  return (
    <Tip text={readOnly ? readOnlyReason(access.role) : `You ${abilities(access.role)}`}>
      {/* A button, so that its explanation can be reached by keyboard. */}
      <button
        type="button"
        className="role-badge"
        data-testid="role"
        data-role={access.role}
        data-read-only={readOnly || undefined}
      >
        <Icon size={13} aria-hidden />
        <span>
          <span className="visually-hidden">Your role: </span>
          {roleTitle(access.role)}
        </span>
      </button>
    </Tip>
  );
}
