/** A run's state as a sign and a word, never colour alone. */
import {
  Ban,
  CheckCircle2,
  CircleAlert,
  CircleDashed,
  CircleSlash2,
  Loader,
  type LucideIcon,
  PlugZap,
  XCircle,
} from 'lucide-react';
import type { RunState } from '../../api/types';
import { stateWord } from './format';

const ICONS: Record<RunState, LucideIcon> = {
  queued: CircleDashed,
  running: Loader,
  passed: CheckCircle2,
  failed: XCircle,
  cancelled: Ban,
  interrupted: PlugZap,
  error: CircleAlert,
  superseded: CircleSlash2,
};

export function RunStateMark(props: { state: RunState }) {
  const Icon = ICONS[props.state];
  return (
    <span className="run-state" data-state={props.state} data-testid="run-state">
      <Icon size={15} className={props.state === 'running' ? 'spin' : undefined} aria-hidden />
      {stateWord(props.state)}
    </span>
  );
}
