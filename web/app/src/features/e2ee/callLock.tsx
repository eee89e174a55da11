/** The lock on a call that this page encrypts, and behind it the key. */
import { LockKeyhole } from 'lucide-react';
import { useState } from 'react';
import { Dialog } from '../../ui/dialog';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import './e2ee.css';
import { Offered } from './encryption';
import { KeyDetails } from './keyDetails';

export function CallLock() {
  const { call, callKeys } = useRoom().session;
  const { encrypted } = useStore(call.state);
  const { offered } = useStore(callKeys.known);
  const [open, setOpen] = useState(false);
  if (!encrypted) return null;
  return (
    <>
      {offered !== null && <Offered />}
      <button
        type="button"
        className="call-line call-lock"
        data-testid="call-lock"
        onClick={() => setOpen(true)}
      >
        <LockKeyhole size={13} aria-hidden />
        <span>End-to-end encrypted</span>
      </button>
      {open && (
        <Dialog title="This call is end-to-end encrypted" onClose={() => setOpen(false)}>
          <KeyDetails />
        </Dialog>
      )}
    </>
  );
}
