/** What a guest sees whose link does not let them in, or not any more. */
import { KeyRound } from 'lucide-react';

export function AccessEnded(props: { reason: string }) {
  return (
    <main className="page-center" data-testid="access-ended">
      <div className="page-message" role="alert">
        <KeyRound size={34} strokeWidth={1.3} aria-hidden />
        <h1>This link does not let you in</h1>
        <p>{props.reason}</p>
        <p>Ask whoever sent you the link for a new one.</p>
      </div>
    </main>
  );
}
