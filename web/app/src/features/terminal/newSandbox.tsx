/** Asks before the room's sandbox ends with all that runs in it. */
import { sentence } from '../../api/client';
import { ConfirmDialog } from '../../ui/dialog';
import { notify } from '../../ui/toast';
import { useRoom } from '../room/roomContext';

export function NewSandbox(props: { onClose: () => void }) {
  const { session } = useRoom();
  const end = async (): Promise<string | null> => {
    try {
      await session.api.endSandbox(session.room.id);
    } catch (error) {
      return sentence(error);
    }
    notify('The sandbox has ended. The next run or terminal gets a new one.');
    return null;
  };
  return (
    <ConfirmDialog
      title="Begin a new sandbox?"
      confirm="End this one"
      kind="danger"
      onConfirm={end}
      onClose={props.onClose}
    >
      <p>
        Everything that runs in this room's sandbox ends, for everybody: its run, its terminals, and what they
        started. What programs left in <code>/tmp</code> and in the home folder goes with it. The room's files
        stay, and the next run or terminal gets a new sandbox.
      </p>
    </ConfirmDialog>
  );
}
