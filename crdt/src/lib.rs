//! The collaborative core without any IO: what travels on the wire, what may enter a document, how
//! documents are called, and how a changed text becomes operations.
//!
//! It deliberately has no runtime, clock, lock, channel or randomness of its own beyond a new
//! replica's client id, so that the server and a browser can run the same code. It does not decide
//! who may do what, nor when something is saved.
//!
//! Read in this order: [`names`], [`protocol`], [`update`] (what is checked before a client's bytes
//! reach `yrs`), [`replica`] (a document that only accepts checked updates), [`export`], [`awareness`], [`text`],
//! [`history`] (what a log of updates tells about authors), [`revert`], [`markdown`].

pub mod awareness;
pub mod export;
pub mod history;
mod lib0;
pub mod markdown;
pub mod names;
pub mod protocol;
pub mod replica;
pub mod revert;
pub mod text;
pub mod update;

pub use lib0::Malformed;
pub use names::DocumentName;
pub use replica::Replica;
