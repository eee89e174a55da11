//! Rooms and their documents: what may change, who hears of it, and when it counts as saved.
//!
//! It knows nothing of HTTP, SQL or Docker. Disks are behind [`ports::Store`]. The decisions are pure state
//! machines ([`document::Document`], [`tree::Tree`], [`presence::Presence`]); tasks own them and perform their
//! effects. Read in this order: [`document`], [`actor`](self), [`handle`](DocumentHandle), [`rooms`](Rooms), [`room`](RoomHandle).

mod actor;
pub mod archive;
mod blob;
mod budget;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod copies;
pub mod document;
mod documents;
mod handle;
pub mod history;
pub mod listener;
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

pub use blob::BlobHash;
pub use document::Dialect;
pub use documents::{Position, Present};
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
    /// The disk is full, or too much waits for it.
    #[error(
        "the server cannot save anything right now because its disk is full or too slow; nothing was changed, try again later"
    )]
    Full,
    #[error("the document would be larger than it may be; delete something, or go on in another document")]
    TooLarge,
    #[error("this update is not valid: {0}")]
    InvalidUpdate(String),
    /// Somebody deleted it. Its name can be used again only if that is asked for.
    #[error("this document was deleted")]
    Deleted,
    /// Files are created and deleted as nodes of the tree; tree and runs are the server's.
    #[error("this document belongs to a room; create and delete files through the room's nodes")]
    OfARoom,
    /// There is no such update, or it belongs to a document of the same name that was deleted.
    #[error("there is no version {seq}; there are versions {oldest} to {newest}")]
    NoSuchVersion { seq: u64, oldest: u64, newest: u64 },
    /// Old updates were merged, and this one is in the middle of them.
    #[error("version {seq} is not kept; the nearest are {} and {last}", .first - 1)]
    VersionMerged { seq: u64, first: u64, last: u64 },
    /// What the log undoes to is not what the version was.
    #[error("this version cannot be restored exactly; read it, and copy what you need from it")]
    NotRestorable,
    #[error("a version's name must have 1 to {} characters", history::MAX_VERSION_NAME_CHARS)]
    BadVersionName,
    #[error("a document has at most {} named versions", history::MAX_NAMED_VERSIONS)]
    TooManyVersions,
    /// Too many wait for an answer about the past, or read whole documents.
    #[error("too many ask for whole documents or their history right now; try again in a moment")]
    Busy,
    /// The document is not at the version that the caller named.
    #[error("the document was changed by somebody else first; read it again and repeat what you want")]
    Changed,
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

impl From<ports::StoreError> for Error {
    fn from(error: ports::StoreError) -> Self {
        match error {
            ports::StoreError::Full(_) => Self::Full,
            ports::StoreError::Failed(cause) => Self::Storage(cause),
        }
    }
}
