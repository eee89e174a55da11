/** How large the picture in a pane is drawn, by buttons, keys and wheel, and where it is scrolled to. `zoomModel.ts` has the rules. */
import { type CSSProperties, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { type Size, useWindowSize } from '../../ui/windowSize';
import { fitting, scrollAfter, type Zoom, zoomIn, zoomOut } from './zoomModel';

const NOTHING: Size = { width: 0, height: 0 };

export type ZoomHandle = ReturnType<typeof useZoom>;

/** `pane` is the element that scrolls, with the video in it. Another `key` begins anew. */
export function useZoom(pane: HTMLElement | null, key: string) {
  // A zoomed page has other pixels.
  useWindowSize();
  const [shown, setShown] = useState<{ key: string; zoom: Zoom }>({ key, zoom: null });
  const zoom = shown.key === key ? shown.zoom : null;
  const [size, setSize] = useState(NOTHING);
  const [picture, setPicture] = useState(NOTHING);
  const pixels = pane?.ownerDocument.defaultView?.devicePixelRatio ?? 1;
  const fit = fitting(picture, { width: size.width * pixels, height: size.height * pixels });
  const scale = (zoom ?? fit) / pixels;

  useEffect(() => {
    if (!pane) return;
    // With the scroll bars, which come and go with the zoom.
    const observer = new ResizeObserver(() =>
      setSize({ width: pane.offsetWidth, height: pane.offsetHeight }),
    );
    observer.observe(pane);
    const measure = () => {
      const video = pane.querySelector('video');
      if (video?.videoWidth) setPicture({ width: video.videoWidth, height: video.videoHeight });
    };
    measure();
    // These do not bubble.
    pane.addEventListener('resize', measure, true);
    return () => {
      observer.disconnect();
      pane.removeEventListener('resize', measure, true);
    };
  }, [pane]);

  /** What stays where it is when the zoom changes, in the pane; the middle unless the mouse says. */
  const anchor = useRef<{ x: number; y: number } | null>(null);
  const before = useRef(scale);
  useLayoutEffect(() => {
    const { x, y } = anchor.current ?? { x: size.width / 2, y: size.height / 2 };
    const from = before.current;
    anchor.current = null;
    before.current = scale;
    if (!pane || from === scale || picture.width === 0) return;
    const { scrollLeft, scrollTop } = pane;
    pane.scrollLeft = scrollAfter(
      { scroll: scrollLeft, at: x, pane: size.width },
      picture.width * from,
      picture.width * scale,
    );
    pane.scrollTop = scrollAfter(
      { scroll: scrollTop, at: y, pane: size.height },
      picture.height * from,
      picture.height * scale,
    );
  }, [pane, scale, size, picture]);

  const set = (zoom: Zoom) => setShown({ key, zoom });
  const handle = {
    zoom,
    set,
    in: () => set(zoomIn(zoom, fit)),
    out: () => set(zoomOut(zoom, fit)),
    /** On how many pixels of the screen the picture is wide. One that is looked at closely is wanted with all it has, and so is one of unknown size. */
    across:
      zoom !== null || size.width === 0
        ? Number.POSITIVE_INFINITY
        : picture.width > 0
          ? picture.width * fit
          : size.width * pixels,
    style:
      zoom === null
        ? undefined
        : ({ width: picture.width * scale, height: picture.height * scale } as CSSProperties),
  };

  const latest = useRef(handle);
  latest.current = handle;
  useEffect(() => {
    if (!pane) return;
    // Pinching comes as this, too. Not by React, whose listeners cannot keep the browser from zooming the page.
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const { left, top } = pane.getBoundingClientRect();
      anchor.current = { x: event.clientX - left, y: event.clientY - top };
      if (event.deltaY < 0) latest.current.in();
      else latest.current.out();
    };
    pane.addEventListener('wheel', onWheel, { passive: false });
    return () => pane.removeEventListener('wheel', onWheel);
  }, [pane]);
  return handle;
}
