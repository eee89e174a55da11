/** Waiting by condition. Nothing here sleeps for a fixed time; the one negative ("stays") can only be watched for a while. */
const POLL_MS = 40;

/** Machines are slow and noisy: what takes a second here may take ten elsewhere. */
export const PATIENCE_MS = 30_000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Calls `condition` until it returns something truthy, and returns that. A throw counts as "not yet"; its message is part of
 * the error after the deadline.
 */
export async function until(what, condition, ms = PATIENCE_MS) {
  const deadline = performance.now() + ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`waited ${ms} ms for: ${what}; last seen: ${String(seen).slice(0, 600)}`);
    }
    await pause(POLL_MS);
  }
}

/** Watches that `condition` holds all the while. */
export async function stays(what, ms, condition) {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (!(await condition())) throw new Error(`this should have stayed so: ${what}`);
    await pause(POLL_MS);
  }
}
