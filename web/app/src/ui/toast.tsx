/** Short notices in a corner, announced to screen readers. For outcomes of actions whose place on screen is gone. */
import { CheckCircle2, CircleAlert } from 'lucide-react';
import { Store, useStore } from './store';

interface Toast {
  id: number;
  text: string;
  tone: 'good' | 'bad';
}

const SHOWN_MS = 5000;
/** More than this push the oldest out. */
const MAX_TOASTS = 3;
const toasts = new Store<Toast[]>([]);
let nextId = 1;

export function notify(text: string, tone: Toast['tone'] = 'good'): void {
  const toast = { id: nextId++, text, tone };
  toasts.set([...toasts.get(), toast].slice(-MAX_TOASTS));
  setTimeout(() => toasts.set(toasts.get().filter((t) => t.id !== toast.id)), SHOWN_MS);
}

export function Toasts() {
  const list = useStore(toasts);
  return (
    <div className="toasts" aria-live="polite">
      {list.map((toast) => (
        <div key={toast.id} className="toast" data-tone={toast.tone} data-testid="toast">
          {toast.tone === 'bad' ? <CircleAlert size={15} /> : <CheckCircle2 size={15} />}
          <span>{toast.text}</span>
        </div>
      ))}
    </div>
  );
}
