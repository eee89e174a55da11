/** One line of the tree. It reports what was done to it and holds no state. */
import { ChevronRight } from 'lucide-react';
import { type DragEvent, type MouseEvent, memo, type ReactNode } from 'react';
import { initials } from '../../ui/color';
import type { PersonHere } from '../presence/people';
import { bytes } from '../runs/format';
import { FileIcon } from './fileIcon';
import { factsOf, type TreeNode } from './treeModel';

export const DRAG_TYPE = 'application/x-buildspaces-node';

export interface RowEvents {
  click: (node: TreeNode) => void;
  menu: (node: TreeNode, at: { x: number; y: number }) => void;
  dragOver: (node: TreeNode, event: DragEvent) => void;
  drop: (node: TreeNode, event: DragEvent) => void;
}

export const TreeRow = memo(function TreeRow(props: {
  node: TreeNode;
  rowId: string;
  expanded: boolean;
  /** It can be dragged to another folder. */
  movable: boolean;
  active: boolean;
  selected: boolean;
  dropTarget: boolean;
  people: readonly PersonHere[] | undefined;
  events: RowEvents;
  editing: ReactNode | null;
}) {
  const { node, events } = props;
  const folder = node.kind === 'folder';
  const names = props.people?.map((person) => person.name).join(', ');
  const facts = factsOf(node);
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus and names the active row.
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles the keys.
    <div
      id={props.rowId}
      role="treeitem"
      className="tree-row"
      data-testid="tree-item"
      data-path={node.path}
      data-kind={node.kind}
      data-node={node.id}
      data-active={props.active || undefined}
      data-drop={props.dropTarget || undefined}
      aria-level={node.depth + 1}
      aria-expanded={folder ? props.expanded : undefined}
      aria-selected={props.selected}
      aria-label={[node.name, facts, names && `${names} here`].filter(Boolean).join(', ')}
      style={{ paddingLeft: 8 + node.depth * 14 }}
      draggable={props.movable && props.editing === null}
      title={props.editing ? undefined : facts ? `${node.path}\n${facts}` : node.path}
      onClick={() => events.click(node)}
      onContextMenu={(event: MouseEvent) => {
        event.preventDefault();
        event.stopPropagation();
        events.menu(node, { x: event.clientX, y: event.clientY });
      }}
      onDragStart={(event) => {
        event.dataTransfer.setData(DRAG_TYPE, node.id);
        event.dataTransfer.effectAllowed = 'move';
      }}
      onDragOver={(event) => events.dragOver(node, event)}
      onDrop={(event) => events.drop(node, event)}
    >
      <ChevronRight
        size={14}
        className="tree-chevron"
        data-open={props.expanded || undefined}
        style={{ visibility: folder ? 'visible' : 'hidden' }}
        aria-hidden
      />
      <FileIcon name={node.name} kind={node.kind} open={props.expanded} />
      {props.editing ?? <span className="tree-label">{node.name}</span>}
      {facts && !props.editing && node.size !== null && (
        <span className="tree-size" data-testid="tree-size">
          {bytes(node.size)}
        </span>
      )}
      {props.people && (
        // The row's name has their names, and no text that is not in it.
        <span className="tree-people" title={`${names} here`} aria-hidden>
          {props.people.slice(0, 3).map((person) => (
            <span
              key={person.id}
              className="tree-dot"
              data-testid="tree-presence"
              data-name={person.name}
              data-initial={initials(person.name).slice(0, 1)}
              style={{ background: person.color }}
            />
          ))}
        </span>
      )}
    </div>
  );
});
