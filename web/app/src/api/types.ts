/**
 * The server's types, by name, from the OpenAPI document it generates (`openapi.json` -> `schema.d.ts`, `npm run api`).
 * Features import them from here only.
 */
import type { components } from './schema';

type Schemas = components['schemas'];

/** Every property there; one that may be absent is `null` instead. */
type Filled<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

/** `color` is checked with `safeColor` before it reaches a style. */
export type Person = Schemas['Person'];
export type Session = Schemas['Session'];
/** Somebody who changed a document. */
export type Author = Schemas['Author'];
/** A version of a document: its number is that of the last update in it. */
export type Version = Filled<Schemas['Version']>;
export type Versions = Filled<Omit<Schemas['Versions'], 'versions'>> & { versions: Version[] };
export type BlameRange = Filled<Schemas['BlameRange']>;
export type Blamed = Filled<Omit<Schemas['Blamed'], 'ranges'>> & { ranges: BlameRange[] };
export type Template = Schemas['Template'];
export type Room = Schemas['Room'];
/** What this person is and may do in a room. */
export type Access = Filled<Schemas['Access']>;
export type Role = Schemas['Role'];
export type Capability = Schemas['Capability'];
export type Link = Filled<Schemas['Link']>;
export type Rule = Schemas['Rule'];
/** A secret of the room, without its value. */
export type Secret = Filled<Schemas['Secret']>;
export type NewSecret = Schemas['NewSecret'];
/** How a step gets a secret. */
export type Given = Schemas['Given'];
export type Node = Schemas['Node'];
export type NodeKind = Schemas['NodeKind'];
/** What of the workspace is no node. */
export type Unshared = Schemas['Unshared'];
/** A run as `readRuns` gives it: what the server left out is `null`. */
export type Run = Filled<Schemas['Run']>;
export type RunState = Schemas['RunState'];
/** A terminal as the `runs` document and REST tell it. */
export type Terminal = Filled<Schemas['Terminal']>;
/** Whether the room's terminals are recorded, and who turned that on. */
export type TerminalSettings = Filled<Schemas['TerminalSettings']>;
/** Whether the room's calls are encrypted, who turned that on, and what is kept of calls. */
export type CallSettings = Filled<Schemas['CallSettings']>;
/** What the room has of recordings, and what it may have. */
export type Kept = TerminalSettings['kept'];
/** What a terminal showed, kept. */
export type Recording = Filled<Schemas['Recording']>;
export type CallRecording = Filled<Schemas['CallRecording']>;
export type CallRecordingFile = CallRecording['files'][number];
export type Preview = Schemas['Preview'];
/** What git says of a room, and what it shows. */
export type Repository = Schemas['Repository'];
export type Change = Schemas['Change'];
export type Commit = Schemas['Commit'];
export type Commits = Schemas['Commits'];
export type Branch = Schemas['Branch'];
export type Patch = Schemas['Patch'];
export type Status = Schemas['Status'];
export type ErrorBody = Schemas['ErrorBody'];

/** The sandbox as the `runs` document tells it. `state` may grow: what a page does not know it does not show. */
export interface Sandbox {
  state: string;
  message?: string | null;
  hint?: string | null;
  /** While somebody waits for it: since when, how many texts the workspace has, and the phases before this one. */
  start?: { since: number; files: number; done: readonly { phase: string; took: number }[] } | null;
}
