/** What one can show without saying it, and that one wants to say something, as a menu among the call's controls. */
import { SmilePlus } from 'lucide-react';
import { Button, Menu, MenuItem, MenuTrigger, Popover, Separator } from 'react-aria-components';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { REACTIONS, type ReactionId } from './reactionModel';
import './reactions.css';

const HAND = 'hand';

export function ReactionsMenu() {
  const { call, hands, reactions } = useRoom().session;
  const { me } = useStore(call.state);
  const isUp = useStore(hands.up).some(({ participant }) => participant === me);
  const act = (key: ReactionId | typeof HAND) => {
    if (key === HAND) {
      if (isUp) hands.lower();
      else hands.raise();
    } else if (me !== null) reactions.react(me, key);
  };
  return (
    <MenuTrigger>
      <Button className="call-control" data-testid="control-reactions" aria-label="React or raise a hand">
        <SmilePlus size={16} />
      </Button>
      <Popover className="menu-popover" placement="top" offset={6}>
        <Menu
          className="menu-list"
          aria-label="React"
          onAction={(key) => act(key as Parameters<typeof act>[0])}
        >
          {REACTIONS.map(({ id, emoji, words }) => (
            <MenuItem
              key={id}
              id={id}
              className="menu-entry reaction-entry"
              textValue={words}
              data-testid={`react-${id}`}
            >
              <span className="emoji" aria-hidden>
                {emoji}
              </span>
              <span className="reaction-words">{words}</span>
            </MenuItem>
          ))}
          <Separator className="menu-rule" />
          <MenuItem
            id={HAND}
            className="menu-entry reaction-entry"
            textValue={isUp ? 'Lower your hand' : 'Raise your hand'}
            data-testid="hand"
          >
            <span className="emoji" aria-hidden>
              ✋
            </span>
            {isUp ? 'Lower your hand' : 'Raise your hand'}
          </MenuItem>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
