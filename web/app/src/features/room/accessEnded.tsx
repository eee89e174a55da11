/**
 * What somebody sees whose link does not let them in, or who may not be here any more. What they typed last and the server did not
 * take is theirs to copy.
 */
import { ClipboardCopy, KeyRound } from 'lucide-react';
import { copyText } from '../../ui/clipboard';
import { notify } from '../../ui/toast';

export function AccessEnded(props: { reason: string; files?: readonly { path: string; text: string }[] }) {
  const entered = props.files !== undefined;
  const files = props.files ?? [];
  return (
    <main className="page-center" data-testid="access-ended">
      <div className="page-message" role="alert">
        <KeyRound size={34} strokeWidth={1.3} aria-hidden />
        <h1>{entered ? 'You are not in this room any more' : 'You cannot enter this room'}</h1>
        <p>{props.reason}</p>
        <p>Ask whoever invited you for a new link.</p>
        {files.length > 0 && (
          <div className="kept-texts" data-testid="kept-texts">
            <p>Your last edits in {files.length === 1 ? 'this file' : 'these files'} were not saved:</p>
            <ul>
              {files.map(({ path, text }) => (
                <li key={path}>
                  <span>{path}</span>
                  <button
                    type="button"
                    className="button"
                    data-size="small"
                    onClick={async () => {
                      if (await copyText(text)) notify(`The text of ${path} is in the clipboard.`);
                    }}
                  >
                    <ClipboardCopy size={13} /> Copy the text
                  </button>
                </li>
              ))}
            </ul>
          </div>
        )}
        <a className="button" href="/">
          Go to the start page
        </a>
      </div>
    </main>
  );
}
