/** The call beside the editor: a picture for each person and shared screen, what can be turned on and off, and the way out. */
import {
  Eye,
  Mic,
  MicOff,
  MonitorUp,
  MonitorX,
  PhoneOff,
  Settings2,
  SignalMedium,
  TriangleAlert,
  Video,
  VideoOff,
  X,
} from 'lucide-react';
import { type RefObject, useEffect, useRef, useState } from 'react';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useMay } from '../access/useAccess';
import { CallLock } from '../e2ee/callLock';
import { ReactionsMenu } from '../reactions/reactionsMenu';
import { ReactionsSaid, SpeakerQueue } from '../reactions/reactionView';
import { useRoom } from '../room/roomContext';
import { AudioOut } from './audioOut';
import type { Call } from './call';
import { CallRecording } from './callRecording';
import { DevicesDialog } from './devices';
import type { Dock } from './dock';
import { nextChosen, type Place, screensOf } from './dockModel';
import { letGo, useKeys } from './keys';
import { broughtUp, heldWords, type Source, type Tile, tiles, viewerWords, wants } from './mediaModel';
import { ScreenPane } from './screenPane';
import { TileView } from './tileView';
import { useLost } from './useLost';
import './media.css';

export default function CallStrip(props: { place: Place; places: Place[] }) {
  const { session } = useRoom();
  const { call, media, dock } = session;
  const state = useStore(call.state);
  const participants = useStore(media.participants);
  const link = useStore(media.state);
  const chosen = useStore(dock.chosen);
  const layer = useStore(dock.layer);
  const popped = useStore(dock.popped);
  const apart = popped !== null;
  const hidden = useHidden();
  const strip = useRef<HTMLElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const lost = useLost();
  useFocus(strip);
  useKeys(call, popped?.kind === 'document' ? popped.window : null, useMay('publish_audio'));
  const all = tiles(participants, state.me);
  useChosen(dock, all, state.phase === 'in');
  const keys = all.map(({ key }) => key).join(' ');
  // What is about to come into sight is there when it does.
  const unseen = useUnseen(list, keys, 100);
  const outOfSight = useUnseen(list, keys, -40);
  const speakers = useStore(media.speakers);
  const [up, setUp] = useState<readonly string[]>([]);
  useEffect(() => setUp((before) => broughtUp(before, speakers, outOfSight)), [speakers, outOfSight]);

  useEffect(() => {
    const large = chosen === null ? null : { track: chosen, layer, apart };
    if (state.phase === 'in') call.want(wants(participants, state.me, large, hidden, unseen));
  }, [call, participants, state.phase, state.me, chosen, layer, apart, hidden, unseen]);

  return (
    <>
      <aside
        ref={strip}
        className="call-strip"
        aria-label="Call"
        data-testid="call-strip"
        data-phase={state.phase}
        data-lost={lost || undefined}
        tabIndex={-1}
      >
        <ul ref={list} className="tiles">
          {all.map((tile) => (
            // Moved by style: a picture that moves within the page stands still for a moment.
            <li key={tile.key} data-key={tile.key} style={{ order: place(up, tile.key) }}>
              <TileView
                tile={tile}
                staged={tile.key === chosen}
                onStage={() => dock.choose(tile.key === chosen ? null : tile.key)}
              />
            </li>
          ))}
        </ul>
        {(state.phase === 'joining' || lost) && (
          <p className="call-waiting" role="status" data-testid="call-waiting">
            {link === 'online' && state.phase === 'joining'
              ? 'Joining…'
              : 'The connection is lost. Coming back…'}
          </p>
        )}
        <CallLock />
        <SpeakerQueue />
        <Viewers />
        <Line />
        <Messages />
        <CallRecording />
        <Controls />
        <ReactionsSaid />
        <AudioOut />
      </aside>
      <ScreenPane tiles={all} place={props.place} places={props.places} />
    </>
  );
}

/** Before the others, which have none. */
function place(up: readonly string[], key: string): number | undefined {
  const at = up.indexOf(key);
  return at < 0 ? undefined : at - up.length;
}

/** What is large follows who shares. While it joins anew it does not know which of the tiles is its own. */
function useChosen(dock: Dock, all: Tile[], isIn: boolean): void {
  const screens = useRef<string[]>([]);
  useEffect(() => {
    if (!isIn) return;
    dock.choose(nextChosen(all, screens.current, dock.chosen.get()));
    screens.current = screensOf(all).map(({ key }) => key);
  }, [dock, all, isIn]);
  useEffect(() => () => dock.choose(null), [dock]);
}

/** How the line is, when that is worth a word. */
function Line() {
  const words = heldWords(useStore(useRoom().session.call.held));
  return (
    <p className="call-line" role="status" data-testid="call-line" hidden={words === null}>
      <SignalMedium size={13} aria-hidden />
      <span>{words}</span>
    </p>
  );
}

/** Who watches without being seen here. */
function Viewers() {
  const words = viewerWords(useStore(useRoom().session.media.viewers));
  return (
    <p className="call-line" role="status" data-testid="call-viewers" hidden={words === null}>
      <Eye size={13} aria-hidden />
      <span>{words}</span>
    </p>
  );
}

/** What somebody is asked to do, and does. */
const ASKED: Record<Source, { words: string; button: string; agree: (call: Call) => Promise<void> }> = {
  microphone: { words: 'unmute', button: 'Unmute', agree: (call) => call.setMicrophone(true) },
  camera: { words: 'turn on your camera', button: 'Turn on', agree: (call) => call.setCamera(true) },
  screen: { words: 'share your screen', button: 'Share', agree: (call) => call.setScreen(true) },
};

function Messages() {
  const { call } = useRoom().session;
  const { problem, asked } = useStore(call.state);
  if (asked)
    return (
      <div className="call-message" role="alert" data-testid="asked">
        <p>
          {asked.by} asks you to {ASKED[asked.source].words}.
        </p>
        <div className="call-answers">
          <button
            type="button"
            className="button"
            data-kind="primary"
            data-size="small"
            data-testid="asked-yes"
            onClick={() => void ASKED[asked.source].agree(call)}
          >
            {ASKED[asked.source].button}
          </button>
          <button
            type="button"
            className="button"
            data-kind="quiet"
            data-size="small"
            onClick={() => call.dismiss()}
          >
            Not now
          </button>
        </div>
      </div>
    );
  if (problem)
    return (
      <div className="call-message" data-tone="warn" role="alert" data-testid="call-problem">
        <TriangleAlert size={13} aria-hidden />
        <p>{problem}</p>
        <button
          type="button"
          className="icon-button"
          data-size="small"
          aria-label="Dismiss"
          onClick={() => call.dismiss()}
        >
          <X size={13} />
        </button>
      </div>
    );
  return null;
}

function Controls() {
  const { call } = useRoom().session;
  const { microphone, camera, screen } = useStore(call.state);
  const maySpeak = useMay('publish_audio');
  const mayShow = useMay('publish_video');
  const mayShare = useMay('share_screen');
  const speaking = microphone === 'on';
  const [choosing, setChoosing] = useState(false);
  return (
    <fieldset className="call-controls" aria-label="Call controls">
      {maySpeak && (
        <Control
          id="microphone"
          label={speaking ? 'Mute' : 'Unmute'}
          hint={speaking ? 'Mute (Ctrl+Shift+M)' : 'Unmute (Ctrl+Shift+M, or hold Space to talk)'}
          keys="Control+Shift+M"
          on={speaking}
          onPress={() => void call.setMicrophone(!speaking)}
        >
          {speaking ? <Mic size={16} /> : <MicOff size={16} />}
        </Control>
      )}
      {mayShow && (
        <Control
          id="camera"
          label={camera ? 'Turn the camera off' : 'Turn the camera on'}
          on={camera}
          onPress={() => void call.setCamera(!camera)}
        >
          {camera ? <Video size={16} /> : <VideoOff size={16} />}
        </Control>
      )}
      {mayShare && (
        <Control
          id="screen"
          label={screen ? 'Stop sharing the screen' : 'Share a screen'}
          on={screen}
          quiet
          onPress={() => void call.setScreen(!screen)}
        >
          {screen ? <MonitorX size={16} /> : <MonitorUp size={16} />}
        </Control>
      )}
      <ReactionsMenu />
      {(maySpeak || mayShow) && (
        <Control id="devices" label="Devices" on={false} quiet opens onPress={() => setChoosing(true)}>
          <Settings2 size={16} />
        </Control>
      )}
      {choosing && <DevicesDialog onClose={() => setChoosing(false)} />}
      <Tip text="Leave the call">
        <button
          type="button"
          className="call-control"
          data-kind="leave"
          data-testid="leave-call"
          aria-label="Leave the call"
          onClick={() => call.leave()}
        >
          <PhoneOff size={16} />
        </button>
      </Tip>
    </fieldset>
  );
}

function Control(props: {
  id: string;
  label: string;
  /** The label with its keys. */
  hint?: string;
  keys?: string;
  on: boolean;
  /** Off is how it usually is: not shown as something that is missing. */
  quiet?: boolean;
  /** A dialog, which gives the keyboard back to it. */
  opens?: boolean;
  onPress: () => void;
  children: React.ReactNode;
}) {
  return (
    <Tip text={props.hint ?? props.label}>
      <button
        type="button"
        className="call-control"
        aria-keyshortcuts={props.keys}
        data-testid={`control-${props.id}`}
        data-off={(!props.on && !props.quiet) || undefined}
        data-on={(props.on && props.quiet) || undefined}
        aria-label={props.label}
        aria-pressed={props.on}
        onClick={(event) => {
          if (!props.opens) letGo(event);
          props.onPress();
        }}
      >
        {props.children}
      </button>
    </Tip>
  );
}

/** Whoever joined has the keyboard in the call, unless it is somewhere else already. */
function useFocus(strip: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    if (document.activeElement === document.body) strip.current?.focus({ preventScroll: true });
  }, [strip]);
}

/** Tiles that are scrolled out of sight, by more pixels than `margin`. `keys`: which there are. */
function useUnseen(
  list: RefObject<HTMLUListElement | null>,
  keys: string,
  margin: number,
): ReadonlySet<string> {
  const [unseen, setUnseen] = useState<ReadonlySet<string>>(new Set());
  // biome-ignore lint/correctness/useExhaustiveDependencies: other tiles are other elements.
  useEffect(() => {
    if (!list.current) return;
    const now = new Set<string>();
    const look = (entries: IntersectionObserverEntry[]) => {
      for (const { target, isIntersecting } of entries) {
        const { key } = (target as HTMLElement).dataset;
        if (key && isIntersecting) now.delete(key);
        else if (key) now.add(key);
      }
      setUnseen(new Set(now));
    };
    const observer = new IntersectionObserver(look, { root: list.current, rootMargin: `${margin}px 0px` });
    for (const tile of list.current.children) observer.observe(tile);
    return () => observer.disconnect();
  }, [list, keys, margin]);
  return unseen;
}

function useHidden(): boolean {
  const [hidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const update = () => setHidden(document.hidden);
    document.addEventListener('visibilitychange', update);
    return () => document.removeEventListener('visibilitychange', update);
  }, []);
  return hidden;
}
