//! Blobs in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Inner, MemoryStore};
use crate::BlobHash;
use crate::ports::{BlobStore, Draft, StoreError};

/// By where each begins.
type Pieces = BTreeMap<u64, Bytes>;

#[derive(Debug, Default)]
pub(super) struct Blobs {
    next: i64,
    drafts: HashMap<Draft, Pieces>,
    whole: HashMap<BlobHash, Pieces>,
}

impl Blobs {
    /// An error if one of them is not there.
    pub(super) fn check(&self, mut named: impl Iterator<Item = BlobHash>) -> Result<(), StoreError> {
        match named.find(|hash| !self.whole.contains_key(hash)) {
            Some(hash) => Err(StoreError::failed(format!("there is no blob {hash}"))),
            None => Ok(()),
        }
    }

    fn draft(&mut self, draft: Draft) -> Result<&mut Pieces, StoreError> {
        self.drafts.get_mut(&draft).ok_or_else(|| StoreError::failed("there is no such draft"))
    }
}

impl Inner {
    pub(super) fn named_blobs(&self) -> HashSet<BlobHash> {
        self.rooms.values().flat_map(|(_, nodes)| nodes.values()).filter_map(|node| node.blob).collect()
    }

    /// Forgets those of `once_named` that are named no more.
    pub(super) fn release_blobs(&mut self, once_named: &HashSet<BlobHash>) {
        let named = self.named_blobs();
        self.blobs.whole.retain(|hash, _| named.contains(hash) || !once_named.contains(hash));
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn begin_blob(&self) -> Result<Draft, StoreError> {
        let blobs = &mut self.lock().blobs;
        blobs.next += 1;
        let draft = Draft(blobs.next);
        blobs.drafts.insert(draft, Pieces::new());
        Ok(draft)
    }

    async fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.lock().blobs.draft(draft)?.insert(at, bytes);
        Ok(())
    }

    async fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), StoreError> {
        let blobs = &mut self.lock().blobs;
        let pieces = std::mem::take(blobs.draft(draft)?);
        blobs.drafts.remove(&draft);
        blobs.whole.entry(*hash).or_insert(pieces);
        Ok(())
    }

    async fn discard_draft(&self, draft: Draft) -> Result<(), StoreError> {
        self.lock().blobs.drafts.remove(&draft);
        Ok(())
    }

    async fn has_blob(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        Ok(self.lock().blobs.whole.contains_key(hash))
    }

    async fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, StoreError> {
        let inner = self.lock();
        Ok(inner.blobs.whole.get(hash).and_then(|pieces| pieces.get(&from)).cloned().unwrap_or_default())
    }

    async fn release_blob(&self, hash: &BlobHash) -> Result<(), StoreError> {
        self.lock().release_blobs(&HashSet::from([*hash]));
        Ok(())
    }

    async fn sweep_blobs(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.blobs.drafts.clear();
        let all = inner.blobs.whole.keys().copied().collect();
        inner.release_blobs(&all);
        Ok(())
    }
}
