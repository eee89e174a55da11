/** A modal dialog: focus stays inside, Escape and a click outside close it, focus returns to where it was. */
import { X } from 'lucide-react';
import { type FormEvent, type ReactNode, type RefObject, useEffect, useRef, useState } from 'react';
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from 'react-aria-components';

export function Dialog(props: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ReactNode;
  actions?: ReactNode;
}) {
  const dialog = useRef<HTMLElement>(null);
  useFocusKept(dialog);
  return (
    <ModalOverlay
      isOpen
      isDismissable
      onOpenChange={(open) => !open && props.onClose()}
      className="dialog-veil"
    >
      <Modal className="dialog-box" data-wide={props.wide || undefined}>
        <AriaDialog ref={dialog} data-testid="dialog">
          <header className="dialog-head">
            <Heading slot="title" level={2}>
              {props.title}
            </Heading>
            <button type="button" className="icon-button" aria-label="Close" onClick={props.onClose}>
              <X size={15} />
            </button>
          </header>
          <div className="dialog-body">{props.children}</div>
          {props.actions && <footer className="dialog-actions">{props.actions}</footer>}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

/** What has the keyboard may go, as a form does that is done. Then the dialog has it, or Escape and Tab would be nobody's. */
function useFocusKept(dialog: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    const observer = new MutationObserver(() => {
      if (document.activeElement === document.body) element.focus();
    });
    observer.observe(element, { childList: true, subtree: true });
    return () => observer.disconnect();
  }, [dialog]);
}

/** Asks before something that concerns everybody. `onConfirm` resolves to a sentence when it failed, which is shown. */
export function ConfirmDialog(props: {
  title: string;
  confirm: string;
  /** How the answer looks: dangerous unless it says otherwise. */
  kind?: 'danger' | 'primary';
  onConfirm: () => Promise<string | null>;
  onClose: () => void;
  children: ReactNode;
}) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    const failure = await props.onConfirm();
    setBusy(false);
    if (failure === null) props.onClose();
    else setProblem(failure);
  };
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form onSubmit={submit}>
        <div>{props.children}</div>
        {problem && (
          <p className="notice" data-tone="bad" role="alert" style={{ marginTop: 12 }}>
            {problem}
          </p>
        )}
        <footer className="dialog-actions" style={{ padding: '16px 0 0' }}>
          <button type="button" className="button" data-testid="dialog-cancel" onClick={props.onClose}>
            Cancel
          </button>
          <button
            type="submit"
            className="button"
            data-kind={props.kind ?? 'danger'}
            data-testid="dialog-confirm"
            // Not `disabled`, which would take the focus away, and the dialog's keys with it.
            aria-disabled={busy}
            // The person has just chosen this action from a menu: Enter confirms, Escape leaves.
            // biome-ignore lint/a11y/noAutofocus: focus must move into a modal dialog, and this is its answer.
            autoFocus
          >
            {props.confirm}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
