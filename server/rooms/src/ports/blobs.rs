//! What keeping the bytes of files that are no documents needs from a disk. [`super::Store`] includes it.
//!
//! A blob is written piece by piece as a draft, which nobody finds, and is there as a whole under its hash from one moment on. Nodes name
//! blobs ([`crate::tree::Node::blob`]), and the change of a tree that takes the last name of a blob takes the blob with it. One that nobody
//! ever named, because a process ended in between, goes at the next start.

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::blob::BlobHash;

/// Most bytes of a piece.
pub const MAX_PIECE: usize = 256 << 10;

/// A blob that is being written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Draft(pub i64);

/// Every method is one transaction, and what it wrote is durable when it returns.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    async fn begin_blob(&self) -> Result<Draft, StoreError>;

    /// Adds the bytes from byte `at` on; the draft has as many.
    async fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), StoreError>;

    /// The draft is the blob of that hash from now on, which is the caller's word. Where there is one already, that stays and the draft goes.
    async fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), StoreError>;

    async fn discard_draft(&self, draft: Draft) -> Result<(), StoreError>;

    async fn has_blob(&self, hash: &BlobHash) -> Result<bool, StoreError>;

    /// What was added by one call, if that began at byte `from`; else nothing.
    async fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, StoreError>;

    /// Removes the blob if no node names it.
    async fn release_blob(&self, hash: &BlobHash) -> Result<(), StoreError>;

    /// Removes all drafts, and every blob that no node names. To be called while nobody writes one.
    async fn sweep_blobs(&self) -> Result<(), StoreError>;
}
