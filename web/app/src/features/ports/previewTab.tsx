/**
 * What a program serves on a port, in a frame. The frame has an origin of its own, so nothing in it reaches this page, and this page
 * sees nothing of it but that it loaded.
 */
import type { IDockviewPanelHeaderProps, IDockviewPanelProps } from 'dockview-react';
import { AppWindow, ExternalLink, Loader, RotateCw, TriangleAlert, Unplug, X } from 'lucide-react';
import { type FormEvent, useEffect, useState } from 'react';
import { sentence } from '../../api/client';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import { openInTab } from './openInTab';
import './ports.css';
import { asPath, whyNoPreview } from './portsModel';

export interface PreviewParams {
  port: number;
}

/** All a program's page needs, but not to lead this page elsewhere. */
const ALLOWED =
  'allow-scripts allow-same-origin allow-forms allow-modals allow-downloads allow-popups allow-popups-to-escape-sandbox';

/** What the frame shows. `serial` tells one loading from the next. */
type Shown =
  | { is: 'asking' }
  | { is: 'frame'; url: string; serial: number; loaded: boolean }
  | { is: 'failed'; problem: string };

export function PreviewTab(props: IDockviewPanelProps<PreviewParams>) {
  const { session } = useRoom();
  const { port } = props.params;
  const connection = useStore(session.connection);
  const [path, setPath] = useState('/');
  const [typed, setTyped] = useState('/');
  const [serial, setSerial] = useState(0);
  const [shown, setShown] = useState<Shown>({ is: 'asking' });
  const whyNot = whyNoPreview({
    port,
    listening: useStore(session.ports).includes(port),
    may: useMay('preview'),
    away: connection.kind === 'reconnecting' || connection.kind === 'offline',
    off: useStore(session.sandbox).state === 'off',
  });
  const can = whyNot === null;

  useEffect(() => {
    if (!can) return;
    let left = false;
    setShown({ is: 'asking' });
    session.api.openPreview(session.room.id, port, path).then(
      ({ url }) => !left && setShown({ is: 'frame', url, serial, loaded: false }),
      (error: unknown) => !left && setShown({ is: 'failed', problem: sentence(error) }),
    );
    return () => {
      left = true;
    };
  }, [session, port, path, serial, can]);

  const reload = () => setSerial((count) => count + 1);
  const go = (event: FormEvent) => {
    event.preventDefault();
    const next = asPath(typed);
    setTyped(next);
    setPath(next);
    reload();
  };
  const busy = can && (shown.is === 'asking' || (shown.is === 'frame' && !shown.loaded));
  return (
    <section
      className="preview"
      aria-label={`Preview of port ${port}`}
      data-testid="preview"
      data-port={port}
    >
      <form className="preview-bar" onSubmit={go}>
        <Tip text="Load again">
          <button
            type="button"
            className="icon-button"
            aria-label="Load again"
            data-testid="preview-reload"
            onClick={reload}
          >
            {busy ? <Loader size={14} className="spin" /> : <RotateCw size={14} />}
          </button>
        </Tip>
        <label className="preview-address">
          <span>:{port}</span>
          <input
            aria-label="Path"
            data-testid="preview-path"
            value={typed}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => setTyped(event.target.value)}
          />
        </label>
        <Tip text="Open in a new tab">
          <button
            type="button"
            className="icon-button"
            aria-label="Open in a new tab"
            data-testid="preview-tab-open"
            disabled={!can}
            onClick={() => void openInTab(session, port, path)}
          >
            <ExternalLink size={14} />
          </button>
        </Tip>
      </form>
      {can && shown.is === 'frame' && (
        <iframe
          key={shown.serial}
          className="preview-frame"
          title={`Port ${port}`}
          src={shown.url}
          sandbox={ALLOWED}
          referrerPolicy="no-referrer"
          data-testid="preview-frame"
          onLoad={() => setShown((now) => (now.is === 'frame' ? { ...now, loaded: true } : now))}
        />
      )}
      {can && shown.is === 'failed' && (
        <div className="preview-empty" role="alert" data-testid="preview-problem">
          <TriangleAlert size={26} strokeWidth={1.4} aria-hidden />
          <p>{shown.problem}</p>
          <button type="button" className="button" data-size="small" onClick={reload}>
            <RotateCw size={13} /> Try again
          </button>
        </div>
      )}
      {!can && (
        <div className="preview-empty" role="status" data-testid="preview-empty">
          <Unplug size={26} strokeWidth={1.4} aria-hidden />
          <p>{whyNot}</p>
        </div>
      )}
    </section>
  );
}

export function PreviewTabHead(props: IDockviewPanelHeaderProps<PreviewParams>) {
  const name = `Port ${props.params.port}`;
  return (
    <div className="editor-tab" data-testid="preview-head" title={`Preview of port ${props.params.port}`}>
      <AppWindow size={14} aria-hidden />
      <span className="editor-tab-name">{name}</span>
      <button
        type="button"
        className="editor-tab-close"
        aria-label={`Close the preview of port ${props.params.port}`}
        data-testid="preview-close"
        onPointerDown={(event) => event.stopPropagation()}
        onClick={(event) => {
          event.stopPropagation();
          props.api.close();
        }}
      >
        <X size={13} />
      </button>
    </div>
  );
}
