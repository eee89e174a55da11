/** Who has the keyboard of a terminal, and how it changes hands. */
import { Eye, Hand, Keyboard, KeyboardOff } from 'lucide-react';
import { useEffect } from 'react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { bytes } from '../runs/format';
import type { TerminalLink } from './terminalLink';
import { asks, holds, keyboardWords, type Status } from './terminalModel';

export function KeyboardBar(props: {
  link: TerminalLink;
  status: Status;
  /** The keyboard should go into the terminal. */
  onTake: () => void;
}) {
  const { session } = useRoom();
  const me = useStore(session.sessions)?.person.id;
  const { link, status } = props;
  const mine = holds(status);
  const waiting = asks(status);
  const others = status.asking.filter((looking) => looking.viewer !== status.you);
  const { onTake } = props;
  useEffect(() => {
    // Whoever asked down here wants to type as soon as they may; nobody is torn from the editor for it.
    if (mine && document.activeElement?.closest('.lower-panel')) onTake();
  }, [mine, onTake]);
  const Icon = mine ? Keyboard : status.may_type ? KeyboardOff : Eye;
  return (
    <div className="keyboard-bar" data-testid="keyboard" data-mine={mine || undefined}>
      {status.cut > 0 && (
        <span className="keyboard-cut" role="status">
          {bytes(status.cut)} of what you typed were lost: the program reads nothing
        </span>
      )}
      <span
        className="keyboard-holder"
        role="status"
        title={mine ? 'Every key goes to the terminal but F6, which leaves it' : undefined}
      >
        <Icon size={14} aria-hidden />
        {keyboardWords(status, me)}
        {!status.may_type && <span className="keyboard-watching">· You are watching</span>}
      </span>
      {mine &&
        others.slice(0, 1).map((looking) => (
          <span key={looking.viewer} className="keyboard-request" role="alert" data-testid="keyboard-request">
            <Hand size={13} aria-hidden />
            {looking.name} asks for it
            {others.length > 1 && ` (${others.length - 1} more)`}
            <button
              type="button"
              className="button"
              data-size="small"
              data-kind="primary"
              data-testid="give-keyboard"
              onClick={() => link.say({ type: 'give', to: looking.viewer })}
            >
              Give
            </button>
            <button
              type="button"
              className="button"
              data-size="small"
              data-kind="quiet"
              data-testid="decline-keyboard"
              onClick={() => {
                link.say({ type: 'decline', to: looking.viewer });
                onTake();
              }}
            >
              Not now
            </button>
          </span>
        ))}
      {!mine && status.may_type && !status.may_take && (
        <button
          type="button"
          className="button"
          data-size="small"
          data-testid="ask-keyboard"
          aria-pressed={waiting}
          onClick={() => link.say({ type: waiting ? 'withdraw' : 'ask' })}
        >
          {status.keyboard === null
            ? 'Take the keyboard'
            : waiting
              ? 'Withdraw request'
              : 'Ask for the keyboard'}
        </button>
      )}
      {!mine && status.may_take && (
        <button
          type="button"
          className="button"
          data-size="small"
          data-testid="take-keyboard"
          onClick={() => link.say({ type: 'take' })}
        >
          {status.keyboard === null ? 'Take the keyboard' : 'Take it back'}
        </button>
      )}
    </div>
  );
}
