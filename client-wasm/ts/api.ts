/**
 * The server's REST interface, typed from its OpenAPI document: what is in `schema.d.ts` is what the server says of itself. Files, runs, versions, links: what a client does not
 * write into documents but asks the server for.
 *
 * It knows no single call: path, parameters, body and answer of each come from the types, so it is always complete and adds next to nothing to a page.
 */
import type { components, paths } from './schema.js';

/** The objects that the interface speaks of: `Schemas['Run']`, `Schemas['Node']`, … */
export type Schemas = components['schemas'];

/** Whom the server says somebody is: `user` in the presence of those it knows. */
export interface Person {
  id: string;
  name: string;
  color: string;
  kind?: 'person' | 'agent';
}

type Verb = 'get' | 'put' | 'post' | 'patch' | 'delete';

type Verbs<P extends keyof paths> = { [V in Verb]: paths[P][V] extends undefined ? never : V }[Verb];

/** `GET /api/v1/rooms/{room}/runs`, and so on. */
export type Call = { [P in keyof paths]: `${Uppercase<Verbs<P>>} ${P}` }[keyof paths];

type Operation<C extends Call> = C extends `${infer V} ${infer P extends keyof paths}`
  ? NonNullable<paths[P][Lowercase<V> & keyof paths[P]]>
  : never;

type Content<T> = T extends { content: infer C } ? C[keyof C] : undefined;

type Path<O> = O extends { parameters: { path: infer P } } ? { path: P } : { path?: undefined };
type Query<O> = O extends { parameters: { query?: infer Q } } ? { query?: Q } : { query?: undefined };
type Body<O> = O extends { requestBody: infer B } ? { body: Content<B> | Blob | Uint8Array<ArrayBuffer> } : { body?: undefined };

export type Request<C extends Call> = Path<Operation<C>> &
  Query<Operation<C>> &
  Body<Operation<C>> & { headers?: Record<string, string>; signal?: AbortSignal };

type Success<R> = { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Content<R[S]> : never }[keyof R];

export type Answer<C extends Call> = Operation<C> extends { responses: infer R } ? Success<R> : never;

/** The server said no. `message` is for people, `code` for programs, `status` is HTTP's; 0 if there was no answer. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'Refused';
    this.status = status;
    this.code = code;
  }
}

export interface ApiOptions {
  /** The server's address: `https://host`. */
  server: string;
  token?: string | (() => string | Promise<string>);
}

export class Api {
  readonly #options: ApiOptions;

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  /** Calls the server; what is refused is thrown as `Refused`. Answers that are JSON are parsed, others are text. */
  async call<C extends Call>(call: C, request: Request<C>): Promise<Answer<C>> {
    const response = await this.fetch(call, request);
    const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
    if (response.status === 204) return undefined as Answer<C>;
    return (isJson ? await response.json() : await response.text()) as Answer<C>;
  }

  /** As `call`, with the answer as it came: for bytes, and for what is in its headers. */
  async fetch<C extends Call>(call: C, request: Request<C>): Promise<Response> {
    const { path = {}, query = {}, body, headers, signal } = request as {
      path?: Record<string, unknown>;
      query?: Record<string, unknown>;
      body?: unknown;
      headers?: Record<string, string>;
      signal?: AbortSignal;
    };
    const [method = '', template = ''] = call.split(' ');
    const url = new URL(
      template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(path[name]))).slice(1),
      `${this.#options.server.replace(/\/$/, '')}/`,
    );
    for (const [name, value] of Object.entries(query))
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    const isBytes = body instanceof Uint8Array || (typeof Blob === 'function' && body instanceof Blob);
    const isPlain = isBytes || typeof body === 'string' || body === undefined;
    const { token } = this.#options;
    const bearer = typeof token === 'function' ? await token() : token;
    const init: RequestInit = {
      method,
      headers: {
        ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
        ...(isPlain ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
    };
    if (body !== undefined) init.body = isPlain ? (body as BodyInit) : JSON.stringify(body);
    if (signal) init.signal = signal;
    const response = await fetch(url, init).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw new Refused(0, 'unreachable', 'The server cannot be reached. Try again in a moment.');
    });
    if (response.ok) return response;
    const said = (await response.json().catch(() => null)) as { error?: { code?: string; message?: string } } | null;
    const { code = 'unknown', message = `the server answered ${response.status}` } = said?.error ?? {};
    throw new Refused(response.status, code, message);
  }
}

/** Whom the server says the others in a document are, by client id; those it does not know are left out. */
export function peopleIn(doc: { readonly others: ReadonlyMap<number, unknown> }): Map<number, Person> {
  const people = new Map<number, Person>();
  for (const [client, state] of doc.others) {
    const user = (state as { user?: Partial<Person> } | null)?.user;
    if (typeof user?.id === 'string' && typeof user.name === 'string' && typeof user.color === 'string')
      people.set(client, user as Person);
  }
  return people;
}
