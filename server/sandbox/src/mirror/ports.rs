//! What the mirror needs of a live room, so that it can be run against one in memory.
//!
//! The calls block until the room has answered: the mirror's work is on blocking threads, as most of
//! it waits for the disk. They take many items at once, so that the room's store can commit them together.

use std::collections::BTreeMap;
use std::time::Duration;

use buildspaces_kernel::ids::NodeId;
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::ports::Draft;
use buildspaces_rooms::tree::{Node, TreeCommand};
use buildspaces_rooms::{BlobHash, Error, RoomEvent, RoomHandle};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

/// How many items of one call are under way at once. The others wait.
const CONCURRENCY: usize = 64;

/// How often, and after which pause, a document that is unloading is asked again. A server that is
/// stopping answers the same, so this ends.
const UNLOADING_TRIES: usize = 50;
const UNLOADING_PAUSE: Duration = Duration::from_millis(2);

/// The nodes of a tree by id.
pub(super) type Tree = BTreeMap<NodeId, Node>;

/// One room. Must not be called from an async task.
pub(super) trait LiveRoom: Send + Sync + 'static {
    /// What the room is and whose, now and later. It waits for nothing.
    fn tenancy(&self) -> watch::Receiver<Tenancy>;
    fn tree(&self) -> Tree;
    /// Changes from now on. An event comes no later than the answer to the call that caused it.
    fn events(&self) -> broadcast::Receiver<RoomEvent>;
    /// For each document what a replica with that state vector lacks.
    fn diffs(&self, wanted: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<Vec<u8>, Error>>;
    /// Applies updates of the file system; durable when it returns.
    fn apply(&self, updates: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<(), Error>>;
    /// Does commands of the file system, in any order; durable when it returns.
    fn command(&self, commands: Vec<TreeCommand>) -> Vec<Result<Vec<Node>, Error>>;
    /// Most bytes that are kept of the room's files that are no documents.
    fn max_kept(&self) -> u64;
    // The rest is as in `rooms::ports::BlobStore`.
    fn begin_blob(&self) -> Result<Draft, Error>;
    fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), Error>;
    fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), Error>;
    fn discard_draft(&self, draft: Draft) -> Result<(), Error>;
    fn has_blob(&self, hash: &BlobHash) -> Result<bool, Error>;
    fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, Error>;
    fn release_blob(&self, hash: &BlobHash) -> Result<(), Error>;
}

/// The room of this process.
pub(super) struct Live {
    room: RoomHandle,
    runtime: Handle,
}

impl Live {
    /// Must be called within a runtime.
    pub(super) fn new(room: RoomHandle) -> Self {
        Self { room, runtime: Handle::current() }
    }
}

impl LiveRoom for Live {
    fn tenancy(&self) -> watch::Receiver<Tenancy> {
        self.room.tenancy()
    }

    fn tree(&self) -> Tree {
        self.room.tree().nodes().map(|node| (node.id.clone(), node.clone())).collect()
    }

    fn events(&self) -> broadcast::Receiver<RoomEvent> {
        self.room.events()
    }

    fn diffs(&self, wanted: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<Vec<u8>, Error>> {
        let one = |(node, state): (NodeId, Vec<u8>)| {
            patiently(move || {
                let (node, state) = (node.clone(), state.clone());
                async move { self.room.file(&node).await?.diff(state).await }
            })
        };
        self.runtime.block_on(stream::iter(wanted).map(one).buffered(CONCURRENCY).collect())
    }

    fn apply(&self, updates: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<(), Error>> {
        let by = &Principal::file_system();
        let one = |(node, update): (NodeId, Vec<u8>)| {
            patiently(move || {
                let (node, update) = (node.clone(), update.clone());
                async move { self.room.file(&node).await?.apply_own(by, update).await }
            })
        };
        self.runtime.block_on(stream::iter(updates).map(one).buffered(CONCURRENCY).collect())
    }

    fn command(&self, commands: Vec<TreeCommand>) -> Vec<Result<Vec<Node>, Error>> {
        let by = Principal::file_system();
        self.runtime.block_on(
            stream::iter(commands)
                .map(|command| {
                    let by = &by;
                    async move { self.room.command(by, command).await }
                })
                .buffered(CONCURRENCY)
                .collect(),
        )
    }

    fn max_kept(&self) -> u64 {
        self.room.max_kept_bytes()
    }

    fn begin_blob(&self) -> Result<Draft, Error> {
        Ok(self.runtime.block_on(self.room.blobs().begin_blob())?)
    }

    fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.room.blobs().append_blob(draft, at, bytes))?)
    }

    fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.room.blobs().finish_blob(draft, hash))?)
    }

    fn discard_draft(&self, draft: Draft) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.room.blobs().discard_draft(draft))?)
    }

    fn has_blob(&self, hash: &BlobHash) -> Result<bool, Error> {
        Ok(self.runtime.block_on(self.room.blobs().has_blob(hash))?)
    }

    fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, Error> {
        Ok(self.runtime.block_on(self.room.blobs().blob_piece(hash, from))?)
    }

    fn release_blob(&self, hash: &BlobHash) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.room.blobs().release_blob(hash))?)
    }
}

/// A document may be unloading just when it is asked: then it is asked again, which loads it.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> Result<T, Error> {
    for _ in 0..UNLOADING_TRIES {
        match ask().await {
            Err(Error::Closed) => tokio::time::sleep(UNLOADING_PAUSE).await,
            Err(Error::NoSuchDocument(_)) => return Err(Error::NoSuchNode),
            result => return result,
        }
    }
    Err(Error::Closed)
}
