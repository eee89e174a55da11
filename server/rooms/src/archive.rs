//! A room as one file: its tree, its documents with every update, their named versions, who everybody is, and what is kept of files that are
//! no documents.
//!
//! The file is a tar (`ustar`) of plain files in a fixed order, without anything of the moment or the machine, so exporting a
//! room, importing it elsewhere and exporting it again gives the same bytes. No more than one file of it is held in memory.
//! Runs are not in it, nor what is in a sandbox's workspace alone.
//!
//! [`format`] says how each file looks, [`export`] writes, [`Import`] reads. Who imports trusts nothing: paths must be the next
//! expected ones, sizes and counts are bounded, each file has its hash in the manifest, and each update passes the same gate as
//! a client's. The room itself is created last; until then nobody can open what is in it.

mod export;
pub mod format;
mod import;

pub use export::export;
pub use import::{Import, discard_leftovers};

/// Largest file within an archive, where a document may have so many bytes: a part of a log, whose last record may have as many as a
/// document, or a manifest of some hundred thousand documents.
pub(crate) fn max_file(max_document_bytes: usize) -> u64 {
    2 * max_document_bytes as u64 + (32 << 20)
}

/// Largest archive, in bytes.
pub const MAX_ARCHIVE: u64 = 8 << 30;

/// Why a room could not be exported or imported. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was damaged, made by something else, or made to do harm. Nothing of it is kept.
    #[error("this is not a room's archive that can be read: {0}")]
    Archive(String),
    #[error("there is a room {0} already; import the archive into another server")]
    RoomExists(buildspaces_kernel::ids::RoomId),
    /// The receiver went away.
    #[error("the archive is not read any more")]
    Abandoned,
    #[error(transparent)]
    Room(#[from] crate::Error),
}

impl From<crate::ports::StoreError> for Error {
    fn from(error: crate::ports::StoreError) -> Self {
        Self::Room(error.into())
    }
}

fn broken(what: impl Into<String>) -> Error {
    Error::Archive(what.into())
}

#[cfg(test)]
mod tests;
