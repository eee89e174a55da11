/**
 * The WebAssembly module: where it comes from, and what its effects are called.
 *
 * A page needs nothing but this package's files beside each other: the module is fetched from where the script is. In Node.js it is read
 * from disk. Whoever has it in another place gives it to `load`.
 */
import initialize, { Core } from './core_bindings.js';

export { Core };

/** The first element of an effect; `src/bindings/effects.rs` has them again. */
export const CONNECT = 0;
export const SEND = 1;
export const DISCONNECT = 2;
export const WANT_TOKEN = 3;
export const STATE = 4;
export const UNSAVED = 5;
export const CHANGED = 6;
export const RECEIVED = 7;
export const EDITED = 8;
export const PRESENCE = 9;
export const STATELESS = 10;
export const REFUSED = 11;

export type Effect = [code: number, ...rest: unknown[]];

/** The module, or where it is. */
export type Source = BufferSource | WebAssembly.Module | Response | Promise<Response> | URL | string;

let loading: Promise<void> | undefined;
let isReady = false;

/** Loads the module; once is enough, and `connect` does it. What came of it is kept, unless it failed. */
export function load(source?: Source): Promise<void> {
  loading ??= start(source).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

export function assertLoaded(): void {
  if (!isReady) throw new Error('the module is not loaded: wait for load(), or use connect()');
}

async function start(source?: Source): Promise<void> {
  const module = source ?? (await read(new URL('./core_bindings_bg.wasm', import.meta.url)));
  await initialize({ module_or_path: module });
  isReady = true;
}

/** Node.js fetches no files. */
async function read(url: URL): Promise<URL | BufferSource> {
  if (url.protocol !== 'file:') return url;
  // Hidden from bundlers, which would look for it.
  const files = 'node:fs/promises';
  const { readFile } = (await import(/* @vite-ignore */ files)) as {
    readFile: (url: URL) => Promise<Uint8Array<ArrayBuffer>>;
  };
  return readFile(url);
}

/** Milliseconds that no change of the clock on the wall disturbs; never zero, which says "not yet" in places. */
export const now = (): number => performance.now() + 1;
