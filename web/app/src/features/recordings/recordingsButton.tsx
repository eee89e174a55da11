/** Opens the recordings of the room's terminals and calls. */
import { Film } from 'lucide-react';
import { useState } from 'react';
import { Tip } from '../../ui/tip';
import { RecordingsDialog } from './recordingsDialog';

export function RecordingsButton({ testId = 'recordings' }: { testId?: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Tip text="Recordings">
        <button
          type="button"
          className="icon-button"
          data-size="small"
          data-testid={testId}
          aria-label="Recordings"
          onClick={() => setOpen(true)}
        >
          <Film size={13} />
        </button>
      </Tip>
      {open && <RecordingsDialog onClose={() => setOpen(false)} />}
    </>
  );
}
