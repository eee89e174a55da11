//! What reading, naming and merging a document's past needs from a disk. [`super::Store`] includes it.

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::history::Span;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Principal;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// What is known of a document without loading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    pub document: DocumentName,
    /// 1, and one more each time a deleted document's name was used again.
    pub epoch: u64,
    /// The number after which this epoch's updates begin.
    pub begins: u64,
    /// Number of the last update; `begins` if there is none.
    pub seq: u64,
    /// When the last update was stored.
    pub changed_at: Option<UnixMillis>,
    pub deleted: Option<Deletion>,
}

/// A document that was deleted; its name cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    pub at: UnixMillis,
    pub by: PrincipalId,
}

/// One record of a log: an update as it came, or several that were merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Number of the last update in it.
    pub seq: u64,
    /// Number of the first update in it; `seq` unless updates were merged.
    pub first: u64,
    /// Who made it; of merged updates, who made the last one.
    pub by: PrincipalId,
    /// When it was stored, the last one if merged.
    pub at: UnixMillis,
    pub update: Bytes,
    /// Whose part is what, if updates were merged; empty otherwise.
    pub shares: Vec<Share>,
}

/// What one author did in merged updates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Share {
    pub by: PrincipalId,
    /// When their last part came, and its number.
    pub at: UnixMillis,
    pub seq: u64,
    pub inserted: Vec<Range>,
    pub deleted: Vec<Range>,
}

/// Elements: client, first clock, how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Range(pub u64, pub u64, pub u64);

impl From<Span> for Range {
    fn from(span: Span) -> Self {
        Self(span.client, span.clock, span.len)
    }
}

impl From<Range> for Span {
    fn from(range: Range) -> Self {
        Self { client: range.0, clock: range.1, len: range.2 }
    }
}

/// A record without its update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub seq: u64,
    pub first: u64,
    pub by: PrincipalId,
    pub at: UnixMillis,
    /// Size of the update.
    pub bytes: u64,
}

/// A version somebody gave a name. Its text is kept whatever else is merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedVersion {
    pub seq: u64,
    pub name: String,
    pub by: PrincipalId,
    pub at: UnixMillis,
}

/// Every method is one transaction, and what it wrote is durable when it returns. Only updates of the document's present
/// epoch are seen.
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// `None` if the document never had an update.
    async fn about(&self, document: &DocumentName) -> Result<Option<About>, StoreError>;

    /// Documents that are not deleted and whose names begin with `prefix` and come after `after`, by name, at most `limit`.
    /// `plain`: leave out the documents of rooms.
    async fn list(&self, prefix: &str, after: &str, plain: bool, limit: usize) -> Result<Vec<About>, StoreError>;

    /// Records with numbers above `after`, in order: at least one if there is one, and no more than fit into a few megabytes.
    async fn records(&self, document: &DocumentName, after: u64) -> Result<Vec<LogRecord>, StoreError>;

    /// As [`HistoryStore::records`], without the updates and at most `limit`.
    async fn entries(&self, document: &DocumentName, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// The newest state that is kept and not newer than `seq`: the number it was made at, and the state.
    async fn state_before(&self, document: &DocumentName, seq: u64) -> Result<Option<(u64, Bytes)>, StoreError>;

    /// Keeps a version's name, in place of the one it had, and the document's state at it, if there is one to be kept. False if that
    /// is no version: its update was merged with later ones.
    async fn name_version(
        &self,
        document: &DocumentName,
        version: &NamedVersion,
        state: Option<Bytes>,
    ) -> Result<bool, StoreError>;

    /// Of the named versions whose state is kept the newest: its number, and the state's bytes.
    async fn last_named_state(&self, document: &DocumentName) -> Result<Option<(u64, u64)>, StoreError>;

    /// By number.
    async fn named_versions(&self, document: &DocumentName) -> Result<Vec<NamedVersion>, StoreError>;

    /// Those of `ids` that are known.
    async fn principals(&self, ids: &[PrincipalId]) -> Result<Vec<Principal>, StoreError>;

    /// Remembers what a principal is called and what kind it is, so that its edits can be shown.
    async fn remember(&self, principal: &Principal, at: UnixMillis) -> Result<(), StoreError>;

    /// Puts one record in the place of those with numbers from `first` to `seq`. Nothing happens unless all of those are there and
    /// none but the last is a named version.
    async fn merge_records(&self, document: &DocumentName, merged: &LogRecord) -> Result<bool, StoreError>;

    /// Appends records that may stand for several updates. An error means that none is in the log. Only for a document that
    /// nobody can open: its actor would not know of them.
    async fn append_records(&self, document: &DocumentName, records: Vec<LogRecord>) -> Result<(), StoreError>;

    /// Forgets a document that nobody can have opened, as if it had never been.
    async fn discard(&self, document: &DocumentName) -> Result<(), StoreError>;

    /// Files and trees of rooms that do not exist, and have updates: what an import left that was killed. Nobody can open them.
    async fn orphans(&self) -> Result<Vec<DocumentName>, StoreError>;

    /// Deletes: the name cannot be opened any more, the log stays. False if there is no such document or it was deleted
    /// before.
    async fn bury(&self, document: &DocumentName, deletion: &Deletion) -> Result<bool, StoreError>;

    /// Lets a deleted document's name be used again for an empty document of a new epoch. False if it is not deleted.
    async fn begin_again(&self, document: &DocumentName) -> Result<bool, StoreError>;
}
