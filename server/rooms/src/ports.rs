//! What rooms need from a disk. Two implementations exist, [`crate::memory::MemoryStore`] and the one in
//! `storage`; [`crate::contract`] is the suite that both run.

mod blobs;
mod history;

use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{OrganisationId, PrincipalId, RoomId, RoomKind};
use buildspaces_policy::Principal;
use buildspaces_policy::revocation::Revocation;
use buildspaces_policy::tenancy::Tenancy;
use bytes::Bytes;

use crate::tree::Node;
pub use blobs::{BlobStore, Draft, MAX_PIECE};
pub use history::{About, Deletion, Entry, HistoryStore, LogRecord, NamedVersion, Range, Share};

/// Why the store did not do what it was asked. The texts are for the log. Cheap to clone, because many may wait for one
/// commit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the database's bound, is full. Nothing is broken: what is stored can be read, and the same request
    /// works once there is space.
    #[error("store: no space is left: {0}")]
    Full(Arc<str>),
    /// Anything else.
    #[error("store: {0}")]
    Failed(Arc<str>),
}

impl StoreError {
    /// An error of the second kind.
    pub fn failed(cause: impl Into<Arc<str>>) -> Self {
        Self::Failed(cause.into())
    }

    /// What happened, for the log.
    pub fn cause(&self) -> &Arc<str> {
        match self {
            Self::Full(cause) | Self::Failed(cause) => cause,
        }
    }
}

/// The largest number of an update. Clients read numbers as JSON, which is exact up to here.
pub const MAX_SEQ: u64 = 1 << 53;

/// One update of a document's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// 1 for the document's first update, then rising by one without gaps, up to [`MAX_SEQ`].
    pub seq: u64,
    /// Who made it.
    pub by: PrincipalId,
    pub at: UnixMillis,
    /// A v1 update.
    pub update: Bytes,
}

/// What is kept of a document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredDocument {
    /// The document as it was after update number `.0`.
    pub snapshot: Option<(u64, Bytes)>,
    /// The updates after the snapshot, in order.
    pub updates: Vec<Bytes>,
    /// Number of the last update; 0 if there is none.
    pub seq: u64,
    /// The document was deleted: nobody may open it.
    pub is_deleted: bool,
}

impl StoredDocument {
    /// Bytes of its snapshot and updates.
    pub fn bytes(&self) -> usize {
        let snapshot = self.snapshot.as_ref().map_or(0, |(_, state)| state.len());
        snapshot + self.updates.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A room as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomRecord {
    pub id: RoomId,
    pub title: String,
    /// The id of the template it began with.
    pub template: String,
    pub created_at: UnixMillis,
    pub created_by: PrincipalId,
    pub tenancy: Tenancy,
}

/// A room became one of another kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindChange {
    pub at: UnixMillis,
    pub by: PrincipalId,
    pub from: RoomKind,
    pub to: RoomKind,
}

/// One accepted change of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeChange {
    pub changed: Vec<Node>,
    pub deleted: Vec<buildspaces_kernel::ids::NodeId>,
    /// First updates of documents that this change creates. A document that has updates already
    /// is left alone.
    pub documents: Vec<(DocumentName, Bytes)>,
}

/// Rooms, trees, documents, and the people who were given sessions. Every method is one
/// transaction, and what it wrote is durable when it returns.
#[async_trait]
pub trait Store: HistoryStore + BlobStore {
    async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError>;

    /// Appends to a document's log. Appends of all documents that wait at the same moment are
    /// committed together. An error means that none of `records` is in the log.
    async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError>;

    /// Keeps `state` so that loading need not read the updates up to `seq`. The updates stay, so this alone need not be durable
    /// when it returns.
    async fn save_snapshot(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError>;

    async fn create_room(&self, room: &RoomRecord, tree: TreeChange) -> Result<(), StoreError>;

    async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError>;

    /// The organisation's rooms, in any order.
    async fn rooms_of(&self, organisation: &OrganisationId) -> Result<Vec<RoomId>, StoreError>;

    /// The room is of the kind [`KindChange::to`] from now on, and the change is remembered.
    async fn change_kind(&self, room: &RoomId, change: &KindChange) -> Result<(), StoreError>;

    /// Every change of the room's kind, newest first.
    async fn kind_changes(&self, room: &RoomId) -> Result<Vec<KindChange>, StoreError>;

    async fn nodes(&self, room: &RoomId) -> Result<Vec<Node>, StoreError>;

    /// Journals one change of the tree by `by`. An error if a node names a blob that is not there; one that no node names any more goes.
    async fn change_tree(
        &self,
        room: &RoomId,
        by: &PrincipalId,
        at: UnixMillis,
        change: TreeChange,
    ) -> Result<(), StoreError>;

    /// Remembers a person under the hash of the secret token they were given.
    async fn create_session(&self, token_hash: [u8; 32], person: &Principal, at: UnixMillis) -> Result<(), StoreError>;

    async fn session(&self, token_hash: [u8; 32]) -> Result<Option<Principal>, StoreError>;

    async fn rename_person(&self, person: &PrincipalId, name: &str) -> Result<(), StoreError>;

    /// Remembers that access was taken back, in place of what was said about the same subject in the same room before.
    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError>;

    /// What is revoked at `now`. What is over by then may be forgotten.
    async fn revocations(&self, now: UnixMillis) -> Result<Vec<Revocation>, StoreError>;
}
