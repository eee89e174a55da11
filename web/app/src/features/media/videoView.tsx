/** A video track on screen. It is shown from its first new frame on: a line may still hold the last picture of somebody else. */
import { useEffect, useRef, useState } from 'react';

export function VideoView(props: { track: MediaStreamTrack; mirrored?: boolean; whole?: boolean }) {
  const { track } = props;
  const element = useRef<HTMLVideoElement>(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const video = element.current;
    if (!video) return;
    setShown(false);
    video.srcObject = new MediaStream([track]);
    let frames = 0;
    let callback = 0;
    const onFrame = () => {
      frames += 1;
      // The first may be an old one.
      if (frames > 1) setShown(true);
      else callback = video.requestVideoFrameCallback(onFrame);
    };
    callback = video.requestVideoFrameCallback(onFrame);
    return () => {
      video.cancelVideoFrameCallback(callback);
      video.srcObject = null;
    };
  }, [track]);
  return (
    <video
      ref={element}
      className="tile-video"
      data-testid="video"
      data-shown={shown || undefined}
      data-mirrored={props.mirrored || undefined}
      data-whole={props.whole || undefined}
      autoPlay
      playsInline
      muted
    />
  );
}
