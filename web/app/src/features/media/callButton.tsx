/** The way into the room's call, in the header: who is in it already, and the dialog to join. */
import { Phone, PhoneCall } from 'lucide-react';
import { type RefObject, useEffect, useRef, useState } from 'react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useRoom } from '../room/roomContext';
import type { Phase } from './call';
import { RecordedMark } from './callRecording';
import { JoinDialog } from './joinDialog';
import './media.css';

export function CallButton() {
  const { session } = useRoom();
  const link = useStore(session.media.state);
  const participants = useStore(session.media.participants);
  const { phase, problem } = useStore(session.call.state);
  const [joining, setJoining] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useFocusBack(button, phase);
  if (link === 'gone' || phase !== 'out') return null;
  const count = participants.length;
  const names = participants.map((participant) => participant.person.name).join(', ');
  const words =
    link !== 'online'
      ? 'The connection is lost. Coming back…'
      : count === 0
        ? 'Talk to the people in this room'
        : `In the call: ${names}`;
  return (
    <>
      <Tip text={words}>
        <button
          ref={button}
          type="button"
          className="button call-button"
          data-testid="call"
          data-live={count > 0 || undefined}
          aria-disabled={link !== 'online'}
          onClick={() => link === 'online' && setJoining(true)}
        >
          {count > 0 ? <PhoneCall size={14} aria-hidden /> : <Phone size={14} aria-hidden />}
          <span>{count > 0 ? 'Join call' : 'Call'}</span>
          {count > 0 && (
            <b className="call-count" data-testid="call-count">
              {count}
            </b>
          )}
          <RecordedMark />
        </button>
      </Tip>
      {problem && !joining && (
        <p className="call-problem" role="alert" data-testid="call-problem">
          {problem}
          <button
            type="button"
            className="button"
            data-kind="quiet"
            data-size="small"
            onClick={() => session.call.dismiss()}
          >
            Dismiss
          </button>
        </p>
      )}
      {joining && <JoinDialog onClose={() => setJoining(false)} />}
    </>
  );
}

/** Whoever leaves with the keyboard in the call goes on where it is joined. */
function useFocusBack(button: RefObject<HTMLButtonElement | null>, phase: Phase): void {
  const before = useRef(phase);
  useEffect(() => {
    const left = before.current === 'in' && phase === 'out';
    before.current = phase;
    if (left && document.activeElement === document.body) button.current?.focus({ preventScroll: true });
  }, [button, phase]);
}
