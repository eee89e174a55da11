/** The keys of a call: Ctrl+Shift+M mutes and unmutes from anywhere, and Space is held to talk where nobody types. */
import { type MouseEvent, useEffect } from 'react';
import type { Call } from './call';

/** Where Space has a meaning of its own. */
const BUSY =
  'input, textarea, select, button, a, summary, [contenteditable], [tabindex]:not(body, .dock-view, .call-strip), .monaco-editor, .terminal-screen, [role="dialog"]';

/** A control of the call that was clicked keeps no keyboard: Space talks from then on and does not press it again. */
export function letGo(event: MouseEvent<HTMLElement>): void {
  // Keys press it as well, and leave it where it is.
  if (event.detail > 0) event.currentTarget.blur();
}

/** Elements of another window are of no class of this one. */
const isBusy = ({ target }: KeyboardEvent) =>
  target !== null && 'closest' in target && (target as Element).closest(BUSY) !== null;

/** `apart`: a window of its own that the large picture has. Whoever may not speak has no such keys. */
export function useKeys(call: Call, apart: Window | null, maySpeak: boolean): void {
  useEffect(() => {
    if (!maySpeak) return;
    const windows = apart ? [window, apart] : [window];
    let isTalking = false;
    const isOn = () => call.state.get().microphone === 'on';
    const onDown = (event: KeyboardEvent) => {
      if (event.code === 'KeyM' && (event.ctrlKey || event.metaKey) && event.shiftKey) {
        event.preventDefault();
        if (!event.repeat) void call.setMicrophone(!isOn());
        return;
      }
      if (event.code !== 'Space' || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isBusy(event)) return;
      const { microphone } = call.state.get();
      if (isTalking) event.preventDefault();
      if (microphone === 'on' || event.repeat) return;
      event.preventDefault();
      isTalking = true;
      // Whoever has to let go of it to answer the browser is muted then, and talks the next time.
      void call.talk(() => isTalking);
    };
    const stop = () => {
      if (!isTalking) return;
      isTalking = false;
      if (isOn()) void call.setMicrophone(false);
    };
    const onUp = (event: KeyboardEvent) => {
      if (event.code === 'Space') stop();
    };
    for (const own of windows) {
      own.addEventListener('keydown', onDown, true);
      own.addEventListener('keyup', onUp, true);
      own.addEventListener('blur', stop);
    }
    return () => {
      stop();
      for (const own of windows) {
        own.removeEventListener('keydown', onDown, true);
        own.removeEventListener('keyup', onUp, true);
        own.removeEventListener('blur', stop);
      }
    };
  }, [call, apart, maySpeak]);
}
