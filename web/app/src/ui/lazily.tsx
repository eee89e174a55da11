/**
 * Parts of the page that are loaded when they are first shown. The server may be away just then: it is asked again for a while, and then the
 * part's place says so. A server that is there and does not give the part is newer than the page, or the browser takes an earlier failure for its
 * answer. Then the page is loaded anew, if nothing is lost by that.
 */
import { RotateCw } from 'lucide-react';
import { type ComponentType, type LazyExoticComponent, lazy, useState } from 'react';
import { patiently } from './patiently';
import { renew } from './renewal';

type Loaded<P> = { default: ComponentType<P> };

/** `React.lazy` of a part that is called `name` where it is missing, as in "The editor". */
export function lazily<P extends object>(
  name: string,
  load: () => Promise<Loaded<P>>,
): LazyExoticComponent<ComponentType<P>> {
  let isFirst = true;
  const attempt = async () => {
    const isThere = !isFirst && (await answers());
    isFirst = false;
    try {
      await mendStyles();
      return await load();
    } catch (error) {
      if (isThere) renew();
      throw error;
    }
  };
  return lazy(async () => {
    try {
      return await patiently(attempt);
    } catch {
      return { default: (props: P) => <Missing name={name} attempt={attempt} props={props} /> };
    }
  });
}

function Missing<P extends object>(own: { name: string; attempt: () => Promise<Loaded<P>>; props: P }) {
  const [loaded, setLoaded] = useState<Loaded<P> | null>(null);
  const [busy, setBusy] = useState(false);
  if (loaded) return <loaded.default {...own.props} />;
  const again = async () => {
    if (busy) return;
    setBusy(true);
    try {
      setLoaded(await patiently(own.attempt));
    } catch {
      setBusy(false);
    }
  };
  return (
    <div className="missing-part" role="alert" data-testid="part-missing">
      <p>{own.name} could not be loaded. The server may be away, or newer than this page.</p>
      <div>
        <button
          type="button"
          className="button"
          data-kind="primary"
          data-testid="part-again"
          aria-disabled={busy}
          onClick={() => void again()}
        >
          <RotateCw size={14} className={busy ? 'spin' : undefined} aria-hidden />
          {busy ? 'Trying…' : 'Try again'}
        </button>
        <button type="button" className="button" data-kind="quiet" onClick={() => window.location.reload()}>
          Load the page again
        </button>
      </div>
    </div>
  );
}

async function answers(): Promise<boolean> {
  try {
    return (await fetch('/healthz', { cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}

/** Styles that did not come. */
const failed = new Set<HTMLLinkElement>();
window.addEventListener(
  'error',
  ({ target }) => {
    if (target instanceof HTMLLinkElement && target.rel === 'stylesheet') failed.add(target);
  },
  true,
);

/** Asks for them again. What Vite makes of `import()` asks once, and takes a style for loaded that did not come. */
async function mendStyles(): Promise<void> {
  await Promise.all(
    [...failed].map(
      (link) =>
        new Promise<void>((done, fail) => {
          const again = link.cloneNode() as HTMLLinkElement;
          const settle = (isHere: boolean) => {
            const old = isHere ? link : again;
            failed.delete(old);
            old.remove();
            if (isHere) done();
            else fail(new Error(`no style at ${link.href}`));
          };
          again.onload = () => settle(true);
          again.onerror = () => settle(false);
          link.after(again);
        }),
    ),
  );
}
