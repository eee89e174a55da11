/**
 * Where documents are kept on this machine: what is written without a connection outlives the page.
 *
 * A store knows nothing of documents but their names: it has a log of updates for each, and a mark for each tab that has written what no server
 * has confirmed. Several tabs write to one store; each transaction stands for itself.
 */

/** What was kept of a document. */
export interface Kept {
  /** Yjs updates, in the order in which they were appended. */
  updates: Uint8Array[];
  /** There may be changes in it that no server has confirmed. */
  isUnsaved: boolean;
}

export interface Store {
  load(document: string): Promise<Kept>;
  /** Keeps some more updates. `isOurs`: no server has confirmed them. */
  append(document: string, updates: Uint8Array[], isOurs: boolean): Promise<void>;
  /** The server has everything that was loaded and appended. */
  saved?(document: string): Promise<void>;
  /** Replaces the log by what `merge` makes of it, if that is worth it. `merge` must not wait for anything. */
  compact?(document: string, merge: (updates: Uint8Array[]) => Uint8Array[]): Promise<void>;
  /** Keeps the document no longer. */
  forget?(document: string): Promise<void>;
  /** Set by the client, to be called when what was kept is gone: the browser's data was cleared. */
  onCleared?: (() => void) | null;
  close(): void;
}

/** A log of so many entries is worth being merged. */
const MAX_ENTRIES = 256;

/** An attempt to open a database that takes longer has failed: another page keeps an old one open. */
const OPEN_MS = 10_000;

interface Entry {
  document: string;
  updates: Uint8Array[];
}

const failure = (error: unknown): Error =>
  error instanceof Error ? error : new Error(error ? String(error) : 'the browser gave no reason');

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request.error));
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(failure(transaction.error));
  });
}

/** All marks of a document: keys are pairs of document and tab. */
const marksOf = (document: string): IDBKeyRange => IDBKeyRange.bound([document], [document, []]);

/** A database of the browser. */
export class IndexedDbStore implements Store {
  readonly name: string;
  onCleared: (() => void) | null = null;
  readonly #tab = crypto.randomUUID();
  /** The marks that a document's server state will take away, and how many entries its log has. */
  readonly #documents = new Map<string, { marks: Map<string, number>; entries: number }>();
  #opening: Promise<IDBDatabase> | null = null;
  #batches = 0;
  #isClosed = false;

  constructor(name: string) {
    this.name = name;
  }

  async load(document: string): Promise<Kept> {
    const database = await this.#open();
    const transaction = database.transaction(['updates', 'unsaved']);
    const entries = done<Entry[]>(transaction.objectStore('updates').index('document').getAll(document));
    const keys = done(transaction.objectStore('unsaved').getAllKeys(marksOf(document)));
    const values = done<number[]>(transaction.objectStore('unsaved').getAll(marksOf(document)));
    const [rows, tabs, batches] = await Promise.all([entries, keys, values]);
    const about = this.#about(document);
    about.entries += rows.length;
    tabs.forEach((key, at) => {
      about.marks.set((key as [string, string])[1], batches[at] as number);
    });
    return { updates: rows.flatMap(({ updates }) => updates), isUnsaved: tabs.length > 0 };
  }

  async append(document: string, updates: Uint8Array[], isOurs: boolean): Promise<void> {
    const database = await this.#open();
    // What only this machine has is to survive the machine's end too; the rest could be had again.
    const durability = isOurs ? 'strict' : 'relaxed';
    const transaction = database.transaction(['updates', 'unsaved'], 'readwrite', { durability });
    transaction.objectStore('updates').add({ document, updates } satisfies Entry);
    const about = this.#about(document);
    if (isOurs) {
      this.#batches += 1;
      transaction.objectStore('unsaved').put(this.#batches, [document, this.#tab]);
    }
    const batch = this.#batches;
    const end = completed(transaction);
    // The page may be gone before it hears that the last request succeeded.
    transaction.commit?.();
    await end;
    about.entries += 1;
    if (isOurs) about.marks.set(this.#tab, batch);
  }

  async saved(document: string): Promise<void> {
    const about = this.#about(document);
    if (about.marks.size === 0) return;
    const marks = [...about.marks];
    const transaction = (await this.#open()).transaction('unsaved', 'readwrite');
    const store = transaction.objectStore('unsaved');
    for (const [tab, batch] of marks) {
      const request: IDBRequest<number | undefined> = store.get([document, tab]);
      request.onsuccess = () => {
        // A later batch of that tab is something this one has not seen.
        if (request.result === batch) store.delete([document, tab]);
      };
    }
    await completed(transaction);
    for (const [tab, batch] of marks) if (about.marks.get(tab) === batch) about.marks.delete(tab);
  }

  async compact(document: string, merge: (updates: Uint8Array[]) => Uint8Array[]): Promise<void> {
    const about = this.#about(document);
    if (about.entries < MAX_ENTRIES) return;
    const transaction = (await this.#open()).transaction('updates', 'readwrite');
    const store = transaction.objectStore('updates');
    const end = completed(transaction);
    const keys = store.index('document').getAllKeys(document);
    const entries: IDBRequest<Entry[]> = store.index('document').getAll(document);
    entries.onsuccess = () => {
      try {
        const updates = merge(entries.result.flatMap((entry) => entry.updates));
        for (const key of keys.result) store.delete(key);
        store.add({ document, updates } satisfies Entry);
      } catch {
        // The log stays as it was.
        transaction.abort();
      }
    };
    await end;
    about.entries = 1;
  }

  async forget(document: string): Promise<void> {
    const transaction = (await this.#open()).transaction(['updates', 'unsaved'], 'readwrite');
    const updates = transaction.objectStore('updates');
    const keys = updates.index('document').getAllKeys(document);
    keys.onsuccess = () => {
      for (const key of keys.result) updates.delete(key);
    };
    transaction.objectStore('unsaved').delete(marksOf(document));
    await completed(transaction);
    this.#documents.delete(document);
  }

  close(): void {
    this.#isClosed = true;
    // It waits for what is being written.
    void this.#opening?.then((database) => database.close()).catch(() => undefined);
  }

  #about(document: string): { marks: Map<string, number>; entries: number } {
    let about = this.#documents.get(document);
    if (!about) {
      about = { marks: new Map(), entries: 0 };
      this.#documents.set(document, about);
    }
    return about;
  }

  #open(): Promise<IDBDatabase> {
    if (this.#isClosed) return Promise.reject(new Error('the store is closed'));
    if (!this.#opening) {
      const opening = openDatabase(this.name);
      this.#opening = opening;
      const again = (): boolean => {
        if (this.#opening !== opening) return false;
        this.#opening = null;
        return true;
      };
      // Somebody deletes it, or cleared the site's data: the next use begins anew.
      const cleared = () => {
        if (!again() || this.#isClosed) return;
        this.#documents.clear();
        this.onCleared?.();
      };
      opening.then((database) => {
        database.onversionchange = () => {
          database.close();
          cleared();
        };
        database.onclose = cleared;
      }, again);
    }
    return this.#opening;
  }
}

async function openDatabase(name: string): Promise<IDBDatabase> {
  // Merely to look at it is an error in a page that may keep nothing.
  if (typeof indexedDB === 'undefined' || !indexedDB) throw new DOMException('there is no IndexedDB here', 'NotSupportedError');
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    const updates = request.result.createObjectStore('updates', { autoIncrement: true });
    updates.createIndex('document', 'document');
    request.result.createObjectStore('unsaved');
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error('the database of this site does not open')), OPEN_MS);
  });
  try {
    const opened = done(request);
    opened.then(
      (database) => {
        if (isLate) database.close();
      },
      () => undefined,
    );
    let isLate = false;
    return await Promise.race([opened, late]).catch((error: unknown) => {
      isLate = true;
      throw error;
    });
  } finally {
    clearTimeout(timer);
  }
}

/** The database in which documents of one server are kept for one account. */
export const databaseOf = (url: string, account: string): string => `buildspaces ${JSON.stringify([url, account])}`;

/** Deletes everything that is kept of a server's documents for an account: when somebody signs out. */
export async function forgetAll({ url, account = '' }: { url: string; account?: string }): Promise<void> {
  await done(indexedDB.deleteDatabase(databaseOf(url, account)));
}
