/** A file's past as a tab beside its text: its versions on one side, the chosen one on the other. */
import type { IDockviewPanelProps } from 'dockview-react';
import { useEffect } from 'react';
import { useStore } from '../../ui/store';
import type { EditorParams } from '../editor/editorArea';
import { useHeldFile } from '../editor/useHeldFile';
import { useRoom } from '../room/roomContext';
import { FileHistory } from './fileHistory';
import './history.css';

export function HistoryTab(props: IDockviewPanelProps<EditorParams>) {
  const { session } = useRoom();
  const tree = useStore(session.tree);
  const { node: id, lastName, intent } = props.params;
  const node = tree.byId.get(id);
  const file = useHeldFile(id);
  const name = node?.name ?? lastName;

  useEffect(() => {
    if (node && node.name !== lastName) {
      props.api.setTitle(node.name);
      props.api.updateParameters({ lastName: node.name });
    }
  }, [node, lastName, props.api]);

  if (node && node.kind !== 'text')
    return (
      <p className="history-empty" data-testid="history-none">
        There is no history of {node.name}: it is kept for text files of up to 1 MB, and this is{' '}
        {node.kind === 'large' ? 'a larger one' : 'not text'}. You can download it from its own tab.
      </p>
    );
  if (!file) return null;
  return (
    <FileHistory key={id} file={file} name={name} path={node?.path ?? lastName} focus={intent?.serial} />
  );
}
