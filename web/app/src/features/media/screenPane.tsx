/**
 * One picture of a call, large: beside the editors, below or over them, floating, or in a window of its own. With several screens, each has a
 * tab. Where the page has room for it says `docked.tsx`.
 */
import { PictureInPicture2, X } from 'lucide-react';
import { type KeyboardEvent, type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import { drag } from '../../ui/drag';
import { useStore } from '../../ui/store';
import { notify } from '../../ui/toast';
import { useWindowSize } from '../../ui/windowSize';
import { useRoom } from '../room/roomContext';
import type { Dock } from './dock';
import { firstBox, fitBox, layerFor, type Place, screensOf } from './dockModel';
import { grown, MoveButton, moved } from './floatingBox';
import { sharingWords, type Tile, tileWords } from './mediaModel';
import { PlaceMenu } from './placeMenu';
import { canPopOut, popOut } from './popOut';
import { useLost } from './useLost';
import { useZoom } from './useZoom';
import { Viewport, ZoomButtons } from './zoomView';
import './dock.css';

export function ScreenPane(props: { tiles: Tile[]; place: Place; places: Place[] }) {
  const { dock } = useRoom().session;
  const chosen = useStore(dock.chosen);
  const screens = screensOf(props.tiles);
  const tile = props.tiles.find(({ key }) => key === chosen);
  return (
    <>
      <p className="visually-hidden" role="status">
        {sharingWords(screens)}
      </p>
      {tile && <Pane {...props} dock={dock} tile={tile} screens={screens} />}
    </>
  );
}

function Pane(props: { dock: Dock; tile: Tile; screens: Tile[]; place: Place; places: Place[] }) {
  const { dock, tile, place } = props;
  const popped = useStore(dock.popped);
  const { box } = useStore(dock.layout);
  const size = useWindowSize();
  const lost = useLost();
  const section = useRef<HTMLElement>(null);
  const [viewport, setViewport] = useState<HTMLElement | null>(null);
  const zoom = useZoom(viewport, tile.key);
  const floats = place === 'floating' && popped === null;
  const shownBox = floats ? fitBox(box ?? firstBox(size), size) : null;
  const words = tileWords(tile);

  // How large the browser's own window for a video is it does not say.
  const layer = popped?.kind === 'video' ? 'high' : layerFor(zoom.across);
  useEffect(() => dock.layer.set(layer), [dock, layer]);
  useFocusBack(section);
  useEscape(dock, place === 'stage' && popped === null);

  const onKeyDown = (event: KeyboardEvent) => {
    // What comes out of its menu is about the menu.
    if (event.key !== 'Escape' || !event.currentTarget.contains(event.target as Node)) return;
    if (popped) dock.comeBack();
    else if (floats) dock.choose(null);
    else if (place !== 'stage') focusEditor();
  };
  const open = () =>
    popOut(dock, words, viewport?.querySelector('video') ?? null).catch(() =>
      notify('The browser did not open a window.', 'bad'),
    );
  const isApart = popped?.kind === 'document';
  const pane = (
    <section
      ref={section}
      className="dock"
      aria-label={words}
      data-testid="stage"
      data-place={popped ? 'window' : place}
      data-lost={lost || undefined}
      data-hidden={popped?.kind === 'video' || undefined}
      style={
        shownBox
          ? { left: shownBox.x, top: shownBox.y, width: shownBox.width, height: shownBox.height }
          : undefined
      }
      onKeyDown={onKeyDown}
    >
      <header
        className="dock-head"
        onPointerDown={
          shownBox
            ? (event) => drag(event, (x, y) => dock.move(fitBox(moved(shownBox, x, y), size)))
            : undefined
        }
      >
        {shownBox && <MoveButton box={shownBox} onMove={(box) => dock.move(fitBox(box, size))} />}
        <Title {...props} />
        <span className="dock-tools">
          <ZoomButtons zoom={zoom} />
          {!popped && <PlaceMenu place={place} places={props.places} onPut={(place) => dock.put(place)} />}
          {!popped && canPopOut() && (
            <button
              type="button"
              className="dock-button"
              data-testid="dock-window"
              aria-label="Show in a window of its own"
              title="Show in a window of its own"
              onClick={() => void open()}
            >
              <PictureInPicture2 size={14} />
            </button>
          )}
          {isApart ? (
            <button
              type="button"
              className="button"
              data-size="small"
              data-testid="dock-back"
              onClick={() => dock.comeBack()}
            >
              Back to the room
            </button>
          ) : place === 'stage' ? (
            <button
              type="button"
              className="button"
              data-size="small"
              data-testid="unstage"
              onClick={() => dock.choose(null)}
            >
              <X size={13} aria-hidden /> <span>Back to the editor</span>
            </button>
          ) : (
            <button
              type="button"
              className="dock-button"
              data-testid="unstage"
              aria-label="Close"
              title="Close"
              onClick={() => dock.choose(null)}
            >
              <X size={14} />
            </button>
          )}
        </span>
      </header>
      <Viewport tile={tile} words={words} zoom={zoom} onElement={setViewport} />
      {shownBox && (
        <span
          className="dock-corner"
          data-testid="dock-corner"
          onPointerDown={(event) => drag(event, (x, y) => dock.move(fitBox(grown(shownBox, x, y), size)))}
        />
      )}
    </section>
  );
  return isApart ? createPortal(pane, popped.window.document.body) : pane;
}

/** Whose screens there are, or what the one picture is. */
function Title({ dock, tile, screens }: { dock: Dock; tile: Tile; screens: Tile[] }) {
  const all = tile.source === 'screen' ? screens : [tile, ...screens];
  if (all.length < 2) return <h2 className="dock-title">{tileWords(tile)}</h2>;
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = all.findIndex(({ key }) => key === tile.key);
    const next = all[(at + step + all.length) % all.length];
    if (!next) return;
    dock.choose(next.key);
    const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>('[role="tab"]')];
    tabs[all.indexOf(next)]?.focus();
  };
  return (
    <div className="dock-tabs" role="tablist" aria-label="Shared screens" onKeyDown={onKeyDown}>
      {all.map((one) => (
        <button
          key={one.key}
          type="button"
          role="tab"
          aria-selected={one === tile}
          tabIndex={one === tile ? 0 : -1}
          data-testid="dock-tab"
          data-name={one.participant.person.name}
          onClick={() => dock.choose(one.key)}
        >
          {tileWords(one)}
        </button>
      ))}
    </div>
  );
}

/** On the stage it closes from anywhere but where the key is somebody else's. */
function useEscape(dock: Dock, isStage: boolean): void {
  useEffect(() => {
    if (!isStage) return;
    const close = (event: globalThis.KeyboardEvent) => {
      const inside =
        event.target instanceof Element &&
        event.target.closest('.centre, .terminal-screen, [role="dialog"], [role="menu"]');
      if (event.key === 'Escape' && !inside) dock.choose(null);
    };
    window.addEventListener('keydown', close);
    return () => window.removeEventListener('keydown', close);
  }, [dock, isStage]);
}

/** Whoever had the keyboard in the pane goes on in the editor when it is gone. */
function useFocusBack(section: RefObject<HTMLElement | null>): void {
  useLayoutEffect(
    () => () => {
      if (section.current?.contains(document.activeElement)) focusEditor();
    },
    [section],
  );
}

function focusEditor(): void {
  const targets = document.querySelectorAll<HTMLElement>(
    '.centre .monaco-editor :is(textarea, .native-edit-context), .call-controls button',
  );
  [...targets].find((target) => target.checkVisibility())?.focus({ preventScroll: true });
}
