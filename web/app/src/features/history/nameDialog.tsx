/** Gives the file's present version a name, under which everybody finds it again. */
import { type FormEvent, useState } from 'react';
import { sentence } from '../../api/client';
import { Dialog } from '../../ui/dialog';
import { notify } from '../../ui/toast';
import type { FileSession } from '../editor/fileSessions';
import { useRoom } from '../room/roomContext';

/** The server's bound. */
const MAX_CHARS = 120;

export function NameDialog(props: { file: FileSession; onNamed: () => Promise<void>; onClose: () => void }) {
  const { session } = useRoom();
  const [name, setName] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (busy || name.trim() === '') return;
    setBusy(true);
    try {
      await session.api.nameVersion(props.file.session.name, name.trim());
      await props.onNamed();
      notify(`This version is called “${name.trim()}” now.`);
      props.onClose();
    } catch (error) {
      setProblem(sentence(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Name this version" onClose={props.onClose}>
      <form onSubmit={save}>
        <p>The text as it is now is kept under this name, whatever is written or tidied up later.</p>
        <label className="field" style={{ marginTop: 12 }}>
          <span>Name</span>
          <input
            className="input"
            data-testid="version-name"
            value={name}
            maxLength={MAX_CHARS}
            placeholder="Such as “before the rewrite”"
            autoComplete="off"
            autoFocus
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        {problem && (
          <p className="notice" data-tone="bad" role="alert" style={{ marginTop: 12 }}>
            {problem}
          </p>
        )}
        <footer className="dialog-actions" style={{ padding: '16px 0 0' }}>
          <button type="button" className="button" onClick={props.onClose}>
            Cancel
          </button>
          <button
            type="submit"
            className="button"
            data-kind="primary"
            data-testid="version-name-save"
            aria-disabled={busy || name.trim() === ''}
          >
            {busy ? 'Saving…' : 'Save the name'}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
