/**
 * Everything live about one room in this page: its documents, and the stores that views read. It is made when a person
 * enters and destroyed when the page leaves. It renders nothing.
 */
import type { Awareness } from 'y-protocols/awareness';
import type * as Y from 'yjs';
import { Api, ApiError } from '../../api/client';
import type { Access, Room, Run, Sandbox, Terminal } from '../../api/types';
import type { SessionStore } from '../../session/session';
import { RENEWING } from '../../ui/renewal';
import { Store } from '../../ui/store';
import { ConnectionStore } from '../connection/connectionStore';
import { DocSession } from '../connection/docSession';
import { type Devcontainer, readDevcontainer, sameDevcontainer } from '../devcontainer/devcontainerModel';
import { type CallKeys, callKeys } from '../e2ee/callKeys';
import { FileSessions } from '../editor/fileSessions';
import { Call } from '../media/call';
import { Dock } from '../media/dock';
import { MediaLink } from '../media/mediaLink';
import { readPorts, samePorts } from '../ports/portsModel';
import { type PersonHere, peopleHere } from '../presence/people';
import { Hands } from '../reactions/hands';
import { Reactions } from '../reactions/reactions';
import { readLog, readRuns, readSandbox } from '../runs/runModel';
import { readTerminals } from '../terminal/terminalModel';
import { buildTree, EMPTY_TREE, readNodes, type Tree } from '../tree/treeModel';

export class RoomSession {
  readonly api: Api;
  readonly files: FileSessions;
  readonly connection: ConnectionStore;
  readonly tree = new Store<Tree>(EMPTY_TREE);
  /** False until the tree has arrived for the first time: an empty tree is not yet an empty room. */
  readonly treeLoaded = new Store(false);
  readonly runs = new Store<readonly Run[]>([]);
  readonly sandbox = new Store<Sandbox>(readSandbox(undefined));
  readonly terminals = new Store<readonly Terminal[]>([]);
  /** On which programs in the sandbox listen. */
  readonly ports = new Store<readonly number[]>([]);
  /** By what the sandbox was made, where the room says so in a file. */
  readonly devcontainer = new Store<Devcontainer | null>(null);
  readonly people: Store<readonly PersonHere[]>;
  /** What this person may do here. It can change while the page is open: it is asked again after each lost connection. */
  readonly access: Store<Access>;
  /** Who is in the room's call, and this page's part in it. */
  readonly media: MediaLink;
  readonly call: Call;
  readonly dock: Dock;
  readonly reactions: Reactions;
  readonly hands: Hands;
  /** What this browser has to read and write encrypted calls of the room. */
  readonly callKeys: CallKeys;
  private readonly treeDoc: DocSession;
  private readonly runsDoc: DocSession;
  private readonly stops: (() => void)[] = [];
  private wasAway = false;

  constructor(
    readonly room: Room,
    access: Access,
    readonly sessions: SessionStore,
  ) {
    this.access = new Store(access);
    this.api = new Api(sessions);
    this.treeDoc = new DocSession(`${room.id}/tree:main`, sessions);
    this.runsDoc = new DocSession(`${room.id}/runs:main`, sessions);
    this.files = new FileSessions(room.id, sessions);
    this.media = new MediaLink(room.id, sessions);
    this.call = new Call(this.media);
    this.dock = new Dock(room.id);
    this.callKeys = callKeys(room.id);
    this.connection = new ConnectionStore([this.treeDoc, this.runsDoc], this.access);
    this.people = new Store<readonly PersonHere[]>(this.readPeople());
    const me = () => sessions.current?.person.id ?? null;
    this.reactions = new Reactions(this.awareness, me);
    this.hands = new Hands(this.awareness, me, this.call.state);
    this.call.onHandLowered = () => this.hands.lower();

    const nodes = this.treeDoc.doc.getMap('nodes');
    this.watch(nodes, () => this.tree.set(buildTree(readNodes(nodes.toJSON()))));
    const runs = this.runsDoc.doc.getMap('runs');
    this.watch(runs, () => this.runs.set(readRuns(runs.toJSON())));
    const sandbox = this.runsDoc.doc.getMap('sandbox');
    this.watch(sandbox, () => {
      const { state, terminals, ports, devcontainer } = sandbox.toJSON();
      this.sandbox.set(readSandbox(state));
      this.terminals.set(readTerminals(terminals));
      const listening = readPorts(ports);
      if (!samePorts(this.ports.get(), listening)) this.ports.set(listening);
      const made = readDevcontainer(devcontainer);
      if (!sameDevcontainer(this.devcontainer.get(), made)) this.devcontainer.set(made);
    });

    this.stops.push(
      this.treeDoc.state.subscribe(this.onTreeState),
      this.files.open.subscribe(() => this.connection.setFiles(this.files.open.get().map((f) => f.session))),
      this.files.refused.subscribe(() => void this.askAccess()),
      sessions.subscribe(this.updatePeople),
      this.callKeys.known.subscribe(() => this.callKeys.key && this.call.setKey(this.callKeys.key)),
    );
    this.awareness.on('change', this.updatePeople);
    window.addEventListener('beforeunload', this.onLeaving);
    window.addEventListener(RENEWING, this.onRenewing);
  }

  /** Presence in the room as a whole; each file has its own for carets. */
  get awareness(): Awareness {
    return this.treeDoc.awareness;
  }

  /** Tells the others which file is in front here. */
  showIn(node: string | null): void {
    this.awareness.setLocalStateField('doc', node);
  }

  /** The last lines of a run's log as they grow; `null` where the document holds none. */
  watchLog(run: string, listener: (log: string | null) => void): () => void {
    const logs = this.runsDoc.doc.getMap('logs');
    const read = () => {
      const value = logs.get(run);
      return readLog(isShared(value) ? value.toJSON() : value);
    };
    const update = (events: Y.YEvent<Y.AbstractType<unknown>>[]) => {
      if (events.some((event) => event.target !== logs || event.keys.has(run))) listener(read());
    };
    logs.observeDeep(update);
    listener(read());
    return () => logs.unobserveDeep(update);
  }

  /** Asks anew what this person may do here. When that is nothing, the page learns it from `sessions.ended`. */
  async askAccess(): Promise<void> {
    try {
      this.access.set(await this.api.access(this.room.id));
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) this.sessions.end(error.message);
      // Otherwise the server is away, or the session store has dealt with it.
    }
  }

  destroy(): void {
    window.removeEventListener('beforeunload', this.onLeaving);
    window.removeEventListener(RENEWING, this.onRenewing);
    for (const stop of this.stops) stop();
    this.awareness.off('change', this.updatePeople);
    this.reactions.destroy();
    this.hands.destroy();
    this.call.destroy();
    this.media.destroy();
    this.connection.destroy();
    this.files.destroy();
    this.treeDoc.destroy();
    this.runsDoc.destroy();
  }

  private watch(map: Y.Map<unknown>, update: () => void): void {
    map.observeDeep(update);
    this.stops.push(() => map.unobserveDeep(update));
    update();
  }

  private onTreeState = (): void => {
    const { loaded, link, refused } = this.treeDoc.state.get();
    this.treeLoaded.set(loaded);
    if (link === 'barred') this.sessions.end(refused ?? 'you may not open this room');
    if (link === 'online' && this.wasAway) void this.askAccess();
    this.wasAway = link === 'away';
  };

  private updatePeople = (): void => this.people.set(this.readPeople());

  private readPeople(): PersonHere[] {
    const me = this.sessions.current?.person ?? { id: '', name: 'You', color: '' };
    return peopleHere(this.awareness.getStates(), this.treeDoc.doc.clientID, me);
  }

  private onLeaving = (event: BeforeUnloadEvent): void => {
    if (this.connection.get().unsaved > 0) event.preventDefault();
  };

  private onRenewing = (event: Event): void => {
    if (this.connection.get().unsaved > 0 || this.call.state.get().phase !== 'out') event.preventDefault();
  };
}

function isShared(value: unknown): value is { toJSON(): unknown } {
  return typeof (value as { toJSON?: unknown } | null)?.toJSON === 'function';
}
