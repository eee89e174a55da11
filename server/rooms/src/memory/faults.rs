//! A disk with faults, for tests: what [`super::MemoryStore`] keeps is what was flushed.
//!
//! Appends take a while, fail before or after they were written, and find the disk full; a kill ends everything at a moment of
//! its own, and what was not flushed by then is gone. All of it follows from a seed, so a failing plan can be run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{OrganisationId, PrincipalId, RoomId};
use buildspaces_policy::Principal;
use buildspaces_policy::revocation::Revocation;
use bytes::Bytes;

use super::MemoryStore;
use crate::BlobHash;
use crate::ports::{
    About, BlobStore, Deletion, Draft, Entry, HistoryStore, KindChange, LogRecord, NamedVersion, Record, RoomRecord,
    Store, StoreError, StoredDocument, TreeChange,
};
use crate::tree::Node;

/// Of a thousand appends, how many fail before anything was written.
const FAIL: u64 = 20;

/// How many are flushed and fail nevertheless: the caller cannot know.
const FAIL_AFTER: u64 = 20;

/// The longest an append takes, in milliseconds.
const LONGEST: u64 = 20;

/// See the module. It is one life of a process; [`FaultStore::over`] begins the next on the same disk.
#[derive(Debug)]
pub struct FaultStore {
    disk: Arc<MemoryStore>,
    random: AtomicU64,
    is_calm: bool,
    /// How long each append takes on a calm disk.
    pause: Duration,
    is_dead: AtomicBool,
    is_full: AtomicBool,
}

impl FaultStore {
    /// A new process on what is flushed.
    pub fn over(disk: Arc<MemoryStore>, seed: u64) -> Self {
        let (is_dead, is_full) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { disk, random: AtomicU64::new(seed), is_calm: false, pause: Duration::ZERO, is_dead, is_full }
    }

    /// A disk that does what it is asked, at once, until it is told otherwise.
    pub fn without_faults(disk: Arc<MemoryStore>) -> Self {
        Self { is_calm: true, ..Self::over(disk, 0) }
    }

    /// The same, which takes so long for each append, and to load a document.
    pub fn slow(disk: Arc<MemoryStore>, pause: Duration) -> Self {
        Self { pause, ..Self::without_faults(disk) }
    }

    /// From now on nothing reaches the disk: `kill -9`.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    /// The disk is full, or has space again.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    fn random(&self, below: u64) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.is_dead.load(Ordering::SeqCst) { Err(StoreError::failed("the process was killed")) } else { Ok(()) }
    }

    /// Alive, and with space.
    fn writable(&self) -> Result<(), StoreError> {
        self.alive()?;
        if self.is_full.load(Ordering::SeqCst) { Err(StoreError::Full("told to be full".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError> {
        let pause = if self.is_calm { self.pause } else { Duration::from_millis(self.random(LONGEST)) };
        tokio::time::sleep(pause).await;
        self.alive()?;
        self.disk.load(document).await
    }

    async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        let (before, after, fate) = match self.is_calm {
            true => (self.pause, 0, 999),
            false => (Duration::from_millis(self.random(LONGEST)), self.random(LONGEST), self.random(1000)),
        };
        tokio::time::sleep(before).await;
        self.writable()?;
        if fate < FAIL {
            return Err(StoreError::failed("told to fail"));
        }
        self.disk.append(document, records).await?;
        // Flushed; the kill may come before anybody hears of it.
        tokio::time::sleep(Duration::from_millis(after)).await;
        self.alive()?;
        if fate < FAIL + FAIL_AFTER { Err(StoreError::failed("told to fail after all")) } else { Ok(()) }
    }

    async fn save_snapshot(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.save_snapshot(document, seq, state).await
    }

    async fn create_room(&self, room: &RoomRecord, tree: TreeChange) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.create_room(room, tree).await
    }

    async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        self.disk.room(room).await
    }

    async fn rooms_of(&self, organisation: &OrganisationId) -> Result<Vec<RoomId>, StoreError> {
        self.disk.rooms_of(organisation).await
    }

    async fn change_kind(&self, room: &RoomId, change: &KindChange) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.change_kind(room, change).await
    }

    async fn kind_changes(&self, room: &RoomId) -> Result<Vec<KindChange>, StoreError> {
        self.disk.kind_changes(room).await
    }

    async fn nodes(&self, room: &RoomId) -> Result<Vec<Node>, StoreError> {
        self.disk.nodes(room).await
    }

    async fn change_tree(
        &self,
        room: &RoomId,
        by: &PrincipalId,
        at: UnixMillis,
        change: TreeChange,
    ) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.change_tree(room, by, at, change).await
    }

    async fn create_session(&self, token_hash: [u8; 32], person: &Principal, at: UnixMillis) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.create_session(token_hash, person, at).await
    }

    async fn session(&self, token_hash: [u8; 32]) -> Result<Option<Principal>, StoreError> {
        self.disk.session(token_hash).await
    }

    async fn rename_person(&self, person: &PrincipalId, name: &str) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.rename_person(person, name).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.revoke(revocation).await
    }

    async fn revocations(&self, now: UnixMillis) -> Result<Vec<Revocation>, StoreError> {
        self.disk.revocations(now).await
    }
}

#[async_trait]
impl HistoryStore for FaultStore {
    async fn about(&self, document: &DocumentName) -> Result<Option<About>, StoreError> {
        self.disk.about(document).await
    }

    async fn list(&self, prefix: &str, after: &str, plain: bool, limit: usize) -> Result<Vec<About>, StoreError> {
        self.disk.list(prefix, after, plain, limit).await
    }

    async fn records(&self, document: &DocumentName, after: u64) -> Result<Vec<LogRecord>, StoreError> {
        self.disk.records(document, after).await
    }

    async fn entries(&self, document: &DocumentName, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.disk.entries(document, after, limit).await
    }

    async fn state_before(&self, document: &DocumentName, seq: u64) -> Result<Option<(u64, Bytes)>, StoreError> {
        self.disk.state_before(document, seq).await
    }

    async fn name_version(
        &self,
        document: &DocumentName,
        version: &NamedVersion,
        state: Option<Bytes>,
    ) -> Result<bool, StoreError> {
        self.writable()?;
        self.disk.name_version(document, version, state).await
    }

    async fn last_named_state(&self, document: &DocumentName) -> Result<Option<(u64, u64)>, StoreError> {
        self.disk.last_named_state(document).await
    }

    async fn named_versions(&self, document: &DocumentName) -> Result<Vec<NamedVersion>, StoreError> {
        self.disk.named_versions(document).await
    }

    async fn principals(&self, ids: &[PrincipalId]) -> Result<Vec<Principal>, StoreError> {
        self.disk.principals(ids).await
    }

    async fn remember(&self, principal: &Principal, at: UnixMillis) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.remember(principal, at).await
    }

    async fn merge_records(&self, document: &DocumentName, merged: &LogRecord) -> Result<bool, StoreError> {
        self.writable()?;
        self.disk.merge_records(document, merged).await
    }

    async fn append_records(&self, document: &DocumentName, records: Vec<LogRecord>) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.append_records(document, records).await
    }

    async fn discard(&self, document: &DocumentName) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.discard(document).await
    }

    async fn orphans(&self) -> Result<Vec<DocumentName>, StoreError> {
        self.disk.orphans().await
    }

    async fn bury(&self, document: &DocumentName, deletion: &Deletion) -> Result<bool, StoreError> {
        self.writable()?;
        self.disk.bury(document, deletion).await
    }

    async fn begin_again(&self, document: &DocumentName) -> Result<bool, StoreError> {
        self.writable()?;
        self.disk.begin_again(document).await
    }
}

#[async_trait]
impl BlobStore for FaultStore {
    async fn begin_blob(&self) -> Result<Draft, StoreError> {
        self.writable()?;
        self.disk.begin_blob().await
    }

    async fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.append_blob(draft, at, bytes).await
    }

    async fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.finish_blob(draft, hash).await
    }

    async fn discard_draft(&self, draft: Draft) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.discard_draft(draft).await
    }

    async fn has_blob(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        self.disk.has_blob(hash).await
    }

    async fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, StoreError> {
        self.disk.blob_piece(hash, from).await
    }

    async fn release_blob(&self, hash: &BlobHash) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.release_blob(hash).await
    }

    async fn sweep_blobs(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.disk.sweep_blobs().await
    }
}
