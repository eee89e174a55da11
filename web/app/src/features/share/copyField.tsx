/** A text to take along: it can be selected by hand, and copied by a button that says whether it was. */
import { Check, Copy } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { copyText } from '../../ui/clipboard';

/** How long "Copied" stands. */
const COPIED_MS = 2200;

export function CopyField(props: { label: string; value: string; testId: string; copied?: boolean }) {
  const [copied, setCopied] = useState(props.copied ?? false);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => () => void (timer.current && clearTimeout(timer.current)), []);
  const copy = async () => {
    if (!(await copyText(props.value))) return;
    setCopied(true);
    if (timer.current) clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <div className="copy-field">
      <input
        className="input"
        data-testid={props.testId}
        aria-label={props.label}
        readOnly
        value={props.value}
        onFocus={(event) => event.target.select()}
      />
      <button type="button" className="button" data-testid={`${props.testId}-copy`} onClick={copy}>
        {copied ? <Check size={14} aria-hidden /> : <Copy size={14} aria-hidden />}
        <span aria-live="polite">{copied ? 'Copied' : 'Copy'}</span>
      </button>
    </div>
  );
}
