/** The bar at the top: which room, how the connection is, who is here, and how to bring others in. */
import { Check, Link2, Moon, Sun } from 'lucide-react';
import { useState } from 'react';
import { copyText } from '../../ui/clipboard';
import { Logo } from '../../ui/logo';
import { useStore } from '../../ui/store';
import { theme, toggleTheme } from '../../ui/theme';
import { Tip } from '../../ui/tip';
import { RoleBadge } from '../access/roleBadge';
import { ConnectionBadge } from '../connection/connectionBadge';
import { PeopleBar } from '../presence/peopleBar';
import { useRoom } from './roomContext';

/** How long "Link copied" stands. */
const COPIED_MS = 2200;

export function RoomHeader() {
  const { session } = useRoom();
  return (
    <header className="room-header" data-testid="room-header">
      {/* A real navigation: the browser then asks before it leaves unsaved edits. */}
      <a className="room-home" href="/" aria-label="All rooms">
        <Logo size={22} />
      </a>
      <h1 className="room-name" data-testid="room-name" title={session.room.title}>
        {session.room.title}
      </h1>
      <ConnectionBadge connection={session.connection} />
      <RoleBadge />
      <span className="room-header-space" />
      <PeopleBar />
      <CopyLink />
      <ThemeToggle />
    </header>
  );
}

function CopyLink() {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await copyText(location.origin + location.pathname))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <Tip text="Whoever opens the link can join and edit">
      <button type="button" className="button" data-testid="copy-link" onClick={copy}>
        {copied ? <Check size={14} /> : <Link2 size={14} />}
        <span aria-live="polite">{copied ? 'Link copied' : 'Copy link'}</span>
      </button>
    </Tip>
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
