//! The bytes of files that are no documents, as they come.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Error, broken};
use crate::ports::{Draft, MAX_PIECE, Store};
use crate::{BlobHash, Error as RoomError};

/// What of an archive's blobs is stored.
#[derive(Default)]
pub(super) struct Blobs {
    /// Those that are whole.
    pub(super) whole: BTreeSet<BlobHash>,
    present: Option<Blob>,
    bytes: u64,
}

/// The blob that is being read.
struct Blob {
    hash: BlobHash,
    draft: Draft,
    parts: u64,
    bytes: u64,
    hasher: Sha256,
}

impl Blobs {
    /// Takes the file at `path` of the archive. `is_named`: some node has that blob. All of them together have at most `most` bytes.
    pub(super) async fn take(
        &mut self,
        store: &dyn Store,
        path: &str,
        content: Bytes,
        is_named: impl Fn(&BlobHash) -> bool,
        most: u64,
    ) -> Result<(), Error> {
        let misplaced = || broken(format!("{path:?} does not belong here"));
        let (hash, part) = path.strip_prefix("blobs/").and_then(|rest| rest.split_once('/')).ok_or_else(misplaced)?;
        let hash = BlobHash::parse(hash).ok_or_else(misplaced)?;
        if self.present.as_ref().is_none_or(|blob| blob.hash != hash) {
            self.end(store).await?;
            if !is_named(&hash) || self.whole.last().is_some_and(|last| *last >= hash) {
                return Err(misplaced());
            }
            let draft = store.begin_blob().await?;
            self.present = Some(Blob { hash, draft, parts: 0, bytes: 0, hasher: Sha256::new() });
        }
        let Some(blob) = &mut self.present else { return Err(misplaced()) };
        blob.parts += 1;
        if part != format!("{}.part", blob.parts) || content.is_empty() {
            return Err(misplaced());
        }
        self.bytes += content.len() as u64;
        if self.bytes > most {
            let mib = most >> 20;
            let message = format!(
                "its files that are no texts have more than a room may keep here, which is {mib} MiB; raise max_kept_mib to import it"
            );
            return Err(broken(message));
        }
        blob.hasher.update(&content);
        for start in (0..content.len()).step_by(MAX_PIECE) {
            let piece = content.slice(start..content.len().min(start + MAX_PIECE));
            let at = blob.bytes;
            blob.bytes += piece.len() as u64;
            store.append_blob(blob.draft, at, piece).await?;
        }
        Ok(())
    }

    /// The blob that was read last has ended.
    pub(super) async fn end(&mut self, store: &dyn Store) -> Result<(), Error> {
        let Some(Blob { hash, draft, hasher, .. }) = self.present.take() else { return Ok(()) };
        let found: [u8; 32] = hasher.finalize().into();
        if BlobHash::from(found) != hash {
            store.discard_draft(draft).await?;
            return Err(broken(format!("the bytes of {hash} are others")));
        }
        store.finish_blob(draft, &hash).await?;
        self.whole.insert(hash);
        Ok(())
    }

    /// Removes what was stored. What cannot be removed now is at the next start.
    pub(super) async fn abandon(&mut self, store: &dyn Store) {
        let discarded = match self.present.take() {
            Some(blob) => store.discard_draft(blob.draft).await,
            None => Ok(()),
        };
        let mut failed = discarded.err();
        for hash in std::mem::take(&mut self.whole) {
            failed = store.release_blob(&hash).await.err().or(failed);
        }
        if let Some(error) = failed.map(RoomError::from) {
            tracing::warn!(%error, "bytes of files of a failed import were left behind");
        }
    }
}
