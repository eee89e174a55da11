/** The ports of the room's sandbox: how many there are, and a menu that opens what is served there. */
import { AppWindow, ExternalLink, Radio } from 'lucide-react';
import { Button, Dialog, DialogTrigger, Popover } from 'react-aria-components';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import { portRows } from '../devcontainer/devcontainerModel';
import { useRoom } from '../room/roomContext';
import { openInTab } from './openInTab';
import './ports.css';

export function PortsMenu() {
  const { session, opener } = useRoom();
  const listening = useStore(session.ports);
  const rows = portRows(listening, useStore(session.devcontainer));
  const off = useStore(session.sandbox).state === 'off';
  const may = useMay('preview');
  const words = listening.length === 0 ? 'Ports: none' : `Ports: ${listening.join(', ')}`;
  return (
    <DialogTrigger>
      <Button className="button" data-testid="ports" aria-label={words}>
        <Radio size={14} aria-hidden />
        <span>Ports</span>
        {listening.length > 0 && <b className="ports-count">{listening.length}</b>}
      </Button>
      <Popover className="menu-popover ports-popover" placement="bottom end" offset={6}>
        <Dialog className="ports-list" aria-label="Ports" data-testid="ports-list">
          {({ close }) =>
            rows.length === 0 ? (
              <p className="ports-empty">
                {off
                  ? 'Programs cannot run here: the sandbox is off on this server.'
                  : 'No program listens on a port. Start one in a terminal, such as'}
                {!off && <code>python3 -m http.server 8000</code>}
                {!off && 'and it appears here by itself, for everybody in this room.'}
              </p>
            ) : (
              <>
                <h2>{listening.length > 0 ? 'Programs listen on' : 'Programs are expected on'}</h2>
                {rows.map(({ port, label, listening }) => (
                  <div
                    key={port}
                    className="ports-row"
                    data-testid="port"
                    data-port={port}
                    data-listening={listening}
                  >
                    <span className="ports-number">{port}</span>
                    <span className="ports-label">
                      {label}
                      {!listening && <i>{label === null ? 'no program yet' : ', no program yet'}</i>}
                    </span>
                    <button
                      type="button"
                      className="button"
                      data-size="small"
                      data-testid="open-preview"
                      disabled={!may || !listening}
                      onClick={() => {
                        close();
                        opener.open({ preview: port });
                      }}
                    >
                      <AppWindow size={13} aria-hidden /> Preview
                    </button>
                    <button
                      type="button"
                      className="icon-button"
                      data-testid="open-preview-tab"
                      aria-label={`Open port ${port} in a new tab`}
                      title="Open in a new tab"
                      disabled={!may || !listening}
                      onClick={() => {
                        close();
                        void openInTab(session, port);
                      }}
                    >
                      <ExternalLink size={14} />
                    </button>
                  </div>
                ))}
                {!may && <p className="ports-note">Opening previews needs a link with the role editor.</p>}
              </>
            )
          }
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}
