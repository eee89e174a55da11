/** On a phone the room's files lie over the page while one looks for something: beside the text there is no room for them. */
import { Files } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { useStore } from '../../ui/store';
import type { Opener } from './roomContext';

/** Escape there is about something else. */
const BUSY = 'input, [role="dialog"], [role="menu"]';

export interface FilesDrawer {
  isOpen: boolean;
  toggle: () => void;
  close: () => void;
}

/** `null` where files have their place beside the text. */
export function useFilesDrawer(isPhone: boolean, opener: Opener): FilesDrawer | null {
  const [isOpen, setOpen] = useState(false);
  const shown = isPhone && isOpen;
  const opened = useStore(opener.opened);
  const close = useCallback(() => setOpen(false), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is looked for is found whenever something is opened.
  useEffect(close, [opened, isPhone]);
  useEffect(() => {
    if (!shown) return;
    document.querySelector<HTMLElement>('.tree-panel [role="tree"]')?.focus();
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || (event.target instanceof Element && event.target.closest(BUSY))) return;
      setOpen(false);
      document.querySelector<HTMLElement>('[data-testid="files"]')?.focus();
    };
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, [shown]);
  return isPhone ? { isOpen, toggle: () => setOpen(!isOpen), close } : null;
}

export function FilesButton({ drawer }: { drawer: FilesDrawer }) {
  return (
    <button
      type="button"
      className="icon-button"
      data-testid="files"
      aria-label="Files"
      aria-expanded={drawer.isOpen}
      onClick={drawer.toggle}
    >
      <Files size={16} />
    </button>
  );
}
