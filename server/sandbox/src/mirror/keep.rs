//! From the workspace into the store: the bytes of files that are no documents.
//!
//! The workspace has them, and the store has those that a file had when it was left alone last. So they outlive the workspace's folder:
//! `arrange` makes the file again from what the store has. A program that writes a large file all the time does not fill the store: the
//! larger a file is, the longer it must be left alone.
//!
//! It works beside the mirror's own thread, which waits for none of it, on files that the mirror has seen: [`Holding`]s. It changes nothing
//! in the workspace. Start with [`Keeper::keep`].

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::NodeId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::BlobHash;
use buildspaces_rooms::ports::{Draft, MAX_PIECE};
use buildspaces_rooms::tree::{Node, NodeKind, TreeCommand};
use bytes::Bytes;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::Error;
use super::absorb::is_refusal;
use super::disk::{self, Disk, Stamp};
use super::ports::LiveRoom;

/// How long a file must be left alone before it is kept, and one second more for so many bytes.
const QUIET: Duration = Duration::from_secs(2);
const BYTES_A_SECOND: u64 = 4 << 20;

/// When a file is tried again that could not be kept, or that changed meanwhile.
const RETRY: Duration = Duration::from_secs(5);

/// A file that is no document, as the mirror saw it last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Holding {
    pub(super) id: NodeId,
    pub(super) path: String,
    pub(super) stamp: Stamp,
}

/// What became of an attempt to keep a file.
enum Outcome {
    Done,
    /// It is tried again when the room's files have changed.
    NoSpace,
    /// Another look must tell first what it is now.
    Later,
}

/// Keeps the files of one workspace.
pub(super) struct Keeper {
    room: Arc<dyn LiveRoom>,
    disk: Arc<Disk>,
    /// Of which bytes of each file the store is known to have a copy.
    kept: HashMap<NodeId, Stamp>,
}

/// Keeps files until nobody says any more which there are.
pub(super) async fn run(mut keeper: Keeper, mut holdings: watch::Receiver<Vec<Holding>>, tasks: Tasks) {
    loop {
        let present = holdings.borrow_and_update().clone();
        let work = move || {
            let next = keeper.keep(&present, disk::now());
            (keeper, next)
        };
        let Ok((back, next)) = tokio::task::spawn_blocking(work).await else { return };
        keeper = back;
        tokio::select! {
            () = tasks.cancelled() => return,
            changed = holdings.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => {}
        }
    }
}

impl Keeper {
    pub(super) fn new(room: Arc<dyn LiveRoom>, disk: Arc<Disk>) -> Self {
        Self { room, disk, kept: HashMap::new() }
    }

    /// Keeps those that were left alone for long enough. Returns when to look again; `None` if all are kept that can be.
    pub(super) fn keep(&mut self, holdings: &[Holding], now: i128) -> Option<Duration> {
        let present: HashSet<&NodeId> = holdings.iter().map(|holding| &holding.id).collect();
        self.kept.retain(|id, _| present.contains(id));
        let mut next: Option<Duration> = None;
        let mut again = |wait: Duration| next = Some(next.map_or(wait, |next| next.min(wait)));
        let mut tree = None;
        for holding in holdings {
            if self.kept.get(&holding.id).is_some_and(|stamp| stamp.same_bytes(&holding.stamp)) {
                continue;
            }
            let quiet = QUIET + Duration::from_secs(holding.stamp.size / BYTES_A_SECOND);
            let wait = holding.stamp.rests_in(quiet, now);
            if !wait.is_zero() {
                again(wait);
                continue;
            }
            let (tree, used) = tree.get_or_insert_with(|| {
                let tree = self.room.tree();
                let used = tree.values().filter(|node| node.blob.is_some()).map(|node| node.size).sum::<u64>();
                (tree, used)
            });
            let is_file = |kind| matches!(kind, NodeKind::Binary | NodeKind::Large);
            let Some(node) = tree.get(&holding.id).filter(|node| is_file(node.kind)) else { continue };
            let others = used.saturating_sub(node.blob.map_or(0, |_| node.size));
            match self.keep_one(holding, node, others) {
                Ok(Outcome::Done) => {
                    *used = others.saturating_add(holding.stamp.size);
                    self.kept.insert(holding.id.clone(), holding.stamp);
                }
                Ok(Outcome::NoSpace) => {}
                Ok(Outcome::Later) => again(RETRY),
                Err(error) => {
                    tracing::warn!(path = holding.path, %error, "a file cannot be kept beside the workspace now");
                    again(RETRY);
                }
            }
        }
        next
    }

    /// `others`: so many bytes are kept of the room's other files.
    fn keep_one(&self, holding: &Holding, node: &Node, others: u64) -> Result<Outcome, Error> {
        let size = holding.stamp.size;
        if others.saturating_add(size) > self.room.max_kept() {
            if !node.unkept {
                tracing::info!(path = holding.path, size, "a room has no space to keep a file beside its workspace");
                self.tell(&holding.id, None)?;
            }
            return Ok(Outcome::NoSpace);
        }
        let Some((mut file, hash)) = self.read(holding)? else { return Ok(Outcome::Later) };
        if node.blob == Some(hash) && node.size == size {
            return Ok(Outcome::Done);
        }
        if !self.room.has_blob(&hash)? {
            let draft = self.room.begin_blob()?;
            if !matches!(self.copy(&mut file, size, draft), Ok(copied) if copied == hash) {
                self.room.discard_draft(draft)?;
                return Ok(Outcome::Later);
            }
            self.room.finish_blob(draft, &hash)?;
        }
        if self.tell(&holding.id, Some((hash, size)))? {
            return Ok(Outcome::Done);
        }
        self.room.release_blob(&hash)?;
        Ok(Outcome::Later)
    }

    /// The file and the hash of its bytes; `None` if it is not, or not any more, as the mirror saw it.
    fn read(&self, holding: &Holding) -> Result<Option<(File, BlobHash)>, Error> {
        let opened = {
            let _stay = self.disk.stay();
            self.disk.open_file(&holding.path)
        };
        let (mut file, stamp) = match opened {
            Ok(Some((file, stamp))) if stamp.same_bytes(&holding.stamp) => (file, stamp),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let hash = hash_of(&mut file, stamp.size)?;
        Ok(disk::look_again(&file)?.same_bytes(&holding.stamp).then_some((file, hash)))
    }

    fn copy(&self, file: &mut File, size: u64, draft: Draft) -> Result<BlobHash, Error> {
        file.rewind().map_err(|e| errno(&e))?;
        each_piece(file, size, |at, bytes| Ok(self.room.append_blob(draft, at, Bytes::copy_from_slice(bytes))?))
    }

    /// False if the node is gone or something else meanwhile.
    fn tell(&self, id: &NodeId, kept: Option<(BlobHash, u64)>) -> Result<bool, Error> {
        match self.room.command(vec![TreeCommand::Keep { id: id.clone(), kept }]).pop() {
            Some(Ok(_)) => Ok(true),
            Some(Err(e)) if !is_refusal(&e) => Err(e.into()),
            _ => Ok(false),
        }
    }
}

/// The hash of all bytes of a file that was just opened and had `size` bytes then.
pub(super) fn hash_of(file: &mut File, size: u64) -> Result<BlobHash, Error> {
    each_piece(file, size, |_, _| Ok(()))
}

/// Reads a file to its end, but no further than a byte more than it had: a program may be writing faster than this reads. The hash of what was
/// read.
fn each_piece(
    file: &mut File,
    size: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<BlobHash, Error> {
    let (mut hasher, mut at) = (Sha256::new(), 0);
    let mut file = file.take(size.saturating_add(1));
    let mut piece = Vec::with_capacity(MAX_PIECE);
    loop {
        piece.clear();
        file.by_ref().take(MAX_PIECE as u64).read_to_end(&mut piece).map_err(|e| errno(&e))?;
        if piece.is_empty() {
            let hash: [u8; 32] = hasher.finalize().into();
            return Ok(hash.into());
        }
        hasher.update(&piece);
        take(at, &piece)?;
        at += piece.len() as u64;
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
