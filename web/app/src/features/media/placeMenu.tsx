/** Where the large picture of a call is to stand, as a menu. */
import {
  AppWindow,
  Check,
  LayoutPanelLeft,
  type LucideIcon,
  Maximize,
  PanelBottom,
  PanelLeft,
  PanelRight,
} from 'lucide-react';
import { Button, Menu, MenuItem, MenuTrigger, Popover } from 'react-aria-components';
import type { Place } from './dockModel';

const PLACES: Record<Place, { words: string; icon: LucideIcon }> = {
  stage: { words: 'Over the editor', icon: Maximize },
  left: { words: 'Left of the editor', icon: PanelLeft },
  right: { words: 'Right of the editor', icon: PanelRight },
  bottom: { words: 'Below the editor', icon: PanelBottom },
  floating: { words: 'Floating', icon: AppWindow },
};

/** Nothing where there is no choice. */
export function PlaceMenu(props: { place: Place; places: Place[]; onPut: (place: Place) => void }) {
  if (props.places.length < 2) return null;
  const all = Object.entries(PLACES) as [Place, (typeof PLACES)[Place]][];
  return (
    <MenuTrigger>
      <Button className="dock-button" data-testid="dock-place" aria-label="Where this stands">
        <LayoutPanelLeft size={14} />
      </Button>
      <Popover className="menu-popover" placement="bottom end" offset={4}>
        <Menu
          className="menu-list"
          aria-label="Where this stands"
          selectionMode="single"
          selectedKeys={[props.place]}
          onAction={(key) => props.onPut(key as Place)}
        >
          {all
            .filter(([place]) => props.places.includes(place))
            .map(([place, { words, icon: Icon }]) => (
              <MenuItem
                key={place}
                id={place}
                className="menu-entry"
                textValue={words}
                data-testid={`dock-${place}`}
              >
                <Icon size={14} aria-hidden />
                {words}
                {place === props.place && <Check size={13} className="menu-check" aria-hidden />}
              </MenuItem>
            ))}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
