//! What the mirror knows of a workspace, and the order in which its parts are brought together.
//!
//! [`Core`] is synchronous and owns everything; it acts only when it is called. `scan` and `absorb`
//! carry the workspace into the room, `arrange` and `flush` the room into the workspace. It does
//! not know when to act (that is `actor`), nor how a path is opened safely (`disk`).
//!
//! Start with [`Core::settle`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use buildspaces_crdt::Replica;
use buildspaces_crdt::replica::Applied;
use buildspaces_kernel::ids::NodeId;
use buildspaces_policy::PrincipalKind;
use buildspaces_rooms::tree::NodeKind;
use buildspaces_rooms::{self as rooms, RoomEvent};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::Error;
use super::disk::{Disk, Stamp};
use super::gitignore::Gitignores;
use super::keep::Holding;
use super::ports::LiveRoom;
use super::state::{Hash, State, States, TextState};

/// How often [`Core::settle`] goes round before it says that the workspace does not come to rest.
const MAX_ROUNDS: usize = 12;

/// Appended to the name of what is set aside: a file of the workspace that stands where the room
/// wants another one, or a text that the workspace replaced by something that is no text.
const ASIDE: &str = "from-disk";
const ASIDE_FROM_ROOM: &str = "from-room";

/// How many documents are fetched whole at once after a restart.
const VERIFY_BATCH: usize = 64;

/// How many names are tried for something that is set aside.
const MAX_ASIDE: usize = 1_000;

/// Which folders are to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// These, without the folders below them that are known. `None` is the root.
    Folders(BTreeSet<Option<NodeId>>),
    Everything,
}

impl Default for Scope {
    fn default() -> Self {
        Self::Folders(BTreeSet::new())
    }
}

impl Scope {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Folders(folders) if folders.is_empty())
    }

    pub(super) fn add(&mut self, folder: Option<NodeId>) {
        if let Self::Folders(folders) = self {
            folders.insert(folder);
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        match other {
            Self::Everything => *self = Self::Everything,
            Self::Folders(folders) => folders.into_iter().for_each(|folder| self.add(folder)),
        }
    }
}

/// What of a workspace is not in the room's tree, so that people can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// Links, pipes, sockets, devices, and names that are not UTF-8, in the folders looked at last.
    pub odd: u64,
    /// Files and folders whose names the tree refuses: too long, or like a sibling's but for case.
    pub refused: u64,
    /// Files and folders above the bound on the tree's size.
    pub above_limit: u64,
    /// Files that could not be written or read; they are tried again.
    pub failing: u64,
}

/// A node as it was last mirrored.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) parent: Option<NodeId>,
    pub(super) name: String,
    pub(super) kind: NodeKind,
    /// The last look at it. `None`: it is not on disk, but should be.
    pub(super) seen: Option<Seen>,
    /// False while nothing proves that what is on disk came from this node (no state file, or the
    /// machine was down): then the document wins.
    pub(super) trusted: bool,
    /// For a text only.
    pub(super) text: Option<KnownText>,
}

/// A look at a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    /// True if an equal stamp later proves equal bytes.
    pub(super) settled: bool,
}

#[derive(Debug)]
pub(super) struct KnownText {
    /// **Invariant:** holds exactly the text whose hash is `hash`.
    pub(super) replica: Replica,
    /// Of the bytes last written to or read from disk. `None`: there is no file, and what the replica holds
    /// is still to be written.
    pub(super) hash: Option<Hash>,
    /// Updates made from the workspace that the document has not acknowledged.
    pub(super) unsent: Vec<Vec<u8>>,
    /// False if there are such updates, or were when an earlier process ended.
    pub(super) sent: bool,
}

impl KnownText {
    pub(super) fn empty() -> Self {
        Self { replica: Replica::new(), hash: None, unsent: Vec::new(), sent: true }
    }
}

/// The mirror of one workspace.
pub(super) struct Core {
    pub(super) disk: Arc<Disk>,
    pub(super) states: States,
    pub(super) room: Arc<dyn LiveRoom>,
    events: broadcast::Receiver<RoomEvent>,
    pub(super) known: BTreeMap<NodeId, Known>,
    /// Every node that is on disk, by folder and name.
    on_disk: HashMap<(Option<NodeId>, String), NodeId>,
    /// Texts whose documents may hold more than their replicas.
    pub(super) dirty: BTreeSet<NodeId>,
    /// Texts from an earlier process, whose replicas may hold what their documents lack.
    unverified: BTreeSet<NodeId>,
    /// Texts with updates that the document has not acknowledged.
    pub(super) unsent: BTreeSet<NodeId>,
    pub(super) tree_dirty: bool,
    /// Folders to look at again.
    pub(super) rescan: Scope,
    /// Paths that the tree refused; asked again when the tree has changed.
    pub(super) refused: HashSet<String>,
    /// Files that could not be written; tried again when somebody says so.
    pub(super) failing: BTreeSet<NodeId>,
    pub(super) left_out: LeftOut,
    pub(super) gitignores: Gitignores,
}

impl Core {
    /// Loads what an earlier process knew. Nothing is compared yet: call [`Core::settle`].
    pub(super) fn open(
        folder: &Path,
        owner: Option<(u32, u32)>,
        boot: &str,
        room: Arc<dyn LiveRoom>,
    ) -> Result<Self, Error> {
        let events = room.events();
        let disk = Arc::new(Disk::open(&folder.join("workspace"), &folder.join("tmp"), owner)?);
        let states = States::open(&folder.join("mirror"), boot)?;
        let mut core = Self {
            disk,
            states,
            room,
            events,
            known: BTreeMap::new(),
            on_disk: HashMap::new(),
            dirty: BTreeSet::new(),
            unverified: BTreeSet::new(),
            unsent: BTreeSet::new(),
            tree_dirty: true,
            rescan: Scope::Everything,
            refused: HashSet::new(),
            failing: BTreeSet::new(),
            left_out: LeftOut::default(),
            gitignores: Gitignores::default(),
        };
        let leftovers: HashMap<String, _> = core.disk.leftovers()?.into_iter().collect();
        for (id, state) in core.states.load()? {
            let write = state.text.as_ref().and_then(|text| text.write.as_ref());
            let waits = write.is_some_and(|write| leftovers.get(&write.tmp) == Some(&write.tmp_identity));
            if let Some(known) = recall(state, waits) {
                if known.text.is_some() {
                    core.unverified.insert(id.clone());
                }
                core.insert(id.clone(), known);
                if waits {
                    // Before the waiting bytes are removed, which would say that they were put in place.
                    core.save(&id)?;
                }
            } else {
                core.states.remove(&id);
            }
        }
        leftovers.keys().for_each(|name| core.disk.remove_leftover(name));
        core.part_doubles();
        Ok(core)
    }

    /// A crash between the notes of two nodes that changed places leaves both at one. Of these one is made again.
    fn part_doubles(&mut self) {
        let is_double = |(id, known): &(&NodeId, &Known)| {
            known.seen.is_some() && self.node_in(known.parent.as_ref(), &known.name) != Some(*id)
        };
        let doubles: Vec<NodeId> = self.known.iter().filter(is_double).map(|(id, _)| id.clone()).collect();
        doubles.iter().for_each(|id| self.write_again(id));
    }

    /// Looks at `scope`, then brings room and workspace together until neither asks for more.
    pub(super) fn settle(&mut self, scope: Scope) -> Result<(), Error> {
        self.rescan.join(scope);
        for _ in 0..MAX_ROUNDS {
            if !self.step()? {
                return Ok(());
            }
        }
        Err(Error::Restless)
    }

    /// One round in both directions. True if there is more to do.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        self.absorb()?;
        self.arrange()?;
        self.flush()?;
        self.hear();
        Ok(!self.rescan.is_empty() || self.tree_dirty || self.dirty.iter().any(|id| self.known.contains_key(id)))
    }

    /// Takes note of what happened in the room.
    pub(super) fn hear(&mut self) {
        loop {
            match self.events.try_recv() {
                // What the file system did is this mirror's own doing.
                Ok(RoomEvent::Edited { by, .. }) if by.kind == PrincipalKind::FileSystem => {}
                Ok(RoomEvent::Edited { node, .. }) => {
                    self.dirty.insert(node);
                }
                Ok(RoomEvent::Tree { .. }) => self.tree_dirty = true,
                Err(TryRecvError::Lagged(_)) => {
                    self.tree_dirty = true;
                    self.dirty.extend(self.known.keys().cloned());
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }

    /// Each text's path and the hash of its bytes, by path.
    pub(super) fn texts(&self) -> Vec<(String, Hash)> {
        let mut texts: Vec<_> = self
            .known
            .iter()
            .filter_map(|(id, known)| {
                known.seen?;
                Some((self.path(id)?, known.text.as_ref()?.hash?))
            })
            .collect();
        texts.sort();
        texts
    }

    /// As [`Core::texts`], or an error if a text could not be written.
    pub(super) fn texts_if_complete(&self) -> Result<Vec<(String, Hash)>, Error> {
        if self.failing.is_empty() { Ok(self.texts()) } else { Err(Error::Incomplete(self.failing.len())) }
    }

    /// What could not be written is to be tried again.
    pub(super) fn try_again(&mut self) {
        let failing = std::mem::take(&mut self.failing);
        self.tree_dirty |= failing.iter().any(|id| self.known.get(id).is_none_or(|known| known.text.is_none()));
        self.dirty.extend(failing);
    }

    /// The files that are no documents.
    pub(super) fn holdings(&self) -> Vec<Holding> {
        self.known
            .iter()
            .filter(|(_, known)| matches!(known.kind, NodeKind::Binary | NodeKind::Large))
            .filter_map(|(id, known)| Some(Holding { id: id.clone(), path: self.path(id)?, stamp: known.seen?.stamp }))
            .collect()
    }

    /// The node's path in the workspace; `None` if a folder above it is not known.
    pub(super) fn path(&self, id: &NodeId) -> Option<String> {
        let known = self.known.get(id)?;
        self.path_in(known.parent.as_ref(), &known.name)
    }

    /// The path of `name` in a known folder.
    pub(super) fn path_in(&self, parent: Option<&NodeId>, name: &str) -> Option<String> {
        let mut names = vec![name];
        let mut at = parent;
        while let Some(id) = at {
            let known = self.known.get(id)?;
            names.push(&known.name);
            at = known.parent.as_ref();
            if names.len() > self.known.len() + 1 {
                return None;
            }
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// Every node that is on disk, by path.
    pub(super) fn paths(&self) -> HashMap<String, NodeId> {
        self.on_disk.values().filter_map(|id| Some((self.path(id)?, id.clone()))).collect()
    }

    /// The node that is on disk under this name.
    pub(super) fn node_in(&self, parent: Option<&NodeId>, name: &str) -> Option<&NodeId> {
        self.on_disk.get(&(parent.cloned(), name.to_owned()))
    }

    pub(super) fn insert(&mut self, id: NodeId, known: Known) {
        if known.seen.is_some() {
            self.on_disk.insert((known.parent.clone(), known.name.clone()), id.clone());
        }
        if let Some(text) = &known.text {
            self.dirty.insert(id.clone());
            if !text.unsent.is_empty() {
                self.unsent.insert(id.clone());
            }
        }
        self.known.insert(id, known);
    }

    /// Forgets a node, in memory and on disk.
    pub(super) fn forget(&mut self, id: &NodeId) {
        self.set_seen(id, None);
        self.known.remove(id);
        self.dirty.remove(id);
        self.unsent.remove(id);
        self.states.remove(id);
    }

    pub(super) fn set_seen(&mut self, id: &NodeId, seen: Option<Seen>) {
        let Some(known) = self.known.get_mut(id) else { return };
        known.seen = seen;
        let place = (known.parent.clone(), known.name.clone());
        if seen.is_some() {
            self.on_disk.insert(place, id.clone());
        } else if self.on_disk.get(&place) == Some(id) {
            self.on_disk.remove(&place);
        }
    }

    /// Takes note that a node is somewhere else now.
    pub(super) fn relocate(&mut self, id: &NodeId, parent: Option<NodeId>, name: String) {
        let Some(known) = self.known.get_mut(id) else { return };
        let old = (known.parent.clone(), known.name.clone());
        if self.on_disk.get(&old) == Some(id) {
            self.on_disk.remove(&old);
        }
        (known.parent, known.name) = (parent, name);
        if known.seen.is_some() {
            self.on_disk.insert((known.parent.clone(), known.name.clone()), id.clone());
        }
    }

    /// Writes down what is known of a node, without a write under way.
    pub(super) fn save(&self, id: &NodeId) -> Result<(), Error> {
        let Some(known) = self.known.get(id) else { return Ok(()) };
        let text = known.text.as_ref().map(|text| TextState {
            base: text.replica.state(),
            base_hash: text.hash,
            write: None,
            sent: text.sent,
        });
        Ok(self.states.save(id, &state_of(known, text))?)
    }

    /// Sends what was made from the workspace. Durable in the room when it returns without error.
    pub(super) fn send(&mut self) -> Result<(), Error> {
        while !self.unsent.is_empty() {
            let first: Vec<(NodeId, Vec<u8>)> = self
                .unsent
                .iter()
                .filter_map(|id| Some((id.clone(), self.known.get(id)?.text.as_ref()?.unsent.first()?.clone())))
                .collect();
            let ids: Vec<NodeId> = first.iter().map(|(id, _)| id.clone()).collect();
            self.unsent.retain(|id| ids.contains(id));
            let mut failed = None;
            for (id, result) in ids.iter().zip(self.room.apply(first)) {
                let Some(text) = self.known.get_mut(id).and_then(|known| known.text.as_mut()) else { continue };
                match result {
                    Ok(()) => {
                        text.unsent.remove(0);
                    }
                    // The node was deleted; what was written into it since stays on disk (see `arrange`).
                    Err(rooms::Error::NoSuchNode) => {
                        self.tree_dirty = true;
                        self.unsent.remove(id);
                        continue;
                    }
                    Err(rooms::Error::InvalidUpdate(reason)) => {
                        tracing::error!(node = %id, reason, "the document refused an edit made from the workspace");
                        text.unsent.remove(0);
                    }
                    Err(e) => {
                        failed = Some(e);
                        continue;
                    }
                }
                if text.unsent.is_empty() {
                    text.sent = true;
                    self.unsent.remove(id);
                }
            }
            if let Some(e) = failed {
                return Err(e.into());
            }
        }
        Ok(())
    }

    /// Compares the replicas of an earlier process with their documents. A document may lack what the
    /// workspace holds: edits that were read from disk but not sent, or typed text that was written but, when the
    /// process died, not yet stored.
    pub(super) fn verify(&mut self) -> Result<(), Error> {
        while !self.unverified.is_empty() {
            let batch: Vec<NodeId> = self.unverified.iter().take(VERIFY_BATCH).cloned().collect();
            let nothing = Replica::new().state_vector();
            let wanted = batch.iter().map(|id| (id.clone(), nothing.clone())).collect();
            for (id, whole) in batch.iter().zip(self.room.diffs(wanted)) {
                let Some(text) = self.known.get_mut(id).and_then(|known| known.text.as_mut()) else { continue };
                let whole = match whole {
                    Ok(whole) => whole,
                    Err(rooms::Error::NoSuchNode) => continue,
                    Err(e) => return Err(e.into()),
                };
                let broken = |e: buildspaces_crdt::replica::Error| Error::Document(e.to_string());
                let mut document = Replica::new();
                document.apply(&whole).map_err(broken)?;
                let lacks = text.replica.diff(&document.state_vector()).map_err(|e| Error::Document(e.to_string()))?;
                text.sent = document.apply(&lacks).map_err(broken)? != Applied::Changed;
                if !text.sent {
                    text.unsent.push(lacks);
                    self.unsent.insert(id.clone());
                }
            }
            batch.iter().for_each(|id| {
                self.unverified.remove(id);
            });
        }
        Ok(())
    }

    /// Renames whatever is at `path` so that the name is free. It is found again as a new file.
    pub(super) fn set_aside(&mut self, path: &str) -> Result<(), Error> {
        for number in 1..MAX_ASIDE {
            let aside = aside_name(path, ASIDE, number);
            match self.disk.rename(path, &aside) {
                Ok(()) => {
                    tracing::info!(path, aside, "a file of the workspace stood where the room has another one");
                    self.rescan = Scope::Everything;
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Writes a text beside `path`, where the workspace now has something that is no text.
    pub(super) fn write_aside(&mut self, path: &str, text: &str) -> Result<(), Error> {
        let prepared = self.disk.prepare(text.as_bytes(), None)?;
        for number in 1..MAX_ASIDE {
            let aside = aside_name(path, ASIDE_FROM_ROOM, number);
            if let super::disk::Placed::Done(_) = self.disk.place(&prepared, &aside, None)? {
                self.rescan = Scope::Everything;
                return Ok(());
            }
        }
        self.disk.remove_leftover(&prepared.name);
        Err(Errno::EXIST.into())
    }
}

/// The state of a node as it is known.
pub(super) fn state_of(known: &Known, text: Option<TextState>) -> State {
    State {
        parent: known.parent.clone(),
        name: known.name.clone(),
        kind: known.kind,
        identity: known.seen.map(|seen| seen.stamp.identity).unwrap_or_default(),
        trusted: true,
        text,
    }
}

pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Turns a state into what is known. `waits`: the bytes of the write under way still wait outside the
/// workspace. `None` if the state is unusable.
fn recall(state: State, waits: bool) -> Option<Known> {
    let mut on_disk = true;
    let text = match state.text {
        None => None,
        Some(text) => {
            let mut replica = Replica::new();
            replica.apply(&text.base).ok()?;
            let mut present = text.base_hash;
            if let Some(write) = &text.write
                && !waits
            {
                replica.apply(&write.pulled).ok()?;
                present = Some(write.hash);
            }
            on_disk = present.is_some();
            Some(KnownText { replica, hash: present, unsent: Vec::new(), sent: text.sent })
        }
    };
    let seen =
        on_disk.then(|| Seen { stamp: Stamp::unknown(state.identity, state.kind == NodeKind::Folder), settled: false });
    Some(Known { parent: state.parent, name: state.name, kind: state.kind, seen, trusted: state.trusted, text })
}

/// Longest name that file systems take, in bytes.
const MAX_NAME: usize = 255;

fn aside_name(path: &str, why: &str, number: usize) -> String {
    let more = if number == 1 { format!(".{why}") } else { format!(".{why}-{number}") };
    let begins = path.rfind('/').map_or(0, |at| at + 1);
    let end = path.floor_char_boundary(path.len().min(begins + MAX_NAME - more.len()));
    format!("{}{more}", &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_has_a_name_that_fits() {
        assert_eq!(aside_name("a/b.txt", ASIDE, 1), "a/b.txt.from-disk");
        assert_eq!(aside_name("b.txt", ASIDE, 2), "b.txt.from-disk-2");
        for name in ["n".repeat(255), "ü".repeat(127)] {
            let aside = aside_name(&format!("{}/{name}", "d".repeat(300)), ASIDE, 999);
            let (folder, aside) = aside.rsplit_once('/').expect("a folder");
            assert_eq!(folder.len(), 300);
            assert!(aside.len() <= 255 && aside.len() > 250 && aside.ends_with(".from-disk-999"), "{aside}");
        }
    }
}
