/** The bar at the top: which room, how the connection is, who is here, and how to bring others in. */
import { Moon, Sun, UserPlus } from 'lucide-react';
import { useState } from 'react';
import { Logo } from '../../ui/logo';
import { useStore } from '../../ui/store';
import { theme, toggleTheme } from '../../ui/theme';
import { Tip } from '../../ui/tip';
import { RoleBadge } from '../access/roleBadge';
import { ConnectionBadge } from '../connection/connectionBadge';
import { CallButton } from '../media/callButton';
import { PortsMenu } from '../ports/portsMenu';
import { PeopleBar } from '../presence/peopleBar';
import { SecretsButton } from '../secrets/secretsButton';
import { ShareDialog } from '../share/shareDialog';
import { FilesButton, type FilesDrawer } from './filesDrawer';
import { useRoom } from './roomContext';

export function RoomHeader(props: { files: FilesDrawer | null }) {
  const { session } = useRoom();
  return (
    <header className="room-header" data-testid="room-header">
      {/* A real navigation: the browser then asks before it leaves unsaved edits. */}
      <a className="room-home" href="/" aria-label="All rooms">
        <Logo size={22} />
      </a>
      {props.files && <FilesButton drawer={props.files} />}
      <h1 className="room-name" data-testid="room-name" title={session.room.title}>
        {session.room.title}
      </h1>
      <ConnectionBadge connection={session.connection} />
      <RoleBadge />
      <span className="room-header-space" />
      <PeopleBar />
      <CallButton />
      <PortsMenu />
      <SecretsButton />
      <Share />
      <ThemeToggle />
    </header>
  );
}

function Share() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" className="button" data-testid="share" onClick={() => setOpen(true)}>
        <UserPlus size={14} aria-hidden />
        <span>Share</span>
      </button>
      {open && <ShareDialog onClose={() => setOpen(false)} />}
    </>
  );
}

export function ThemeToggle() {
  const value = useStore(theme);
  const label = value === 'dark' ? 'Use light colours' : 'Use dark colours';
  return (
    <Tip text={label}>
      <button
        type="button"
        className="icon-button"
        data-testid="theme-toggle"
        aria-label={label}
        onClick={toggleTheme}
      >
        {value === 'dark' ? <Sun size={16} /> : <Moon size={16} />}
      </button>
    </Tip>
  );
}
