/** The whole log of a run, as the server kept it. */
import { ClipboardCopy } from 'lucide-react';
import { useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import type { Run } from '../../api/types';
import { copyText } from '../../ui/clipboard';
import { Dialog } from '../../ui/dialog';
import { notify } from '../../ui/toast';
import { useRoom } from '../room/roomContext';
import { LogView } from './logView';

export function FullLogDialog(props: { run: Run; onClose: () => void }) {
  const { session } = useRoom();
  const { run } = props;
  const [log, setLog] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    let left = false;
    session.api.log(session.room.id, run.id).then(
      (text) => !left && setLog(text),
      (error: unknown) => !left && setProblem(sentence(error)),
    );
    return () => {
      left = true;
    };
  }, [session, run.id]);

  return (
    <Dialog
      wide
      title="Full log"
      onClose={props.onClose}
      actions={
        <button
          type="button"
          className="button"
          disabled={log === null}
          onClick={async () => {
            if (await copyText(log ?? '')) notify('The log is in the clipboard.');
          }}
        >
          <ClipboardCopy size={14} /> Copy
        </button>
      }
    >
      {run.command && <p className="full-log-command">{run.command}</p>}
      {run.image && <p className="full-log-image">Ran in the image {run.image}</p>}
      {problem && (
        <p className="notice" data-tone="bad" role="alert">
          {problem}
        </p>
      )}
      {log === null && !problem && <p role="status">Loading the log…</p>}
      {log === '' && <p>The program wrote nothing.</p>}
      {log && <LogView text={log} label="Full log" testId="full-log-text" />}
    </Dialog>
  );
}
