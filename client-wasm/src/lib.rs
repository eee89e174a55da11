//! A client of rooms: the same core as the server's in a browser, in Node.js or in a native program.
//!
//! [`RoomClient`] is a state machine without IO: what happened and `now` go in, effects come out ([`Effect`]). Whoever owns it opens
//! the WebSocket, waits and asks for tokens: in JavaScript that is `ts/`, through [`bindings`]; natively it is a [`Session`] with a [`Transport`]. A
//! [`Document`] can be used without any connection.
//!
//! It deliberately has no socket, timer, storage or randomness beyond a new document's client id, and trusts nothing that a server
//! sends: every update passes the gate of `buildspaces_crdt` before it reaches `yrs`.
//!
//! Read in this order: [`room`] (connection, documents, what is saved), [`document`], [`presence`], [`session`] (for programs in Rust),
//! [`bindings`] (for JavaScript).

pub mod backoff;
pub mod bindings;
pub mod document;
pub mod presence;
pub mod room;
pub mod session;

pub use document::Document;
pub use room::{Config, Effect, Input, RoomClient, State};
pub use session::{Session, Transport};
