/** How far a sandbox's start is: what is over with its time, and what is being done, which counts. */
import { Loader } from 'lucide-react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { useNow } from '../runs/useNow';
import './sandbox.css';
import { doneWords, phaseWords, type Start, sinceWords } from './startModel';

export function StartPhases(props: { start: Start; testId: string }) {
  const { start } = props;
  const { session } = useRoom();
  const files = useStore(session.sandbox).start?.files ?? null;
  const setup = useStore(session.devcontainer)?.setup ?? [];
  const since = sinceWords(start, useNow(1000));
  return (
    <span className="start-phases" data-testid={props.testId} data-state={start.phase} role="status">
      {start.done.map((done) => (
        <span key={done.phase} className="start-done" data-testid="start-done" data-phase={done.phase}>
          {doneWords(done)}
        </span>
      ))}
      <span className="start-now">
        <Loader size={13} className="spin" aria-hidden />
        {phaseWords(start, { files, setup })}…{/* Not to be read out again with each second. */}
        {since !== null && <span aria-hidden>{since}</span>}
      </span>
    </span>
  );
}
