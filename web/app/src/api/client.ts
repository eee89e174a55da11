/**
 * The REST calls of the page. It adds the session's token, renews a session the server no longer knows (once per
 * call), and turns every failure into an `ApiError` whose message is a sentence for the person.
 * It keeps nothing: rooms and runs are read live from documents.
 */
import type { SessionStore } from '../session/session';
import type {
  Access,
  Blamed,
  Branch,
  CallRecording,
  CallSettings,
  Commit,
  Commits,
  ErrorBody,
  Link,
  NewSecret,
  Node,
  Patch,
  Preview,
  Recording,
  Repository,
  Role,
  Room,
  Rule,
  Secret,
  Status,
  Template,
  Terminal,
  TerminalSettings,
  Unshared,
  Versions,
} from './types';

/** A call that failed. `status` 0 means that the server was not reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** What a person reads about a failure, whatever was thrown. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return 'Something went wrong in this page. Reload it and try again.';
}

export async function send(
  method: string,
  path: string,
  options: { token?: string; body?: unknown; file?: Blob } = {},
): Promise<Response> {
  const headers: Record<string, string> = {};
  if (options.token) headers.authorization = `Bearer ${options.token}`;
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (options.file !== undefined) headers['content-type'] = 'application/octet-stream';
  const body = options.body === undefined ? options.file : JSON.stringify(options.body);
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { method, headers, body });
  } catch {
    throw new ApiError(0, 'unreachable', 'The server cannot be reached. Try again in a moment.');
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  if (isErrorBody(body)) {
    const { code, message, hint } = body.error;
    return new ApiError(response.status, code, [message, hint].filter(isText).map(written).join(' '));
  }
  return new ApiError(
    response.status,
    'unexpected',
    `The server answered with status ${response.status}. Try again in a moment.`,
  );
}

/** With a capital and a full stop, as it stands alone on screen. */
export function written(message: string): string {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function isText(text: string | null | undefined): text is string {
  return typeof text === 'string' && text !== '';
}

function isErrorBody(body: unknown): body is ErrorBody {
  const error = (body as ErrorBody | null)?.error;
  return typeof error?.message === 'string' && typeof error.code === 'string';
}

/** A document's name is one segment of the path. */
function past(document: string): string {
  return `/documents/${encodeURIComponent(document)}`;
}

export type NewNode = { parent: string | null; name: string; kind: 'folder' | 'text'; text?: string };
export type NewLink = { role: Role; name?: string; expires_in: number };
export type NodeChange = { name?: string; parent?: string | null; rev: number };

export class Api {
  constructor(readonly sessions: SessionStore) {}

  templates = () => this.json<Template[]>('GET', '/templates');
  status = () => this.json<Status>('GET', '/status');
  /** `from` is a template, or a repository, which is fetched while people are in the room already. */
  createRoom = (title: string, from: { template: string } | { repository: { url: string } }) =>
    this.json<Room>('POST', '/rooms', { title, ...from });
  /** A room with the files of an archive (.zip, .tar.gz). */
  uploadRoom = async (title: string, file: Blob): Promise<Room> => {
    const token = this.sessions.current?.token;
    const response = await send('POST', `/rooms/upload?${new URLSearchParams({ title })}`, { token, file });
    return (await response.json()) as Room;
  };
  room = (room: string) => this.json<Room>('GET', `/rooms/${room}`);
  access = (room: string) => this.json<Access>('GET', `/rooms/${room}/access`);
  createLink = (room: string, link: NewLink) => this.json<Link>('POST', `/rooms/${room}/links`, link);
  /** Takes somebody's access to a room back, on live connections too. */
  remove = async (room: string, user: string, reason: string): Promise<void> => {
    await this.call('POST', '/revocations', { room, user, ...(reason !== '' && { reason }) });
  };
  /** The newest `limit` versions of a document below number `before`. */
  versions = (document: string, limit: number, before?: number) =>
    this.json<Versions>(
      'GET',
      `${past(document)}/versions?limit=${limit}${before === undefined ? '' : `&before=${before}`}`,
    );
  nameVersion = async (document: string, name: string): Promise<void> => {
    await this.call('POST', `${past(document)}/versions`, { name });
  };
  versionText = async (document: string, seq: number): Promise<string> =>
    (await this.call('GET', `${past(document)}/versions/${seq}/text`)).text();
  blame = (document: string) => this.json<Blamed>('GET', `${past(document)}/blame`);
  rules = (room: string) => this.json<Rule[]>('GET', `/rooms/${room}/rules`);
  /** Which secrets a rule's steps are given, and no others. */
  setRuleSecrets = (room: string, rule: string, secrets: string[]) =>
    this.json<Rule>('PATCH', `/rooms/${room}/rules/${rule}`, { secrets });
  /** Without their values, which nobody is told. */
  secrets = (room: string) => this.json<Secret[]>('GET', `/rooms/${room}/secrets`);
  putSecret = (room: string, name: string, secret: NewSecret) =>
    this.json<Secret>('PUT', `/rooms/${room}/secrets/${encodeURIComponent(name)}`, secret);
  deleteSecret = async (room: string, name: string): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/secrets/${encodeURIComponent(name)}`);
  };
  createNode = (room: string, node: NewNode) => this.json<Node>('POST', `/rooms/${room}/nodes`, node);
  changeNode = (room: string, node: string, change: NodeChange) =>
    this.json<Node>('PATCH', `/rooms/${room}/nodes/${node}`, change);
  deleteNode = async (room: string, node: string, rev: number): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/nodes/${node}?rev=${rev}`);
  };
  /** Puts a file into the workspace, whatever is in it; `parent` is a folder's node. */
  sendFile = async (room: string, parent: string | null, name: string, file: Blob): Promise<Node> => {
    const query = new URLSearchParams(parent === null ? { name } : { name, parent });
    const token = this.sessions.current?.token;
    const response = await send('POST', `/rooms/${room}/files?${query}`, { token, file });
    return (await response.json()) as Node;
  };
  /** What is in a folder of the workspace and is no node; without one, in all folders that are nodes. */
  unshared = (room: string, folder: string | null) =>
    this.json<Unshared>(
      'GET',
      `/rooms/${room}/unshared${folder === null ? '' : `?${new URLSearchParams({ folder })}`}`,
    );
  content = async (room: string, node: string): Promise<Blob> =>
    (await this.call('GET', `/rooms/${room}/nodes/${node}/content`)).blob();
  /** The run appears in the room's `runs` document. */
  startRun = async (room: string): Promise<void> => {
    await this.call('POST', `/rooms/${room}/runs`, {});
  };
  cancelRun = async (room: string, run: string): Promise<void> => {
    await this.call('POST', `/rooms/${room}/runs/${run}/cancel`, {});
  };
  log = async (room: string, run: string): Promise<string> =>
    (await this.call('GET', `/rooms/${room}/runs/${run}/log`)).text();

  openTerminal = (room: string) => this.json<Terminal>('POST', `/rooms/${room}/terminals`, {});
  closeTerminal = async (room: string, terminal: string): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/terminals/${terminal}`);
  };

  callSettings = (room: string) => this.json<CallSettings>('GET', `/rooms/${room}/media/settings`);
  encryptCalls = (room: string, encrypted: boolean) =>
    this.json<CallSettings>('PUT', `/rooms/${room}/media/settings`, { encrypted });

  terminalSettings = (room: string) =>
    this.json<TerminalSettings>('GET', `/rooms/${room}/terminals/settings`);
  recordTerminals = (room: string, record: boolean) =>
    this.json<TerminalSettings>('PUT', `/rooms/${room}/terminals/settings`, { record });
  /** Newest first. */
  recordings = (room: string) => this.json<Recording[]>('GET', `/rooms/${room}/recordings`);
  /** As an asciicast. */
  recordingFile = async (room: string, recording: string): Promise<Blob> =>
    (await this.call('GET', `/rooms/${room}/recordings/${recording}`)).blob();
  deleteRecording = async (room: string, recording: string): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/recordings/${recording}`);
  };

  /** Newest first. */
  callRecordings = (room: string) => this.json<CallRecording[]>('GET', `/rooms/${room}/media/recordings`);
  /** One of its files, by its number. */
  callRecordingFile = async (room: string, recording: string, file: number): Promise<Blob> =>
    (await this.call('GET', `/rooms/${room}/media/recordings/${recording}/files/${file}`)).blob();
  deleteCallRecording = async (room: string, recording: string): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/media/recordings/${recording}`);
  };

  /** Ends the room's sandbox and all that runs in it; what is started next gets a new one. */
  endSandbox = async (room: string): Promise<void> => {
    await this.call('DELETE', `/rooms/${room}/sandbox`);
  };

  /** The link works once, and soon. */
  openPreview = (room: string, port: number, path: string) =>
    this.json<Preview>('POST', `/rooms/${room}/previews`, { port, path });

  repository = (room: string) => this.json<Repository>('GET', `/rooms/${room}/git`);
  /** Begins a repository with the room's files, or fetches the one at `url`. */
  beginRepository = (room: string, url: string | null) =>
    this.json<Repository>('POST', `/rooms/${room}/git`, url === null ? {} : { repository: { url } });
  diff = (room: string, wanted: { path: string; from: string | null } | { commit: string }) => {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted)) if (value !== null) query.set(name, value);
    return this.json<Patch>('GET', `/rooms/${room}/git/diff?${query}`);
  };
  commits = (room: string, skip: number, limit: number) =>
    this.json<Commits>('GET', `/rooms/${room}/git/commits?skip=${skip}&limit=${limit}`);
  /** Commits these paths; `null` for all. */
  commit = (room: string, message: string, paths: string[] | null) =>
    this.json<Commit>('POST', `/rooms/${room}/git/commits`, { message, ...(paths !== null && { paths }) });
  branches = (room: string) => this.json<Branch[]>('GET', `/rooms/${room}/git/branches`);
  createBranch = (room: string, name: string) =>
    this.json<Repository>('POST', `/rooms/${room}/git/branches`, { name });
  switchBranch = (room: string, name: string) =>
    this.json<Repository>('POST', `/rooms/${room}/git/switch`, { name });
  pull = (room: string) => this.json<Repository>('POST', `/rooms/${room}/git/pull`);
  push = (room: string) => this.json<Repository>('POST', `/rooms/${room}/git/push`);

  private async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.call(method, path, body);
    return (await response.json()) as T;
  }

  private async call(method: string, path: string, body?: unknown): Promise<Response> {
    const token = this.sessions.current?.token;
    try {
      return await send(method, path, { token, body });
    } catch (error) {
      const refused = error instanceof ApiError && error.status === 401 && token !== undefined;
      if (!refused) throw error;
      const renewed = await this.sessions.renew(token, error);
      return await send(method, path, { token: renewed.token, body });
    }
  }
}
