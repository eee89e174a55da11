/** The shared types, as small objects that name a place in a document. Two objects for the same place are the same object while one is held. */
import { now } from './core.js';
import type { Doc } from './document.js';

/** What can be put into a document: JSON, and bytes. */
export type Plain =
  | null
  | undefined
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** What can be found in one. */
export type Value = Plain | SharedType;

export type Attributes = { readonly [key: string]: Plain };

/** A stretch of a text with the same attributes, or something embedded. */
export interface Piece {
  insert: Value;
  attributes?: Attributes;
}

/** What became of a list, from start to end. An insertion into a text is a string, into a list an array. */
export type Delta = ReadonlyArray<{
  retain?: number;
  delete?: number;
  insert?: Value | Value[];
  attributes?: Attributes;
}>;

/** One type that one transaction changed. */
export interface Change {
  target: SharedType;
  /** From what is observed to what changed: keys and indices. */
  path: ReadonlyArray<string | number>;
  delta: Delta;
  keys: { readonly [key: string]: { action: 'add' | 'update' | 'delete'; oldValue: Plain } };
  /** Of the transaction; `null` if the change came from elsewhere. */
  origin: string | null;
}

export type Observer = (change: Change) => void;

/** In the order of the codes in `src/bindings.rs`. */
export const TEXT = 0;
export const MAP = 1;
export const ARRAY = 2;
export const XML_FRAGMENT = 3;
export const XML_ELEMENT = 4;
export const XML_TEXT = 5;

function index(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new RangeError(`${value} is no index: use a whole number from 0`);
  return value;
}

/** A change is one message, and a server takes one of 16 MiB. */
const MOST_BYTES = 15 << 20;

function fits(value: string | Uint8Array): void {
  // A unit of a string has at most three bytes.
  if (value.length * 3 <= MOST_BYTES) return;
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value).length : value.length;
  if (bytes > MOST_BYTES) throw new RangeError(`${bytes} bytes are too many for one change, which has at most ${MOST_BYTES}`);
}

/** Everything that is to be a string goes through here: the module trusts that it is one. */
export function whole(text: string): string {
  if (typeof text !== 'string') throw new TypeError(`${typeof text === 'symbol' ? 'a symbol' : text} is no string`);
  fits(text);
  // Half a pair cannot be kept: it would come out as another character.
  if (/[\ud800-\udfff]/.test(text) && /\p{Surrogate}/u.test(text))
    throw new RangeError('the text has half a surrogate pair in it');
  return text;
}

/** Deeper values are refused by the module. */
const MAX_DEPTH = 64;

/**
 * A copy in which nothing runs code of its own, as getters and proxies do: the module must not be called, or left by an error, while it looks at a value. What is neither a list
 * nor a plain object stays, and the module says what it thinks of it.
 */
function plain(value: unknown, depth = 0): Plain {
  if (typeof value === 'string' || value instanceof Uint8Array) fits(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || depth > MAX_DEPTH) return value as Plain;
  if (Array.isArray(value)) return Array.from(value, (one) => plain(one, depth + 1));
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return value as Plain;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one, depth + 1)]));
}

/** What all shared types have. */
export abstract class SharedType {
  readonly doc: Doc;
  /** @internal */
  readonly id: number;

  /** @internal */
  constructor(doc: Doc, id: number) {
    this.doc = doc;
    this.id = id;
  }

  /** Calls `observer` after each transaction that changed this type. Returns how to stop. */
  observe(observer: Observer): () => void {
    return this.doc.observe(this, observer, false);
  }

  /** As `observe`, and also for what is within this type. */
  observeDeep(observer: Observer): () => void {
    return this.doc.observe(this, observer, true);
  }
}

/** A text. Indices count UTF-16 units, as JavaScript's strings do, and may not lie within a surrogate pair. */
export class SharedText extends SharedType {
  get length(): number {
    return this.doc.read((core, doc) => core.text_len(doc, this.id));
  }

  insert(at: number, text: string, attributes?: Attributes): void {
    index(at);
    whole(text);
    if (attributes === undefined) this.doc.edit((core, doc) => core.text_insert(doc, this.id, now(), at, text));
    else {
      const copy = plain(attributes);
      this.doc.edit((core, doc) => core.text_insert_with(doc, this.id, now(), at, text, copy));
    }
  }

  /** Inserts something that is no text and counts as one unit. */
  embed(at: number, value: Plain, attributes?: Attributes): void {
    index(at);
    const [copy, around] = [plain(value), plain(attributes)];
    this.doc.edit((core, doc) => core.text_embed(doc, this.id, now(), at, copy, around));
  }

  delete(at: number, length: number): void {
    index(at);
    index(length);
    this.doc.edit((core, doc) => core.text_delete(doc, this.id, now(), at, length));
  }

  /** Sets attributes of a stretch; `null` takes one away. */
  format(at: number, length: number, attributes: Attributes): void {
    index(at);
    index(length);
    const copy = plain(attributes);
    this.doc.edit((core, doc) => core.text_format(doc, this.id, now(), at, length, copy));
  }

  override toString(): string {
    return this.doc.read((core, doc) => core.text(doc, this.id));
  }

  toJSON(): string {
    return this.toString();
  }

  pieces(): Piece[] {
    return this.doc.read((core, doc) => core.text_pieces(doc, this.id)) as Piece[];
  }

  /** A position that stays where it is in the text; as bytes, which are those of Yjs' relative positions. */
  position(at: number, stick: 'left' | 'right' = 'right'): Uint8Array {
    index(at);
    return this.doc.read((core, doc) => core.position(doc, this.id, at, stick === 'left'));
  }

  /** Where such a position is now; `null` if it is not in this text. */
  indexOf(position: Uint8Array): number | null {
    const found = this.doc.resolve(position);
    return found?.type === this.id ? found.index : null;
  }
}

/** A map from strings to values. */
export class SharedMap extends SharedType {
  get size(): number {
    return this.entries().length;
  }

  get(key: string): Value {
    return this.doc.read((core, doc) => core.map_get(doc, this.id, whole(key))) as Value;
  }

  has(key: string): boolean {
    return this.doc.read((core, doc) => core.map_has(doc, this.id, whole(key)));
  }

  /** Sorted by key. */
  entries(): [string, Value][] {
    return this.doc.read((core, doc) => core.map_entries(doc, this.id)) as [string, Value][];
  }

  keys(): string[] {
    return this.entries().map(([key]) => key);
  }

  set(key: string, value: Plain): void {
    whole(key);
    const copy = plain(value);
    this.doc.edit((core, doc) => core.map_set(doc, this.id, now(), key, copy));
  }

  setText(key: string): SharedText {
    return this.#setType(key, TEXT) as SharedText;
  }

  setMap(key: string): SharedMap {
    return this.#setType(key, MAP) as SharedMap;
  }

  setArray(key: string): SharedArray {
    return this.#setType(key, ARRAY) as SharedArray;
  }

  delete(key: string): void {
    whole(key);
    this.doc.edit((core, doc) => core.map_delete(doc, this.id, now(), key));
  }

  toJSON(): { [key: string]: Plain } {
    return this.doc.read((core, doc) => core.to_json(doc, this.id)) as { [key: string]: Plain };
  }

  #setType(key: string, kind: number): SharedType {
    whole(key);
    const made = this.doc.edit((core, doc) => core.map_set_type(doc, this.id, now(), key, kind));
    return this.doc.wrap(made, kind);
  }
}

/** A list of values. */
export class SharedArray extends SharedType {
  get length(): number {
    return this.doc.read((core, doc) => core.array_len(doc, this.id));
  }

  get(at: number): Value {
    index(at);
    return this.doc.read((core, doc) => core.array_get(doc, this.id, at)) as Value;
  }

  insert(at: number, values: readonly Plain[]): void {
    index(at);
    const copies = Array.from(values, (value) => plain(value));
    this.doc.edit((core, doc) => core.array_insert(doc, this.id, now(), at, copies));
  }

  push(...values: Plain[]): void {
    this.insert(this.length, values);
  }

  insertText(at: number): SharedText {
    return this.#insertType(at, TEXT) as SharedText;
  }

  insertMap(at: number): SharedMap {
    return this.#insertType(at, MAP) as SharedMap;
  }

  insertArray(at: number): SharedArray {
    return this.#insertType(at, ARRAY) as SharedArray;
  }

  delete(at: number, length = 1): void {
    index(at);
    index(length);
    this.doc.edit((core, doc) => core.array_delete(doc, this.id, now(), at, length));
  }

  values(): Value[] {
    return this.doc.read((core, doc) => core.array_values(doc, this.id)) as Value[];
  }

  toJSON(): Plain[] {
    return this.doc.read((core, doc) => core.to_json(doc, this.id)) as Plain[];
  }

  #insertType(at: number, kind: number): SharedType {
    index(at);
    const made = this.doc.edit((core, doc) => core.array_insert_type(doc, this.id, now(), at, kind));
    return this.doc.wrap(made, kind);
  }
}

/** Nodes in an order. */
export class SharedXmlFragment extends SharedType {
  get length(): number {
    return this.doc.read((core, doc) => core.xml_len(doc, this.id));
  }

  children(): (SharedXmlElement | SharedXmlText)[] {
    return this.doc.read((core, doc) => core.xml_children(doc, this.id)) as (SharedXmlElement | SharedXmlText)[];
  }

  insertElement(at: number, tag: string): SharedXmlElement {
    return this.#insert(at, XML_ELEMENT, tag) as SharedXmlElement;
  }

  insertText(at: number, text = ''): SharedXmlText {
    return this.#insert(at, XML_TEXT, text) as SharedXmlText;
  }

  delete(at: number, length = 1): void {
    index(at);
    index(length);
    this.doc.edit((core, doc) => core.xml_delete(doc, this.id, now(), at, length));
  }

  override toString(): string {
    return this.doc.read((core, doc) => core.xml_string(doc, this.id));
  }

  #insert(at: number, kind: number, content: string): SharedType {
    index(at);
    whole(content);
    const made = this.doc.edit((core, doc) => core.xml_insert(doc, this.id, now(), at, kind, content));
    return this.doc.wrap(made, kind);
  }
}

/** A node with a tag, attributes and children. */
export class SharedXmlElement extends SharedXmlFragment {
  get tag(): string {
    return this.doc.read((core, doc) => core.xml_tag(doc, this.id));
  }

  attributes(): { [key: string]: Value } {
    return Object.fromEntries(
      this.doc.read((core, doc) => core.xml_attributes(doc, this.id)) as [string, Value][],
    );
  }

  setAttribute(key: string, value: Plain): void {
    if (value === undefined) throw new TypeError('use removeAttribute to take an attribute away');
    whole(key);
    const copy = plain(value);
    this.doc.edit((core, doc) => core.xml_set_attribute(doc, this.id, now(), key, copy));
  }

  removeAttribute(key: string): void {
    whole(key);
    this.doc.edit((core, doc) => core.xml_set_attribute(doc, this.id, now(), key, undefined));
  }
}

/** The text between nodes. */
export class SharedXmlText extends SharedText {}

/** The class for a kind of type. */
export function make(doc: Doc, id: number, kind: number): SharedType {
  switch (kind) {
    case TEXT:
      return new SharedText(doc, id);
    case MAP:
      return new SharedMap(doc, id);
    case ARRAY:
      return new SharedArray(doc, id);
    case XML_ELEMENT:
      return new SharedXmlElement(doc, id);
    case XML_TEXT:
      return new SharedXmlText(doc, id);
    default:
      return new SharedXmlFragment(doc, id);
  }
}
