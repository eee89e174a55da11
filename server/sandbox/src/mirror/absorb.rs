//! From the workspace into the room: what programs created, renamed, deleted and rewrote.
//!
//! A deletion or replacement found on disk takes away only what its author can have seen: a text that
//! people went on editing meanwhile is written again. It does not write files that the room changed
//! (that is `arrange` and `flush`).
//!
//! Start with [`Core::absorb`].

use std::collections::{BTreeMap, HashMap, HashSet};

use buildspaces_crdt::{Replica, text};
use buildspaces_kernel::ids::NodeId;
use buildspaces_rooms as rooms;
use buildspaces_rooms::tree::{MAX_TEXT_BYTES, NodeKind, TreeCommand};

use super::Error;
use super::core::{Core, Known, KnownText, Scope, Seen, hash};
use super::disk::{Content, Identity, Stamp};
use super::ignore::MAX_NODES;
use super::ports::Tree;
use super::scan::{Found, FoundEntry};
use super::state::Hash;

/// How many new or changed files, and how many bytes of them, are held in memory at once.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: usize = 16 << 20;

/// Up to this size a file that is a text already stays one, so that one at the limit does not change
/// its nature back and forth.
const MAX_KEPT_TEXT_BYTES: u64 = 4 * MAX_TEXT_BYTES;

/// Name and folder of every node of the room, to find the node at a place.
type Places = HashMap<(Option<NodeId>, String), NodeId>;

/// What a file is, after a look into it.
enum Looked {
    Text(String, Seen),
    Binary(Seen),
    Large(Seen),
    Gone,
}

/// A file or folder that is to become a node.
struct Newcomer {
    path: String,
    command: TreeCommand,
    seen: Seen,
    text: Option<String>,
}

impl Core {
    /// Looks at the folders that are to be looked at again and takes what is found into the room.
    pub(super) fn absorb(&mut self) -> Result<(), Error> {
        self.hear();
        self.verify()?;
        self.send()?;
        let scope = std::mem::take(&mut self.rescan);
        if scope.is_empty() {
            return Ok(());
        }
        let absorbed = self.absorb_scope(&scope);
        if absorbed.is_err() {
            self.rescan.join(scope);
        }
        absorbed
    }

    fn absorb_scope(&mut self, scope: &Scope) -> Result<(), Error> {
        let found = self.scan(scope)?;
        if *scope == Scope::Everything {
            self.left_out.odd = found.odd;
        }
        // Twice, because a name may be refused only for a node that is about to go.
        for _ in 0..2 {
            let blocked = self.take_in(&found)?;
            let went = self.let_go(&found)?;
            if !(blocked && went) {
                break;
            }
            self.refused.clear();
        }
        self.take_changes(&found)?;
        if found.other_rules {
            self.rescan = Scope::Everything;
        }
        self.send()?;
        if *scope == Scope::Everything {
            self.trust_what_is_there()?;
        }
        Ok(())
    }

    /// After a look at everything, what is on disk is known to come from its node.
    fn trust_what_is_there(&mut self) -> Result<(), Error> {
        let ids: Vec<NodeId> = self
            .known
            .iter()
            .filter(|(_, known)| known.seen.is_some() && !known.trusted)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.trust(&id);
            self.save(&id)?;
        }
        Ok(())
    }

    /// Follows renames and creates nodes for what is new, folders before what is in them. True if a
    /// name was taken.
    fn take_in(&mut self, found: &Found) -> Result<bool, Error> {
        let mut paths = self.paths();
        let mut blocked = false;
        let mut unknown: BTreeMap<usize, Vec<(&String, &FoundEntry)>> = BTreeMap::new();
        for (path, entry) in &found.entries {
            unknown.entry(path.matches('/').count()).or_default().push((path, entry));
        }
        let mut gone = self.gone_by_identity(found, &paths);
        let mut places: Option<Places> = None;
        for level in unknown.into_values() {
            let mut newcomers = Vec::new();
            let mut bytes = 0;
            for (path, entry) in level {
                if let Some(id) = paths.get(path) {
                    blocked |= self.known[id].seen.is_some_and(|seen| seen.stamp.is_dir != entry.stamp.is_dir);
                    continue;
                }
                let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
                let parent = match paths.get(above) {
                    Some(id) if self.known[id].kind == NodeKind::Folder => Some(id.clone()),
                    None if above.is_empty() => None,
                    _ => continue,
                };
                let place = (parent, name.to_owned());
                if let Some(id) = gone.get(&(entry.stamp.identity, entry.stamp.is_dir)).cloned() {
                    let old = self.path(&id);
                    if self.follow(&id, &place, entry)? {
                        if entry.stamp.is_dir {
                            paths = self.paths();
                            gone = self.gone_by_identity(found, &paths);
                        } else {
                            gone.remove(&(entry.stamp.identity, entry.stamp.is_dir));
                            old.map(|old| paths.remove(&old));
                            paths.insert(path.clone(), id);
                        }
                        places = None;
                        continue;
                    }
                }
                if entry.hidden || self.refused.contains(path) {
                    blocked |= self.refused.contains(path);
                    continue;
                }
                let places = places.get_or_insert_with(|| places_of(&self.room.tree()));
                if places.contains_key(&place) {
                    // Somebody made a node of that name: `arrange` decides what becomes of the file,
                    // unless the node is about to go or to move on disk.
                    blocked = true;
                    self.tree_dirty = true;
                    continue;
                }
                if self.known.len() + newcomers.len() >= MAX_NODES {
                    self.left_out.above_limit += 1;
                    continue;
                }
                if let Some(newcomer) = self.newcomer(path, place, entry)? {
                    bytes += newcomer.text.as_ref().map_or(0, String::len);
                    newcomers.push(newcomer);
                }
                if newcomers.len() >= BATCH_FILES || bytes >= BATCH_BYTES {
                    blocked |= self.create(std::mem::take(&mut newcomers), &mut paths)?;
                    bytes = 0;
                }
            }
            blocked |= self.create(newcomers, &mut paths)?;
        }
        Ok(blocked)
    }

    /// A node's file has another name now. False if the room does not follow.
    fn follow(&mut self, id: &NodeId, place: &(Option<NodeId>, String), entry: &FoundEntry) -> Result<bool, Error> {
        let tree = self.room.tree();
        let Some(node) = tree.get(id) else { return Ok(false) };
        if (&node.parent, &node.name) != (&place.0, &place.1) {
            let (parent, name) = place.clone();
            let command = TreeCommand::Update { id: id.clone(), parent: Some(parent), name: Some(name), rev: None };
            match self.one(command) {
                Ok(()) => {}
                Err(e) if is_refusal(&e) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        self.relocate(id, place.0.clone(), place.1.clone());
        let known = &self.known[id];
        // Its bytes may have changed as well: the stamp that was known stays for the comparison.
        let stamp = known.seen.map_or(entry.stamp, |seen| seen.stamp);
        self.set_seen(id, Some(Seen { stamp, settled: false }));
        self.save(id)?;
        Ok(true)
    }

    /// The command that makes a node of something new; `None` if it is gone again.
    fn newcomer(
        &self,
        path: &str,
        place: (Option<NodeId>, String),
        entry: &FoundEntry,
    ) -> Result<Option<Newcomer>, Error> {
        let (kind, size, text, seen) = if entry.stamp.is_dir {
            (NodeKind::Folder, 0, None, Seen { stamp: entry.stamp, settled: true })
        } else {
            match self.look(path, MAX_TEXT_BYTES, false)? {
                Looked::Text(text, seen) => (NodeKind::Text, 0, Some(text), seen),
                Looked::Binary(seen) => (NodeKind::Binary, seen.stamp.size, None, seen),
                Looked::Large(seen) => (NodeKind::Large, seen.stamp.size, None, seen),
                Looked::Gone => return Ok(None),
            }
        };
        // A text's node begins empty, and its content follows as an edit of the replica: so the replica
        // never holds anything but what was on disk, whatever people type into the new node at once.
        let command = TreeCommand::Create { parent: place.0, name: place.1, kind, size, text: None };
        Ok(Some(Newcomer { path: path.to_owned(), command, seen, text }))
    }

    /// Creates nodes. True if the tree refused one.
    fn create(&mut self, newcomers: Vec<Newcomer>, paths: &mut HashMap<String, NodeId>) -> Result<bool, Error> {
        if newcomers.is_empty() {
            return Ok(false);
        }
        let results = self.room.command(newcomers.iter().map(|newcomer| newcomer.command.clone()).collect());
        let (mut blocked, mut failed) = (false, None);
        for (newcomer, result) in newcomers.into_iter().zip(results) {
            let TreeCommand::Create { parent, name, kind, .. } = newcomer.command else { continue };
            let id = match result {
                Ok(nodes) => match nodes.into_iter().find(|node| node.name == name && node.parent == parent) {
                    Some(node) => node.id,
                    None => continue,
                },
                Err(e) if is_refusal(&e) => {
                    tracing::info!(path = newcomer.path, reason = %e, "a file stays in the workspace only");
                    self.refused.insert(newcomer.path);
                    self.left_out.refused = self.refused.len() as u64;
                    blocked = true;
                    continue;
                }
                Err(e) => {
                    failed = Some(e);
                    continue;
                }
            };
            let text = (kind == NodeKind::Text).then(KnownText::empty);
            self.insert(id.clone(), Known { parent, name, kind, seen: Some(newcomer.seen), trusted: true, text });
            match newcomer.text {
                Some(text) => self.absorb_text(&id, &text, hash(text.as_bytes()), newcomer.seen)?,
                None => self.save(&id)?,
            }
            paths.insert(newcomer.path, id);
        }
        self.send()?;
        failed.map_or(Ok(blocked), |e| Err(e.into()))
    }

    /// Deletes the nodes whose files are gone. True if any went.
    fn let_go(&mut self, found: &Found) -> Result<bool, Error> {
        let gone = self.gone(found, &self.paths());
        if gone.is_empty() {
            return Ok(false);
        }
        let tree = self.room.tree();
        let mut may_go: HashSet<NodeId> = HashSet::new();
        for id in &gone {
            // What has its bytes in the room can be made again; those of anything else are gone in any case.
            let known = &self.known[id];
            let is_gone = matches!(known.kind, NodeKind::Binary | NodeKind::Large)
                && tree.get(id).is_none_or(|node| node.blob.is_none());
            let is_text = tree.get(id).is_some_and(|node| node.kind == NodeKind::Text);
            if is_text && known.text.is_none() {
                // It became a text just before a crash, and people may have typed in it since.
                self.forget(id);
                self.tree_dirty = true;
            } else if known.trusted || is_gone {
                may_go.insert(id.clone());
            } else {
                self.write_again(id);
            }
        }
        // What nobody in the workspace has seen is not theirs to delete.
        for id in self.pull(gone.iter().filter(|id| may_go.contains(*id)).cloned().collect(), Self::write_again)? {
            may_go.remove(&id);
        }
        let tree = self.room.tree();
        let mut children: HashMap<&NodeId, Vec<&NodeId>> = HashMap::new();
        for node in tree.values() {
            if let Some(parent) = &node.parent {
                children.entry(parent).or_default().push(&node.id);
            }
        }
        // Deepest first, so that a folder is asked after everything in it.
        let mut going: HashSet<NodeId> = HashSet::new();
        for id in gone.iter().rev().filter(|id| may_go.contains(*id)) {
            let below = children.get(id).map_or(&[][..], Vec::as_slice);
            if below.iter().all(|child| going.contains(*child)) {
                going.insert(id.clone());
            } else {
                self.write_again(id);
            }
        }
        let tops: Vec<NodeId> = going
            .iter()
            .filter(|id| {
                tree.get(id).is_some_and(|node| !node.parent.as_ref().is_some_and(|above| going.contains(above)))
            })
            .cloned()
            .collect();
        let commands = tops.iter().map(|id| TreeCommand::Delete { id: id.clone(), rev: None }).collect();
        let mut kept = HashSet::new();
        let mut failed = None;
        for (id, result) in tops.into_iter().zip(self.room.command(commands)) {
            match result {
                Ok(_) | Err(rooms::Error::NoSuchNode) => {}
                Err(e) if is_refusal(&e) => {
                    kept.insert(id);
                }
                Err(e) => {
                    kept.insert(id);
                    failed = Some(e);
                }
            }
        }
        let now = self.room.tree();
        for id in gone.iter().rev().filter(|id| going.contains(*id)) {
            if !now.contains_key(id) {
                self.forget(id);
            } else if failed.is_none() {
                self.write_again(id);
            }
        }
        failed.map_or(Ok(true), |e| Err(e.into()))
    }

    /// A node whose file is gone stays: its file is to be made again.
    pub(super) fn write_again(&mut self, id: &NodeId) {
        self.set_seen(id, None);
        if let Some(known) = self.known.get_mut(id) {
            known.trusted = true;
            match &mut known.text {
                Some(text) => {
                    text.hash = None;
                    self.dirty.insert(id.clone());
                }
                None => self.tree_dirty = true,
            }
        }
    }

    /// Pulls what the documents of these texts hold beyond their replicas; returns those that changed, and
    /// tells each to `changed` at once.
    fn pull(&mut self, ids: Vec<NodeId>, told: impl Fn(&mut Self, &NodeId)) -> Result<Vec<NodeId>, Error> {
        let wanted: Vec<(NodeId, Vec<u8>)> = ids
            .into_iter()
            .filter_map(|id| {
                let state = self.known.get(&id)?.text.as_ref()?.replica.state_vector();
                Some((id, state))
            })
            .collect();
        let ids: Vec<NodeId> = wanted.iter().map(|(id, _)| id.clone()).collect();
        let mut changed = Vec::new();
        for (id, diff) in ids.into_iter().zip(self.room.diffs(wanted)) {
            let Some(text) = self.known.get_mut(&id).and_then(|known| known.text.as_mut()) else { continue };
            match diff {
                Ok(update) => {
                    let before = text.replica.text(text::ROOT);
                    text.replica.apply(&update).map_err(|e| Error::Document(e.to_string()))?;
                    if text.replica.text(text::ROOT) != before {
                        told(self, &id);
                        changed.push(id);
                    }
                }
                Err(rooms::Error::NoSuchNode) => self.tree_dirty = true,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(changed)
    }

    /// Reads the files whose stamps differ from what is known and takes their bytes into the room.
    fn take_changes(&mut self, found: &Found) -> Result<(), Error> {
        let paths = self.paths();
        let mut resized = Vec::new();
        let mut held = 0;
        for (path, entry) in &found.entries {
            let Some(id) = paths.get(path) else { continue };
            let Some(known) = self.known.get(id) else { continue };
            let Some(seen) = known.seen else { continue };
            if entry.stamp.is_dir || seen.stamp.is_dir || (seen.settled && seen.stamp == entry.stamp) {
                continue;
            }
            let (kind, trusted, old_size) = (known.kind, known.trusted, seen.stamp.size);
            let limit = if kind == NodeKind::Text { MAX_KEPT_TEXT_BYTES } else { MAX_TEXT_BYTES };
            // A NUL that people typed makes no binary file of their document.
            let may_hold_nul = known.text.as_ref().is_some_and(|text| text.replica.text(text::ROOT).contains('\0'));
            match (kind, self.look(path, limit, may_hold_nul)?) {
                (_, Looked::Gone) => self.rescan.add(self.known[id].parent.clone()),
                (NodeKind::Text, Looked::Text(text, seen)) => {
                    let new = hash(text.as_bytes());
                    let known_hash = self.known[id].text.as_ref().and_then(|text| text.hash);
                    if known_hash == Some(new) {
                        self.set_seen(id, Some(seen));
                    } else if trusted {
                        self.absorb_text(id, &text, new, seen)?;
                        held += 1;
                        if held % BATCH_FILES == 0 {
                            self.send()?;
                        }
                    } else {
                        self.set_aside(path)?;
                        self.write_again(id);
                    }
                }
                (NodeKind::Binary, Looked::Binary(seen)) | (NodeKind::Large, Looked::Large(seen)) => {
                    self.set_seen(id, Some(seen));
                    if seen.stamp.size != old_size {
                        let command = TreeCommand::Retype { id: id.clone(), kind, size: seen.stamp.size, text: None };
                        resized.push((id.clone(), command));
                    }
                }
                (_, looked) => self.retype(id, path, looked)?,
            }
        }
        let (ids, commands): (Vec<_>, Vec<_>) = resized.into_iter().unzip();
        for (id, result) in ids.iter().zip(self.room.command(commands)) {
            match result {
                Ok(_) => self.save(id)?,
                Err(e) if is_refusal(&e) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// The bytes of a text's file are now `text`: what differs becomes edits, to be sent.
    pub(super) fn absorb_text(&mut self, id: &NodeId, new: &str, new_hash: Hash, seen: Seen) -> Result<(), Error> {
        let Some(known) = self.known.get_mut(id) else { return Ok(()) };
        let Some(held) = known.text.as_mut() else { return Ok(()) };
        let edits = text::diff(&held.replica.text(text::ROOT), new);
        let update = held.replica.edit(|txn| {
            let root = yrs::WriteTxn::get_or_insert_text(txn, text::ROOT);
            text::apply(&root, txn, &edits);
        });
        held.hash = Some(new_hash);
        known.trusted = true;
        if let Some(update) = update {
            held.unsent.push(update);
            held.sent = false;
            self.unsent.insert(id.clone());
        }
        self.set_seen(id, Some(seen));
        self.save(id)
    }

    /// A file is of another kind than its node.
    fn retype(&mut self, id: &NodeId, path: &str, looked: Looked) -> Result<(), Error> {
        let (kind, size, content, seen) = match looked {
            Looked::Text(text, seen) => (NodeKind::Text, 0, Some(text), seen),
            Looked::Binary(seen) => (NodeKind::Binary, seen.stamp.size, None, seen),
            Looked::Large(seen) => (NodeKind::Large, seen.stamp.size, None, seen),
            Looked::Gone => return Ok(()),
        };
        if self.known.get(id).is_some_and(|known| known.text.is_none())
            && self.room.tree().get(id).is_some_and(|node| node.kind == NodeKind::Text)
        {
            // It became a text just before a crash. To empty its document once more would take what people
            // typed since.
            self.forget(id);
            self.tree_dirty = true;
            return Ok(());
        }
        // What people typed and no program has seen is kept beside it.
        if let Some(text) = self.unseen_text(id)? {
            self.write_aside(path, &text)?;
        }
        let command = TreeCommand::Retype { id: id.clone(), kind, size, text: content.as_ref().map(|_| String::new()) };
        match self.one(command) {
            Ok(()) => {}
            Err(e) if is_refusal(&e) => {
                self.tree_dirty = true;
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        }
        self.unsent.remove(id);
        let Some(known) = self.known.get_mut(id) else { return Ok(()) };
        known.kind = kind;
        known.trusted = true;
        known.text = None;
        self.set_seen(id, Some(seen));
        let Some(content) = content else { return self.save(id) };
        // The room has emptied the document, so the replica begins empty too. What the document holds by now
        // was typed since and no program has seen it: `flush` merges it.
        if let Some(known) = self.known.get_mut(id) {
            known.text = Some(KnownText::empty());
        }
        self.dirty.insert(id.clone());
        self.absorb_text(id, &content, hash(content.as_bytes()), seen)
    }

    /// The text of a document that holds more than its replica. The replica stays as it is.
    fn unseen_text(&self, id: &NodeId) -> Result<Option<String>, Error> {
        let Some(held) = self.known.get(id).and_then(|known| known.text.as_ref()) else { return Ok(None) };
        let diff = match self.room.diffs(vec![(id.clone(), held.replica.state_vector())]).pop() {
            Some(Ok(diff)) => diff,
            None | Some(Err(rooms::Error::NoSuchNode)) => return Ok(None),
            Some(Err(e)) => return Err(e.into()),
        };
        let mut whole = Replica::new();
        for update in [held.replica.state(), diff] {
            whole.apply(&update).map_err(|e| Error::Document(e.to_string()))?;
        }
        let text = whole.text(text::ROOT);
        Ok((text != held.replica.text(text::ROOT)).then_some(text))
    }

    fn trust(&mut self, id: &NodeId) {
        if let Some(known) = self.known.get_mut(id) {
            known.trusted = true;
        }
    }

    /// Says what a file is. One that cannot be read now is looked at again later.
    fn look(&self, path: &str, limit: u64, may_hold_nul: bool) -> Result<Looked, Error> {
        match self.disk.read(path, limit) {
            Ok(content) => Ok(look_at(content, may_hold_nul)),
            Err(e) => {
                tracing::warn!(path, error = %e, "a file of the workspace cannot be read");
                Ok(Looked::Gone)
            }
        }
    }

    /// Known nodes of which the scan shows that they are no longer where they were, folders first.
    fn gone(&self, found: &Found, paths: &HashMap<String, NodeId>) -> Vec<NodeId> {
        let mut sorted: Vec<(&String, &NodeId)> = paths.iter().collect();
        sorted.sort();
        let mut gone: HashSet<&str> = HashSet::new();
        let mut ids = Vec::new();
        for (path, id) in sorted {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            let was_dir = self.known[id].seen.is_some_and(|seen| seen.stamp.is_dir);
            let is_there = found.entries.get(path).is_some_and(|entry| entry.stamp.is_dir == was_dir);
            if gone.contains(above) || (found.listed.contains(above) && !is_there) {
                gone.insert(path);
                ids.push(id.clone());
            }
        }
        ids
    }

    fn gone_by_identity(&self, found: &Found, paths: &HashMap<String, NodeId>) -> HashMap<(Identity, bool), NodeId> {
        self.gone(found, paths)
            .into_iter()
            .filter_map(|id| {
                let stamp: Stamp = self.known[&id].seen?.stamp;
                Some(((stamp.identity, stamp.is_dir), id))
            })
            .collect()
    }

    fn one(&self, command: TreeCommand) -> Result<(), rooms::Error> {
        self.room.command(vec![command]).pop().map_or(Err(rooms::Error::Closed), |result| result.map(|_| ()))
    }
}

/// True if the tree will not do it however often it is asked.
pub(super) fn is_refusal(error: &rooms::Error) -> bool {
    matches!(error, rooms::Error::Tree(_) | rooms::Error::NoSuchNode)
}

fn places_of(tree: &Tree) -> Places {
    tree.values().map(|node| ((node.parent.clone(), node.name.clone()), node.id.clone())).collect()
}

/// A text is valid UTF-8 without a NUL byte, unless its document holds one.
fn look_at(content: Content, may_hold_nul: bool) -> Looked {
    match content {
        Content::Gone => Looked::Gone,
        Content::TooLarge(stamp) => Looked::Large(Seen { stamp, settled: false }),
        Content::Bytes { bytes, stamp, settled } => {
            let seen = Seen { stamp, settled };
            if !may_hold_nul && bytes.contains(&0) {
                return Looked::Binary(seen);
            }
            String::from_utf8(bytes).map_or(Looked::Binary(seen), |text| Looked::Text(text, seen))
        }
    }
}
