/** At the end of the tab bar: what can be done with the file in front besides editing it. */
import type { IDockviewHeaderActionsProps } from 'dockview-react';
import { History, UserPen } from 'lucide-react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { blameShown } from '../history/blameShown';
import { useRoom } from '../room/roomContext';
import { type EditorParams, HISTORY } from './editorArea';

export function FileActions(props: IDockviewHeaderActionsProps) {
  const { session, opener } = useRoom();
  const tree = useStore(session.tree);
  const blame = useStore(blameShown);
  const panel = props.activePanel;
  const id = (panel?.params as EditorParams | undefined)?.node;
  const kind = id === undefined ? undefined : tree.byId.get(id)?.kind;
  if (!panel || id === undefined || panel.id.startsWith(HISTORY) || (kind ?? 'text') !== 'text') return null;
  const blameWords = blame ? 'Hide who wrote each line' : 'Show who wrote each line';
  return (
    <div className="file-actions">
      <Tip text={blameWords}>
        <button
          type="button"
          className="icon-button"
          aria-label={blameWords}
          aria-pressed={blame}
          data-testid="blame-toggle"
          onClick={() => blameShown.set(!blame)}
        >
          <UserPen size={15} />
        </button>
      </Tip>
      <Tip text="History of this file">
        <button
          type="button"
          className="icon-button"
          aria-label="History of this file"
          data-testid="open-history"
          onClick={() => opener.open({ node: id, history: true, focus: true })}
        >
          <History size={15} />
        </button>
      </Tip>
    </div>
  );
}
