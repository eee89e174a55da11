//! From the room's tree into the workspace: folders made, files and folders moved and removed.
//!
//! What the tree does not know is never removed: it is set aside where its name is wanted, and it
//! keeps its folder. It writes no text (that is `flush`), but files that are no documents, from what the store keeps of them.
//!
//! Start with [`Core::arrange`].

use std::collections::BTreeSet;

use buildspaces_kernel::ids::NodeId;
use buildspaces_rooms::BlobHash;
use buildspaces_rooms::tree::{MAX_TEXT_BYTES, Node, NodeKind, TreeCommand};
use bytes::Bytes;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::Error;
use super::absorb::is_refusal;
use super::core::{Core, Known, KnownText, Scope, Seen, hash};
use super::disk::{Content, Placed, Prepared};
use super::ignore::PARKED;
use super::keep;
use super::ports::Tree;

/// How an attempt to bring a folder or file to its place ended.
enum Step {
    Done,
    /// Something known stands there, or its folder is not made yet.
    Blocked,
    /// The workspace changed under it; a scan must tell what happened.
    Overtaken,
}

impl Core {
    /// Makes the workspace's folders and names those of the tree.
    pub(super) fn arrange(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.tree_dirty) {
            return Ok(());
        }
        if !self.refused.is_empty() {
            self.refused.clear();
            self.rescan = Scope::Everything;
        }
        let arranged = self.arrange_as(&self.room.tree());
        self.tree_dirty |= arranged.is_err();
        arranged
    }

    fn arrange_as(&mut self, tree: &Tree) -> Result<(), Error> {
        let deleted: Vec<NodeId> = self.known.keys().filter(|id| !tree.contains_key(*id)).cloned().collect();
        for id in &deleted {
            if self.known[id].kind != NodeKind::Folder {
                self.remove_file(id)?;
            }
        }
        self.follow_kinds(tree);
        self.move_all(tree)?;
        self.expect_new_files(tree)?;
        let mut folders: Vec<(usize, NodeId)> = deleted
            .into_iter()
            .filter(|id| self.known.contains_key(id))
            .map(|id| (self.path(&id).map_or(0, |path| path.matches('/').count()), id))
            .collect();
        folders.sort();
        for (_, id) in folders.into_iter().rev() {
            self.remove_folder(&id)?;
        }
        Ok(())
    }

    /// Removes a deleted node's file if it is what was mirrored; otherwise a program wrote to it since, and it
    /// comes back as a new node.
    fn remove_file(&mut self, id: &NodeId) -> Result<(), Error> {
        let known = &self.known[id];
        if let (Some(seen), Some(path)) = (known.seen, self.path(id)) {
            let same = match &known.text {
                Some(text) => match self.disk.read(&path, seen.stamp.size.clamp(MAX_TEXT_BYTES, u64::MAX - 1))? {
                    Content::Bytes { bytes, .. } => text.hash == Some(hash(&bytes)) && text.sent,
                    Content::TooLarge(_) => false,
                    Content::Gone => {
                        self.rescan.add(known.parent.clone());
                        self.forget(id);
                        return Ok(());
                    }
                },
                None => self.disk.stat(&path)?.is_some_and(|stamp| stamp.same_bytes(&seen.stamp)),
            };
            if same {
                match self.disk.remove_file(&path) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e.into()),
                }
            } else {
                self.rescan = Scope::Everything;
            }
        }
        self.forget(id);
        Ok(())
    }

    /// Removes a deleted node's folder. It stays if there is something in it that the tree does not know.
    fn remove_folder(&mut self, id: &NodeId) -> Result<(), Error> {
        if let Some(path) = self.path(id)
            && self.known[id].seen.is_some()
        {
            match self.disk.remove_dir(&path) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    if let Some(parked) = path.strip_prefix(PARKED) {
                        self.disk.rename(&path, &format!("left-{parked}"))?;
                    }
                    self.rescan = Scope::Everything;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.forget(id);
        Ok(())
    }

    /// A node's kind changes by this mirror only; where the two differ a crash fell between the room's
    /// answer and the note of it.
    fn follow_kinds(&mut self, tree: &Tree) {
        let changed: Vec<&Node> = tree
            .values()
            .filter(|node| self.known.get(&node.id).is_some_and(|known| known.kind != node.kind))
            .collect();
        for node in changed {
            self.rescan = Scope::Everything;
            if node.kind == NodeKind::Text {
                self.forget(&node.id);
            } else if let Some(known) = self.known.get_mut(&node.id) {
                known.kind = node.kind;
                known.text = None;
                self.unsent.remove(&node.id);
                self.dirty.remove(&node.id);
                let seen = self.known[&node.id].seen;
                self.set_seen(&node.id, seen.map(|seen| Seen { settled: false, ..seen }));
            }
        }
    }

    /// Makes new folders and moves what has another place now, in an order that works.
    fn move_all(&mut self, tree: &Tree) -> Result<(), Error> {
        let mut pending: BTreeSet<NodeId> = BTreeSet::new();
        for node in tree.values() {
            match self.known.get(&node.id) {
                Some(known) => {
                    let moved = (&known.parent, &known.name) != (&node.parent, &node.name);
                    if known.seen.is_none() && moved {
                        self.relocate(&node.id, node.parent.clone(), node.name.clone());
                    }
                    let known = &self.known[&node.id];
                    if (known.seen.is_some() && moved) || (known.seen.is_none() && node.kind == NodeKind::Folder) {
                        pending.insert(node.id.clone());
                    }
                }
                None if node.kind == NodeKind::Folder => {
                    pending.insert(node.id.clone());
                }
                None => {}
            }
        }
        while !pending.is_empty() {
            let mut progress = false;
            let mut overtaken = false;
            for id in pending.clone() {
                let node = &tree[&id];
                match self.bring(node, &pending)? {
                    Step::Done => {
                        pending.remove(&id);
                        progress = true;
                    }
                    Step::Blocked => {}
                    Step::Overtaken => overtaken = true,
                }
            }
            if progress {
                continue;
            }
            if overtaken {
                self.rescan = Scope::Everything;
                self.tree_dirty = true;
                break;
            }
            if !self.park_one(tree, &pending)? {
                self.tree_dirty = true;
                break;
            }
        }
        Ok(())
    }

    /// Tries to bring one folder or file to its place.
    fn bring(&mut self, node: &Node, pending: &BTreeSet<NodeId>) -> Result<Step, Error> {
        if node.parent.as_ref().is_some_and(|above| self.known.get(above).is_none_or(|known| known.seen.is_none())) {
            return Ok(Step::Blocked);
        }
        let Some(to) = self.path_in(node.parent.as_ref(), &node.name) else { return Ok(Step::Blocked) };
        let there = self.node_in(node.parent.as_ref(), &node.name).filter(|there| **there != node.id).cloned();
        let from = self.known.get(&node.id).filter(|known| known.seen.is_some()).and_then(|_| self.path(&node.id));
        let Some(from) = from else {
            return if there.is_some() { Ok(Step::Blocked) } else { self.make_folder(node, &to) };
        };
        if from == to {
            self.relocate(&node.id, node.parent.clone(), node.name.clone());
            self.save(&node.id)?;
            return Ok(Step::Done);
        }
        if let Some(there) = there {
            if !pending.contains(&there) {
                return Ok(Step::Blocked);
            }
            return match self.disk.exchange(&from, &to) {
                Ok(()) => {
                    let old = (self.known[&node.id].parent.clone(), self.known[&node.id].name.clone());
                    self.relocate(&node.id, node.parent.clone(), node.name.clone());
                    self.relocate(&there, old.0, old.1);
                    // The first relocation put both under one name for a moment.
                    let seen = self.known[&node.id].seen;
                    self.set_seen(&node.id, seen);
                    self.save(&node.id)?;
                    self.save(&there)?;
                    Ok(Step::Done)
                }
                Err(Errno::NOENT) => Ok(Step::Overtaken),
                Err(_) => Ok(Step::Blocked),
            };
        }
        loop {
            match self.disk.rename(&from, &to) {
                Ok(()) => break,
                Err(Errno::EXIST) => self.set_aside(&to)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Step::Overtaken),
                Err(Errno::INVAL) => return Ok(Step::Blocked),
                Err(e) => return Err(e.into()),
            }
        }
        self.relocate(&node.id, node.parent.clone(), node.name.clone());
        self.save(&node.id)?;
        Ok(Step::Done)
    }

    fn make_folder(&mut self, node: &Node, path: &str) -> Result<Step, Error> {
        let stamp = loop {
            match self.disk.make_dir(path) {
                Ok(stamp) => break stamp,
                Err(Errno::EXIST) => match self.disk.stat(path)? {
                    // What is in it is not known yet.
                    Some(stamp) if stamp.is_dir => {
                        self.rescan = Scope::Everything;
                        break stamp;
                    }
                    _ => self.set_aside(path)?,
                },
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Step::Overtaken),
                Err(e) => return Err(e.into()),
            }
        };
        let seen = Some(Seen { stamp, settled: true });
        if self.known.contains_key(&node.id) {
            self.set_seen(&node.id, seen);
        } else {
            let (parent, name) = (node.parent.clone(), node.name.clone());
            self.insert(
                node.id.clone(),
                Known { parent, name, kind: NodeKind::Folder, seen, trusted: true, text: None },
            );
        }
        self.save(&node.id)?;
        Ok(Step::Done)
    }

    /// Nothing moves any more: takes one thing that stands in another's way out of it, under a name that
    /// is its own until its turn comes. False if nothing stands in the way.
    fn park_one(&mut self, tree: &Tree, pending: &BTreeSet<NodeId>) -> Result<bool, Error> {
        for id in pending {
            let node = &tree[id];
            let blocker = self
                .node_in(node.parent.as_ref(), &node.name)
                .filter(|there| *there != id)
                .or_else(|| self.known.get(id).filter(|known| known.seen.is_some()).map(|_| id))
                .cloned();
            let Some(blocker) = blocker else { continue };
            let name = format!("{PARKED}{blocker}");
            let Some(from) = self.path(&blocker) else { continue };
            if from == name {
                continue;
            }
            match self.disk.rename(&from, &name) {
                Ok(()) => {
                    self.relocate(&blocker, None, name);
                    self.save(&blocker)?;
                    return Ok(true);
                }
                Err(Errno::NOENT) => self.rescan = Scope::Everything,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(false)
    }

    /// Takes note of files that the tree has and the mirror does not know; `flush` writes the texts. Makes those again that are no texts.
    fn expect_new_files(&mut self, tree: &Tree) -> Result<(), Error> {
        let is_missing = |node: &&Node| match (node.kind, self.known.get(&node.id)) {
            (NodeKind::Folder, _) => false,
            (_, None) => true,
            (NodeKind::Text, Some(_)) => false,
            (_, Some(known)) => known.seen.is_none(),
        };
        let new: Vec<&Node> = tree.values().filter(is_missing).collect();
        for node in new {
            let (parent, name) = (node.parent.clone(), node.name.clone());
            if node.kind == NodeKind::Text {
                let text = Some(KnownText::empty());
                let known = Known { parent, name, kind: node.kind, seen: None, trusted: true, text };
                self.insert(node.id.clone(), known);
                continue;
            }
            let Some(path) = self.path_in(parent.as_ref(), &name) else { continue };
            match self.disk.stat(&path)?.filter(|stamp| !stamp.is_dir) {
                Some(stamp) if self.node_in(parent.as_ref(), &name).is_none() && self.is_of(node, &path)? => {
                    let seen = Some(Seen { stamp, settled: false });
                    let known = Known { parent, name, kind: node.kind, seen, trusted: true, text: None };
                    self.insert(node.id.clone(), known);
                    self.save(&node.id)?;
                }
                _ if node.blob.is_some() => {
                    if let Err(error) = self.make_file(node, &path) {
                        tracing::warn!(path, %error, "a file of the workspace cannot be made again");
                        self.failing.insert(node.id.clone());
                    }
                }
                // Its bytes were in the workspace alone, and they are gone.
                _ => {
                    let command = TreeCommand::Delete { id: node.id.clone(), rev: None };
                    match self.room.command(vec![command]).pop() {
                        Some(Err(e)) if !is_refusal(&e) => return Err(e.into()),
                        _ => self.tree_dirty = true,
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the file at `path` can be that of a node: the store keeps no other bytes of it.
    fn is_of(&self, node: &Node, path: &str) -> Result<bool, Error> {
        let Some(blob) = node.blob else { return Ok(true) };
        match self.disk.open_file(path) {
            Ok(Some((mut file, stamp))) => Ok(stamp.size == node.size && keep::hash_of(&mut file, stamp.size)? == blob),
            Ok(None) | Err(_) => Ok(false),
        }
    }

    /// Makes the file of a node from the bytes that the store keeps. A file of its name that somebody made meanwhile is set aside.
    fn make_file(&mut self, node: &Node, path: &str) -> Result<(), Error> {
        let Some(blob) = node.blob else { return Ok(()) };
        let folder = node.parent.as_ref().map(|above| self.known.get(above).is_some_and(|above| above.seen.is_some()));
        let is_taken = self.node_in(node.parent.as_ref(), &node.name).is_some_and(|there| *there != node.id);
        if folder == Some(false) || is_taken {
            self.tree_dirty = true;
            return Ok(());
        }
        let prepared = self.fetch(&blob)?;
        let placed = self.place_new(node, path, &prepared);
        if !matches!(placed, Ok(true)) {
            self.disk.remove_leftover(&prepared.name);
        }
        if !placed? {
            self.rescan = Scope::Everything;
            self.tree_dirty = true;
        }
        Ok(())
    }

    /// A file, not yet in the workspace, with the bytes of a blob.
    fn fetch(&self, blob: &BlobHash) -> Result<Prepared, Error> {
        let mut hasher = Sha256::new();
        let prepared = self.disk.prepare_pieces(|at| -> Result<Bytes, Error> {
            let piece = self.room.blob_piece(blob, at)?;
            hasher.update(&piece);
            Ok(piece)
        })?;
        let hash: [u8; 32] = hasher.finalize().into();
        if hash == *blob.as_bytes() {
            return Ok(prepared);
        }
        self.disk.remove_leftover(&prepared.name);
        tracing::error!(%blob, "the store has other bytes than were kept");
        Err(Errno::IO.into())
    }

    /// False if the folder for it went.
    fn place_new(&mut self, node: &Node, path: &str, prepared: &Prepared) -> Result<bool, Error> {
        let stamp = loop {
            match self.disk.place(prepared, path, None) {
                Ok(Placed::Done(stamp)) => break stamp,
                // No node's file.
                Ok(Placed::Changed) => self.set_aside(path)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        };
        let seen = Some(Seen { stamp, settled: false });
        if self.known.contains_key(&node.id) {
            self.set_seen(&node.id, seen);
        } else {
            let (parent, name) = (node.parent.clone(), node.name.clone());
            self.insert(node.id.clone(), Known { parent, name, kind: node.kind, seen, trusted: true, text: None });
        }
        self.save(&node.id)?;
        Ok(true)
    }
}
