/** A recording on screen: the emulator that terminals use, and what moves it. This module is a lazy chunk. */
import { Terminal as Emulator } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { Pause, Play } from 'lucide-react';
import { type KeyboardEvent, useEffect, useRef, useState } from 'react';
import { Store, useStore } from '../../ui/store';
import { theme } from '../../ui/theme';
import { terminalTheme } from '../terminal/terminalTheme';
import { clock, type Replay, type Size } from './cast';
import { Player, type PlayerState, SPEEDS } from './player';

/** How far an arrow key goes. */
const STEP_MS = 5000;
/** A character is so wide, in its own height. */
const ADVANCE = 0.6;
const FONT_SIZES = { least: 8, most: 13 };
/** Room for the emulator's scroll bar and padding. */
const BESIDE_PX = 36;

const STILL = new Store<PlayerState>({ at: 0, playing: false, speed: 1 });

export default function CastPlayer(props: { replay: Replay; label: string }) {
  const { replay, label } = props;
  const host = useRef<HTMLDivElement>(null);
  const [player, setPlayer] = useState<Player | null>(null);
  const state = useStore(player?.state ?? STILL);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const emulator = new Emulator({
      cursorInactiveStyle: 'bar',
      disableStdin: true,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
      lineHeight: 1.25,
      logLevel: 'off',
      minimumContrastRatio: 4.5,
      theme: terminalTheme(theme.get()),
      ...replay.size,
    });
    emulator.open(element);
    // Keys are the player's, and Tab goes past what cannot be typed in.
    emulator.attachCustomKeyEventHandler(() => false);
    emulator.textarea?.setAttribute('tabindex', '-1');
    const resize = ({ cols, rows }: Size) => {
      const fits = Math.floor((element.clientWidth - BESIDE_PX) / cols / ADVANCE);
      emulator.options.fontSize = Math.min(Math.max(fits, FONT_SIZES.least), FONT_SIZES.most);
      emulator.resize(cols, rows);
    };
    const player = new Player(replay, {
      reset: (size) => {
        emulator.reset();
        resize(size);
      },
      resize,
      write: (text) => new Promise((done) => emulator.write(text, done)),
    });
    const stop = theme.subscribe(() => {
      emulator.options.theme = terminalTheme(theme.get());
    });
    let frame = requestAnimationFrame(function draw(now) {
      player.tick(now);
      frame = requestAnimationFrame(draw);
    });
    setPlayer(player);
    player.toggle();
    return () => {
      cancelAnimationFrame(frame);
      player.destroy();
      stop();
      emulator.dispose();
    };
  }, [replay]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -STEP_MS, ArrowDown: -STEP_MS, ArrowRight: STEP_MS, ArrowUp: STEP_MS }[
      event.key
    ];
    // A button is pressed by the same key.
    const presses = event.key === ' ' && !(event.target instanceof HTMLButtonElement);
    if (step === undefined && !presses) return;
    event.preventDefault();
    if (step === undefined) player?.toggle();
    else player?.seek(state.at + step);
  };
  const words = `${clock(state.at)} of ${clock(replay.length)}`;
  const verb = state.playing ? 'Pause' : 'Play';

  return (
    <section className="cast-player" aria-label={label} data-testid="cast-player" onKeyDown={onKeyDown}>
      <div className="cast-screen" data-testid="cast-screen" ref={host} />
      <div className="cast-controls">
        <button
          type="button"
          className="icon-button"
          data-testid="cast-toggle"
          aria-label={verb}
          title={`${verb} (Space)`}
          onClick={() => player?.toggle()}
        >
          {state.playing ? <Pause size={16} /> : <Play size={16} />}
        </button>
        <input
          type="range"
          className="cast-bar"
          data-testid="cast-bar"
          aria-label="Position"
          aria-valuetext={words}
          min={0}
          max={Math.max(1, replay.length)}
          step="any"
          value={state.at}
          // The player has the focus when it opens, for its keys.
          // biome-ignore lint/a11y/noAutofocus: focus must move into a modal dialog, and this is what it is for.
          autoFocus
          onChange={(event) => player?.seek(Number(event.target.value))}
        />
        <span className="cast-clock" data-testid="cast-clock">
          {clock(state.at)} / {clock(replay.length)}
        </span>
        <fieldset className="cast-speeds">
          <legend className="visually-hidden">Speed</legend>
          {SPEEDS.map((speed) => (
            <button
              key={speed}
              type="button"
              className="button"
              data-size="small"
              data-kind="quiet"
              data-testid={`cast-speed-${speed}`}
              aria-pressed={state.speed === speed}
              onClick={() => player?.setSpeed(speed)}
            >
              {speed}×
            </button>
          ))}
        </fieldset>
      </div>
    </section>
  );
}
