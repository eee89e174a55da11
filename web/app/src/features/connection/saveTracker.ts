/**
 * Which of this page's edits to one document are on the server's disk. Pure: it counts, the caller sends.
 *
 * Every local update is an edit. From time to time the caller sends a *request* ("tell me when all I sent so far is
 * saved"); its answer covers the edits that were made before the request. Answers to requests from before a lost
 * connection, or from before the server asked for missing updates, prove nothing, so `distrust` forgets them.
 */
export class SaveTracker {
  private edits = 0;
  private saved = 0;
  private nextRequest = 1;
  /** Request number -> edits it covers. */
  private readonly requests = new Map<number, number>();

  /** Edits that are not known to be on disk. */
  get unsaved(): number {
    return this.edits - this.saved;
  }

  /** True once anything was typed here. */
  get touched(): boolean {
    return this.edits > 0;
  }

  recordEdit(): void {
    this.edits += 1;
  }

  /** The number to send, or `null` when everything is saved or already asked for. */
  request(): number | null {
    if (this.unsaved === 0) return null;
    for (const covered of this.requests.values()) if (covered === this.edits) return null;
    const request = this.nextRequest++;
    this.requests.set(request, this.edits);
    return request;
  }

  /** The server returned `request`. An unknown number has no effect. */
  acknowledge(request: number): void {
    const covered = this.requests.get(request);
    if (covered === undefined) return;
    this.saved = Math.max(this.saved, covered);
    for (const earlier of [...this.requests.keys()]) if (earlier <= request) this.requests.delete(earlier);
  }

  distrust(): void {
    this.requests.clear();
  }
}
