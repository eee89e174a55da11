/** What stands on the page when a part of it failed: a sentence and a way on, never an empty page. */
import { RotateCw, TriangleAlert } from 'lucide-react';
import { Component, type ReactNode } from 'react';

export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="page-center" role="alert" data-testid="page-failed">
        <div className="failed-page">
          <TriangleAlert size={34} strokeWidth={1.3} aria-hidden />
          <h1>This page stopped working</h1>
          <p>
            What was saved is safe on the server. The page may also be older than the server: loading it again
            mends both.
          </p>
          <button
            type="button"
            className="button"
            data-kind="primary"
            onClick={() => window.location.reload()}
          >
            <RotateCw size={14} /> Load again
          </button>
        </div>
      </main>
    );
  }
}
