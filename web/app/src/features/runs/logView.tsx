/** A log's lines. It stays at the end while new ones come, until the person scrolls up. */
import { ArrowDown } from 'lucide-react';
import { useLayoutEffect, useMemo, useRef, useState } from 'react';
import { parseAnsi } from './ansi';

/** Closer to the end than this counts as being at the end. */
const NEAR_END_PX = 24;

export function LogView(props: { text: string; label: string; testId: string }) {
  const lines = useMemo(() => parseAnsi(props.text.replace(/\n$/, '')), [props.text]);
  const box = useRef<HTMLDivElement>(null);
  const sticking = useRef(true);
  const [away, setAway] = useState(false);

  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines are what makes it scroll.
  useLayoutEffect(() => {
    if (box.current && sticking.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    sticking.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
    setAway(!sticking.current);
  };
  const toEnd = () => {
    sticking.current = true;
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };

  return (
    <div className="log">
      <div
        ref={box}
        className="log-lines"
        data-testid={props.testId}
        role="log"
        aria-label={props.label}
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard.
        tabIndex={0}
        onScroll={onScroll}
      >
        {lines.map((line, number) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a line of a log is its number.
          <div key={number} className="log-line">
            {line.map((span, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: spans have no other identity.
              <span key={index} className={span.className || undefined}>
                {span.text}
              </span>
            ))}
            {'\n'}
          </div>
        ))}
      </div>
      {away && (
        <button type="button" className="button log-to-end" data-size="small" onClick={toEnd}>
          <ArrowDown size={13} /> Latest
        </button>
      )}
    </div>
  );
}
