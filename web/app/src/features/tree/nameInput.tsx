/** The inline field for a new or changed name. Enter saves, Escape leaves, leaving the field saves a valid name. */
import { type KeyboardEvent, useLayoutEffect, useRef, useState } from 'react';
import { nameProblem } from './names';

export function NameInput(props: {
  label: string;
  initial: string;
  siblings: readonly string[];
  onSave: (name: string) => Promise<string | null>;
  onLeave: () => void;
}) {
  const [value, setValue] = useState(props.initial);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const done = useRef(false);
  // Somebody may rename the file meanwhile; the field goes on from the name it began with.
  const initial = useRef(props.initial).current;

  useLayoutEffect(() => {
    const field = input.current;
    if (!field) return;
    field.focus();
    const dot = initial.lastIndexOf('.');
    field.setSelectionRange(0, dot > 0 ? dot : initial.length);
    field.scrollIntoView({ block: 'nearest' });
  }, [initial]);

  const leave = () => {
    if (done.current) return;
    done.current = true;
    props.onLeave();
  };
  const save = async () => {
    if (busy || done.current) return;
    if (value === initial) return leave();
    const wrong = nameProblem(value, props.siblings);
    if (wrong) return setProblem(wrong);
    setBusy(true);
    const refused = await props.onSave(value);
    setBusy(false);
    if (refused === null) leave();
    else {
      setProblem(refused);
      input.current?.focus();
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === 'Enter') void save();
    else if (event.key === 'Escape') leave();
  };
  const onBlur = () => {
    if (busy) return;
    if (value === '' || problem || nameProblem(value, props.siblings)) leave();
    else void save();
  };

  return (
    <div className="tree-name">
      <input
        ref={input}
        className="tree-name-input"
        data-testid="tree-name-input"
        aria-label={props.label}
        aria-invalid={problem !== null}
        value={value}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => {
          setValue(event.target.value);
          const wrong = nameProblem(event.target.value, props.siblings);
          setProblem(event.target.value === '' ? null : wrong);
        }}
        onKeyDown={onKeyDown}
        onBlur={onBlur}
        onClick={(event) => event.stopPropagation()}
        onDoubleClick={(event) => event.stopPropagation()}
      />
      {problem && (
        <p className="tree-name-problem" role="alert" data-testid="tree-error">
          {problem}
        </p>
      )}
    </div>
  );
}
