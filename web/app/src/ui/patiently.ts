/** Tries again what a server that is away cannot give. */

/** The pauses between attempts, in milliseconds: a server that restarts is back by the end of them. */
const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000];

/** What the first attempt gives that does not fail, or how the last one failed. */
export async function patiently<T>(
  attempt: () => Promise<T>,
  pause: (ms: number) => Promise<void> = (ms) => new Promise((done) => setTimeout(done, ms)),
): Promise<T> {
  for (const ms of PAUSES_MS) {
    try {
      return await attempt();
    } catch {
      await pause(ms);
    }
  }
  return attempt();
}
