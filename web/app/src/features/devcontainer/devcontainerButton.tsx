/** By which devcontainer.json the room's sandbox was made, and what of it is not done: a button with a list. */
import { Container } from 'lucide-react';
import { Button, Dialog, DialogTrigger, Popover } from 'react-aria-components';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import './devcontainer.css';
import { fileName } from './devcontainerModel';

export function DevcontainerButton() {
  const { session } = useRoom();
  const devcontainer = useStore(session.devcontainer);
  if (devcontainer === null) return null;
  const { notices, image, path } = devcontainer;
  const count = notices.length === 1 ? '1 notice' : `${notices.length} notices`;
  return (
    <DialogTrigger>
      <Button
        className="button devcontainer-button"
        data-size="small"
        data-kind="quiet"
        data-testid="devcontainer"
        data-notices={notices.length}
        aria-label={notices.length > 0 ? `${path}, ${count}` : path}
      >
        <Container size={13} aria-hidden />
        {fileName(devcontainer)}
        {notices.length > 0 && <b className="devcontainer-count">{count}</b>}
      </Button>
      <Popover className="menu-popover devcontainer-popover" placement="top end" offset={6}>
        <Dialog className="devcontainer-list" aria-label={path} data-testid="devcontainer-list">
          <h2>
            This sandbox was made by <code>{path}</code>
          </h2>
          <p className="devcontainer-image">
            {image === null ? (
              "Its image is this server's usual one."
            ) : (
              <>
                Its image is <code>{image}</code>.
              </>
            )}{' '}
            A change of the file takes effect in the next sandbox.
          </p>
          {notices.length > 0 && (
            <>
              <h3>Not as the file says</h3>
              <ul>
                {notices.map((notice, at) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: the list is replaced as a whole
                  <li key={at} data-testid="devcontainer-notice" data-key={notice.key ?? ''}>
                    {notice.key !== null && <code>{notice.key}</code>} {notice.message}
                  </li>
                ))}
              </ul>
            </>
          )}
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}
