/** `@buildspaces/client`: rooms of BuildSpaces in a browser, a worker or Node.js. The README says how it is used. */
export {
  type Answer,
  Api,
  type ApiOptions,
  type Call,
  type Person,
  peopleIn,
  Refused,
  type Request,
  type Schemas,
} from './api.js';
export {
  connect,
  createDocument,
  documentAt,
  type OpenOptions,
  type Options,
  RoomClient,
  type TokenSource,
} from './client.js';
export { load, type Source } from './core.js';
export { Doc, type DocEvents, type State, UndoHistory } from './document.js';
export type { StorageCause } from './local.js';
export { forgetAll, IndexedDbStore, type Kept, type Store } from './store.js';
export {
  type Attributes,
  type Change,
  type Delta,
  type Observer,
  type Piece,
  type Plain,
  SharedArray,
  SharedMap,
  SharedText,
  SharedType,
  SharedXmlElement,
  SharedXmlFragment,
  SharedXmlText,
  type Value,
} from './types.js';
