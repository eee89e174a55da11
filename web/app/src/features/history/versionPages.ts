/**
 * The versions of one file as the page knows them, page by page, and their texts. It asks only when told to: first, for older ones, and
 * again when something changed.
 */
import { type ApiError, sentence } from '../../api/client';
import type { Versions } from '../../api/types';
import { Store } from '../../ui/store';
import { type Listed, nextBefore, withPage } from './versions';

/** Versions that are asked for at a time. */
export const PAGE = 60;

export interface PagesState {
  listed: Listed | null;
  busy: boolean;
  /** Why the last question failed, if it did. What was known stays. */
  problem: string | null;
}

export interface Past {
  versions(limit: number, before?: number): Promise<Versions>;
  text(seq: number): Promise<string>;
}

export class VersionPages extends Store<PagesState> {
  private readonly texts = new Map<string, Promise<string>>();
  private asking: Promise<void> | null = null;
  private again = false;

  constructor(private readonly past: Past) {
    super({ listed: null, busy: false, problem: null });
  }

  /** Asks for the newest versions. While it waits for an answer, further calls lead to one more question. */
  refresh(): Promise<void> {
    this.again = this.asking !== null;
    return this.ask(false);
  }

  /** Asks for the versions before those that are known. */
  older(): Promise<void> {
    return this.ask(true);
  }

  /** The text of a version, which never changes, so it is asked for once. */
  text(seq: number): Promise<string> {
    const key = `${this.get().listed?.epoch}:${seq}`;
    const known = this.texts.get(key);
    if (known) return known;
    const asked = this.past.text(seq);
    this.texts.set(key, asked);
    asked.catch(() => this.texts.delete(key));
    return asked;
  }

  private ask(older: boolean): Promise<void> {
    this.asking ??= this.load(older).finally(() => {
      this.asking = null;
      if (this.again) void this.refresh();
    });
    return this.asking;
  }

  private async load(older: boolean): Promise<void> {
    const known = this.get().listed;
    this.set({ ...this.get(), busy: true });
    try {
      const page = await this.past.versions(PAGE, older && known ? nextBefore(known) : undefined);
      this.set({ listed: withPage(known, page, PAGE, older), busy: false, problem: null });
    } catch (error) {
      this.set({ listed: known, busy: false, problem: sentence(error as ApiError) });
    }
  }
}
