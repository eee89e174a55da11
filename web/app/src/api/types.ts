/**
 * The server's types by the names of its OpenAPI document. Features import them from here only, so that it stays
 * one place that says where they come from.
 */

export interface Person {
  id: string;
  name: string;
  /** A CSS colour the server chose. Check it with `safeColor` before it reaches a style. */
  color: string;
}

export interface Session {
  token: string;
  person: Person;
}

export interface Template {
  id: string;
  title: string;
  description: string;
  language: string;
}

export interface Room {
  id: string;
  title: string;
  template: string;
  /** Unix milliseconds. */
  created_at: number;
}

export interface Rule {
  id: string;
  name: string;
  globs: string[];
  skill: string;
  enabled: boolean;
}

export type NodeKind = 'folder' | 'text' | 'binary' | 'large';

export interface Node {
  id: string;
  /** `null` for the top level. */
  parent: string | null;
  name: string;
  kind: NodeKind;
  /** Bytes, where known. */
  size: number | null;
  rev: number;
}

export type RunState =
  | 'queued'
  | 'running'
  | 'passed'
  | 'failed'
  | 'cancelled'
  | 'interrupted'
  | 'error'
  | 'superseded';

/** Times are Unix milliseconds of the server's clock. */
export interface Run {
  id: string;
  rule: string;
  rule_name: string;
  skill: string;
  trigger: 'text' | 'intent';
  state: RunState;
  command: string | null;
  requested_by: string;
  requested_by_name: string;
  queued_at: number;
  started_at: number | null;
  finished_at: number | null;
  exit_code: number | null;
  message: string | null;
  content_hash: string | null;
  rev: number;
}

/** What the room says about its sandbox; `state` may grow, so readers fall back to `message`. */
export interface Sandbox {
  state: string;
  message?: string | null;
  hint?: string | null;
}

export interface Status {
  version: string;
  sandbox: Sandbox;
}

export interface ErrorBody {
  /** `message` says what to do; `hint`, where there is one, how. */
  error: { code: string; message: string; hint?: string | null };
}
