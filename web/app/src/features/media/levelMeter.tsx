/** Whether a microphone hears anything, before anybody else does. `muted`: nobody else does. */
import { useEffect, useRef } from 'react';

const BARS = 24;

export function LevelMeter(props: { track: MediaStreamTrack; muted?: boolean }) {
  const { track } = props;
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let frame = 0;
    const draw = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // From -60 dB on, which is a quiet room.
      const level = power > 0 ? Math.max(0, 1 + (10 * Math.log10(power)) / 60) : 0;
      element.current?.style.setProperty('--level', String(Math.round(level * BARS) / BARS));
      frame = requestAnimationFrame(draw);
    };
    draw();
    return () => {
      cancelAnimationFrame(frame);
      void context.close();
    };
  }, [track]);
  return (
    <div
      className="level-meter"
      data-muted={props.muted || undefined}
      ref={element}
      role="img"
      aria-label="What the microphone hears"
    />
  );
}
