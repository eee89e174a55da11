/** A video track on screen. It is shown from its first new frame on: a line may still hold the last picture of somebody else. */
import { useEffect, useRef, useState } from 'react';
import { useRoom } from '../room/roomContext';

export function VideoView(props: { track: MediaStreamTrack; mirrored?: boolean; whole?: boolean }) {
  const { track } = props;
  const { since } = useRoom().session.call;
  const element = useRef<HTMLVideoElement>(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const video = element.current;
    if (!video) return;
    setShown(false);
    video.srcObject = new MediaStream([track]);
    let frames = 0;
    let callback = 0;
    // What is shown of a screen on which nothing moves is one frame. Where browsers do not say when it came, the first may be an old one.
    const from = since.get(track) ?? 0;
    // Windows count from when they were opened.
    const origin = video.ownerDocument.defaultView?.performance.timeOrigin ?? 0;
    const onFrame = (_: number, { receiveTime = 0 }: VideoFrameCallbackMetadata) => {
      frames += 1;
      if (frames > 1 || origin + receiveTime >= from) setShown(true);
      else callback = video.requestVideoFrameCallback(onFrame);
    };
    callback = video.requestVideoFrameCallback(onFrame);
    return () => {
      video.cancelVideoFrameCallback(callback);
      video.srcObject = null;
    };
  }, [track, since]);
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
