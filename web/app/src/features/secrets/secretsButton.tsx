/** Opens the room's secrets. Only hosts have it. */
import { KeyRound } from 'lucide-react';
import { useState } from 'react';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { SecretsDialog } from './secretsDialog';

export function SecretsButton() {
  const [open, setOpen] = useState(false);
  if (!useMay('manage')) return null;
  return (
    <>
      <Tip text="Secrets of this room">
        <button
          type="button"
          className="icon-button"
          data-testid="secrets"
          aria-label="Secrets of this room"
          onClick={() => setOpen(true)}
        >
          <KeyRound size={16} />
        </button>
      </Tip>
      {open && <SecretsDialog onClose={() => setOpen(false)} />}
    </>
  );
}
