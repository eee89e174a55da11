//! Rooms and their documents: what may change, who hears of it, and when it counts as saved.
//!
//! It knows nothing of HTTP, SQL or Docker. Disks are behind [`ports::Store`]. The decisions are pure state
//! machines ([`document::Document`], [`tree::Tree`], [`presence::Presence`]); tasks own them and perform their
//! effects. Read in this order: [`document`], [`actor`](self), [`handle`](DocumentHandle), [`rooms`](Rooms), [`room`](RoomHandle).

mod actor;
mod budget;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod document;
mod handle;
pub mod memory;
mod meters;
pub mod outbox;
pub mod ports;
pub mod presence;
mod room;
mod rooms;
pub mod templates;
pub mod tree;

use std::sync::Arc;

use buildspaces_kernel::ids::RoomId;

pub use document::Dialect;
pub use handle::{Connection, DocumentHandle};
pub use outbox::{CloseReason, Outbox};
pub use room::{RoomEvent, RoomHandle, RunsMap};
pub(crate) use rooms::document_of;
pub use rooms::{Config, MAX_TITLE_CHARS, NewRoom, Rooms};

/// Why something about a room could not be done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nobody created it, or the link is mistyped.
    #[error("there is no room {0}; check the link")]
    NoSuchRoom(RoomId),
    /// The name has the shape of a room's document, but cannot be one.
    #[error("there is no document {0:?}")]
    NoSuchDocument(String),
    #[error("there is no such file or folder; somebody may have deleted it")]
    NoSuchNode,
    #[error("a room's title must have 1 to {MAX_TITLE_CHARS} characters")]
    BadTitle,
    /// The document was unloading or the server is stopping: open it again.
    #[error("the server is stopping or loading this document again; try again")]
    Closed,
    /// The store failed. The text is for the log.
    #[error("the server cannot read or write its data: {0}")]
    Storage(Arc<str>),
    #[error("this update is not valid: {0}")]
    InvalidUpdate(String),
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

impl From<ports::StoreError> for Error {
    fn from(error: ports::StoreError) -> Self {
        Self::Storage(error.cause().clone())
    }
}
