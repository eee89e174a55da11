/** A context menu at a point of the page, with arrow keys, type-ahead and focus that returns. */
import type { LucideIcon } from 'lucide-react';
import { Fragment, useRef } from 'react';
import { Menu as AriaMenu, MenuItem, Popover } from 'react-aria-components';

export interface MenuEntry {
  id: string;
  label: string;
  icon: LucideIcon;
  hint?: string;
  danger?: boolean;
  run: () => void;
}

export function ContextMenu(props: {
  label: string;
  at: { x: number; y: number };
  entries: MenuEntry[];
  onClose: () => void;
}) {
  const anchor = useRef<HTMLSpanElement>(null);
  return (
    <>
      <span ref={anchor} style={{ position: 'fixed', left: props.at.x, top: props.at.y }} />
      <Popover
        triggerRef={anchor}
        isOpen
        onOpenChange={(open) => !open && props.onClose()}
        placement="bottom start"
        offset={2}
        className="menu-popover"
        aria-label={props.label}
        data-testid="menu"
      >
        <AriaMenu
          className="menu-list"
          aria-label={props.label}
          autoFocus="first"
          onAction={(key) => {
            props.onClose();
            props.entries.find((entry) => entry.id === key)?.run();
          }}
          onClose={props.onClose}
        >
          {props.entries.map((entry) => (
            <Fragment key={entry.id}>
              <MenuItem
                id={entry.id}
                className="menu-entry"
                textValue={entry.label}
                data-danger={entry.danger || undefined}
                data-testid={`menu-${entry.id}`}
              >
                <entry.icon size={14} />
                {entry.label}
                {entry.hint && <kbd>{entry.hint}</kbd>}
              </MenuItem>
            </Fragment>
          ))}
        </AriaMenu>
      </Popover>
    </>
  );
}
