/** The way into the room's call, in the header: who is in it already, and the dialog to join. */
import { Phone, PhoneCall } from 'lucide-react';
import { useState } from 'react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useRoom } from '../room/roomContext';
import { RecordedMark } from './callRecording';
import { JoinDialog } from './joinDialog';
import './media.css';

export function CallButton() {
  const { session } = useRoom();
  const link = useStore(session.media.state);
  const participants = useStore(session.media.participants);
  const { phase, problem } = useStore(session.call.state);
  const [joining, setJoining] = useState(false);
  if (link === 'gone' || phase !== 'out') return null;
  const count = participants.length;
  const names = participants.map((participant) => participant.person.name).join(', ');
  const words = count === 0 ? 'Talk to the people in this room' : `In the call: ${names}`;
  return (
    <>
      <Tip text={words}>
        <button
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
