/**
 * Asks before the file becomes what it was. It is done as an edit of this person's own, in the document that is open here, so that undo in
 * the editor takes it back and what others type at that moment is merged.
 */
import { ConfirmDialog } from '../../ui/dialog';
import { notify } from '../../ui/toast';
import { boundModel } from '../editor/boundModel';
import type { FileSession } from '../editor/fileSessions';
import { differences } from '../editor/textDiff';
import { useRoom } from '../room/roomContext';

export function RestoreDialog(props: {
  title: string;
  text: string;
  file: FileSession;
  name: string;
  onClose: () => void;
}) {
  const { opener } = useRoom();
  const { file } = props;
  const restore = async (): Promise<string | null> => {
    const { binding } = boundModel(file, props.name);
    const edits = differences(binding.text.toString(), props.text);
    binding.edit(edits);
    notify(
      edits.length === 0
        ? `${props.name} is the same as in that version already.`
        : `${props.name} is what it was. Undo in the editor takes it back.`,
    );
    // After the dialog has given the focus back, or it would take it from the editor.
    setTimeout(() => opener.open({ node: file.node, focus: true }), 60);
    return null;
  };
  return (
    <ConfirmDialog
      title="Restore this version?"
      confirm="Restore"
      kind="primary"
      onConfirm={restore}
      onClose={props.onClose}
    >
      <p>
        {props.name} becomes what it was in “{props.title}”, for everybody in the room. This is a new edit of
        yours: nothing of the history is lost, what others type meanwhile stays, and undo in the editor takes
        it back.
      </p>
    </ConfirmDialog>
  );
}
