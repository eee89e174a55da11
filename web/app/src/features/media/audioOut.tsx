/** Everybody's voice. Browsers may hold sound back until one has clicked somewhere; then it asks for that click. */
import { Volume2 } from 'lucide-react';
import { useCallback, useEffect, useRef, useState } from 'react';
import { useStore } from '../../ui/store';
import { useRoom } from '../room/roomContext';
import { hearThrough, speaker } from './speaker';

export function AudioOut() {
  const { call } = useRoom().session;
  const remote = useStore(call.remote);
  const [blocked, setBlocked] = useState(false);
  const host = useRef<HTMLDivElement>(null);
  const voices = [...remote].filter(([, track]) => track.kind === 'audio');
  const onBlocked = useCallback(() => setBlocked(true), []);
  const playAll = () => {
    setBlocked(false);
    for (const audio of host.current?.querySelectorAll('audio') ?? [])
      audio.play().catch(() => setBlocked(true));
  };
  return (
    <div ref={host}>
      {voices.map(([id, track]) => (
        <Voice key={id} track={track} onBlocked={onBlocked} />
      ))}
      {blocked && (
        <button type="button" className="button call-unblock" data-testid="hear" onClick={playAll}>
          <Volume2 size={14} aria-hidden /> Click to hear the call
        </button>
      )}
    </div>
  );
}

function Voice(props: { track: MediaStreamTrack; onBlocked: () => void }) {
  const { track, onBlocked } = props;
  const element = useRef<HTMLAudioElement>(null);
  const through = useStore(speaker);
  useEffect(() => {
    if (element.current) hearThrough(element.current, through);
  }, [through]);
  useEffect(() => {
    const audio = element.current;
    if (!audio) return;
    audio.srcObject = new MediaStream([track]);
    audio.play().catch((error) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') onBlocked();
    });
    return () => {
      audio.srcObject = null;
    };
  }, [track, onBlocked]);
  // biome-ignore lint/a11y/useMediaCaption: people talk; there are no captions of it.
  return <audio ref={element} data-testid="voice" />;
}
