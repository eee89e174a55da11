//! A live room in memory, with people who type and programs that write at any moment: for tests.
//!
//! It remembers every character that somebody wrote and nobody who could see it took away, so that a
//! test can ask whether one was lost. Each written character is unique.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{Replica, text};
use buildspaces_kernel::ids::NodeId;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::ports::{Draft, MAX_PIECE};
use buildspaces_rooms::tree::{self, Node, NodeKind, TreeCommand};
use buildspaces_rooms::{BlobHash, Error, RoomEvent};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{broadcast, watch};

use super::disk::Fuse;
use super::gitignore;
use super::ignore::is_ignored;
use super::ports::{LiveRoom, Tree};

/// First of the unique characters; each takes two UTF-16 units.
const FIRST: u32 = 0x2_0000;

/// A small pool, so that names meet. Two differ only in case.
const FILES: [&str; 7] = ["a.txt", "b.py", "c.md", "A.txt", "d", "e.txt.from-disk", "x"];
const FOLDERS: [&str; 4] = ["src", "lib", "x", "SRC"];

/// What programs say is to be ignored.
const IGNORED: [&str; 6] = ["a.txt", "*.py", "src/", "/lib", "!b.py", "*"];

pub(super) struct MemoryRoom {
    /// Of the process that mirrors this room now.
    pub(super) fuse: Mutex<Fuse>,
    world: Mutex<World>,
    events: broadcast::Sender<RoomEvent>,
}

pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) tree: tree::Tree,
    pub(super) documents: HashMap<NodeId, Replica>,
    pub(super) blobs: HashMap<BlobHash, Vec<u8>>,
    drafts: HashMap<Draft, Vec<u8>>,
    pub(super) max_kept: u64,
    /// Somebody wrote which files are to be ignored, so not every file is in the tree.
    pub(super) is_ignoring: bool,
    /// A person's own copies, and what of them has not reached the room.
    person: HashMap<NodeId, Replica>,
    outbox: Vec<Typed>,
    workspace: PathBuf,
    next_node: u32,
    next_char: u32,
    /// Characters that must be somewhere at the end.
    pub(super) required: BTreeSet<char>,
    /// How likely somebody acts in the middle of a call, in percent.
    pub(super) interference: u32,
    pub(super) story: Vec<String>,
    happened: Vec<RoomEvent>,
}

/// A document, an update of it, and the characters that came and went.
type Typed = (NodeId, Vec<u8>, Vec<char>, Vec<char>);

impl MemoryRoom {
    pub(super) fn new(seed: u64, workspace: PathBuf) -> Self {
        let world = World {
            rng: StdRng::seed_from_u64(seed),
            tree: tree::Tree::default(),
            documents: HashMap::new(),
            blobs: HashMap::new(),
            drafts: HashMap::new(),
            max_kept: 1 << 30,
            is_ignoring: false,
            person: HashMap::new(),
            outbox: Vec::new(),
            workspace,
            next_node: 0,
            next_char: FIRST,
            required: BTreeSet::new(),
            interference: 0,
            story: Vec::new(),
            happened: Vec::new(),
        };
        Self { fuse: Mutex::default(), world: Mutex::new(world), events: broadcast::channel(4096).0 }
    }

    /// Lets somebody do something, and tells those who listen.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let result = act(&mut world);
        self.tell(&mut world);
        result
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("a test that panicked has failed already")
    }

    fn tell(&self, world: &mut World) {
        for event in world.happened.drain(..) {
            let _ = self.events.send(event);
        }
    }

    fn is_dead(&self) -> bool {
        self.fuse.lock().expect("never poisoned").is_blown()
    }

    fn alive(&self) -> Result<MutexGuard<'_, World>, Error> {
        if self.is_dead() { Err(Error::Closed) } else { Ok(self.world()) }
    }

    fn enter(&self) -> Result<MutexGuard<'_, World>, Error> {
        if self.is_dead() {
            return Err(Error::Closed);
        }
        let mut world = self.world();
        let interference = world.interference;
        if interference > 0 && world.rng.random_ratio(interference, 100) {
            world.story.push("  meanwhile:".to_owned());
            world.anybody();
            self.tell(&mut world);
        }
        Ok(world)
    }
}

impl LiveRoom for MemoryRoom {
    fn tenancy(&self) -> watch::Receiver<Tenancy> {
        watch::channel(Tenancy::default()).1
    }

    fn tree(&self) -> Tree {
        self.world().tree.view().nodes().map(|node| (node.id.clone(), node.clone())).collect()
    }

    fn events(&self) -> broadcast::Receiver<RoomEvent> {
        self.events.subscribe()
    }

    fn diffs(&self, wanted: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<Vec<u8>, Error>> {
        let world = match self.enter() {
            Ok(world) => world,
            Err(e) => return vec![Err(e); wanted.len()],
        };
        wanted
            .into_iter()
            .map(|(id, state)| {
                let document = world.document(&id).ok_or(Error::NoSuchNode)?;
                document.diff(&state).map_err(|e| Error::InvalidUpdate(e.to_string()))
            })
            .collect()
    }

    fn apply(&self, updates: Vec<(NodeId, Vec<u8>)>) -> Vec<Result<(), Error>> {
        let mut world = match self.enter() {
            Ok(world) => world,
            Err(e) => return vec![Err(e); updates.len()],
        };
        let results = updates
            .into_iter()
            .map(|(id, update)| {
                if !world.is_text(&id) {
                    return Err(Error::NoSuchNode);
                }
                let document = world.documents.entry(id.clone()).or_default();
                if document.apply(&update).map_err(|e| Error::InvalidUpdate(e.to_string()))? == Applied::Missing {
                    return Err(Error::InvalidUpdate("it builds on something unknown".to_owned()));
                }
                world.happened.push(RoomEvent::Edited { node: id, by: somebody(PrincipalKind::FileSystem) });
                Ok(())
            })
            .collect();
        self.tell(&mut world);
        results
    }

    fn command(&self, commands: Vec<TreeCommand>) -> Vec<Result<Vec<Node>, Error>> {
        // Nobody acts between a look that precedes a deletion and the deletion.
        let creates = commands.iter().all(|command| matches!(command, TreeCommand::Create { .. }));
        let entered = if creates || self.is_dead() { self.enter() } else { Ok(self.world()) };
        let mut world = match entered {
            Ok(world) => world,
            Err(e) => return vec![Err(e); commands.len()],
        };
        let results = commands.into_iter().map(|command| world.command(PrincipalKind::FileSystem, command)).collect();
        self.tell(&mut world);
        results
    }

    fn max_kept(&self) -> u64 {
        self.world().max_kept
    }

    fn begin_blob(&self) -> Result<Draft, Error> {
        let mut world = self.alive()?;
        world.next_node += 1;
        let draft = Draft(world.next_node.into());
        world.drafts.insert(draft, Vec::new());
        Ok(draft)
    }

    fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), Error> {
        let mut world = self.alive()?;
        let written = world.drafts.get_mut(&draft).expect("it was begun");
        assert_eq!(written.len() as u64, at);
        written.extend_from_slice(&bytes);
        Ok(())
    }

    fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), Error> {
        let mut world = self.alive()?;
        let written = world.drafts.remove(&draft).expect("it was begun");
        world.blobs.insert(*hash, written);
        Ok(())
    }

    fn discard_draft(&self, draft: Draft) -> Result<(), Error> {
        self.alive()?.drafts.remove(&draft);
        Ok(())
    }

    fn has_blob(&self, hash: &BlobHash) -> Result<bool, Error> {
        Ok(self.alive()?.blobs.contains_key(hash))
    }

    fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, Error> {
        let world = self.alive()?;
        let rest = world.blobs.get(hash).map_or(&[][..], |bytes| &bytes[usize::try_from(from).expect("small")..]);
        Ok(Bytes::copy_from_slice(&rest[..rest.len().min(MAX_PIECE)]))
    }

    fn release_blob(&self, hash: &BlobHash) -> Result<(), Error> {
        let mut world = self.alive()?;
        if !world.named_blobs().contains(hash) {
            world.blobs.remove(hash);
        }
        Ok(())
    }
}

pub(super) fn somebody(kind: PrincipalKind) -> Principal {
    Principal { kind, ..Principal::system() }
}

impl World {
    fn is_text(&self, id: &NodeId) -> bool {
        self.tree.view().node(id).is_some_and(|node| node.kind == NodeKind::Text)
    }

    fn named_blobs(&self) -> BTreeSet<BlobHash> {
        self.tree.view().nodes().filter_map(|node| node.blob).collect()
    }

    pub(super) fn document(&self, id: &NodeId) -> Option<&Replica> {
        self.is_text(id).then(|| self.documents.get(id)).flatten()
    }

    pub(super) fn text(&self, id: &NodeId) -> String {
        self.document(id).map_or_else(String::new, |document| document.text(text::ROOT))
    }

    pub(super) fn command(&mut self, by: PrincipalKind, command: TreeCommand) -> Result<Vec<Node>, Error> {
        self.next_node += 1;
        let fresh = NodeId::parse(&format!("n{}", self.next_node)).expect("a valid id");
        let retyped = matches!(command, TreeCommand::Retype { .. });
        if let TreeCommand::Keep { kept: Some((hash, _)), .. } = &command
            && !self.blobs.contains_key(hash)
        {
            return Err(Error::Storage("there is no such blob".into()));
        }
        let named = self.named_blobs();
        let outcome = self.tree.handle(&"somebody".into(), fresh, command)?;
        let named_now = self.named_blobs();
        self.blobs.retain(|hash, _| named_now.contains(hash) || !named.contains(hash));
        if let Some((id, text)) = outcome.text {
            let document = self.documents.entry(id).or_default();
            let old = if retyped { document.text(text::ROOT) } else { String::new() };
            edit(document, &text::diff(&old, &text));
        }
        self.happened.push(RoomEvent::Tree {
            changed: outcome.changed.clone(),
            deleted: outcome.deleted,
            by: somebody(by),
        });
        Ok(outcome.changed)
    }

    /// Types `insert` at a position of the document, at once.
    pub(super) fn type_at(&mut self, id: &NodeId, at: u32, insert: &str) {
        let document = self.documents.entry(id.clone()).or_default();
        edit(document, &[text::Edit { at, delete: 0, insert: insert.to_owned() }]);
        self.happened.push(RoomEvent::Edited { node: id.clone(), by: somebody(PrincipalKind::Person) });
    }

    pub(super) fn create(&mut self, parent: Option<&NodeId>, name: &str, text: Option<&str>) -> Result<NodeId, Error> {
        let kind = if text.is_some() { NodeKind::Text } else { NodeKind::Folder };
        let (parent, name, text) = (parent.cloned(), name.to_owned(), text.map(str::to_owned));
        let created = self.command(PrincipalKind::Person, TreeCommand::Create { parent, name, kind, size: 0, text })?;
        Ok(created[0].id.clone())
    }

    fn fresh(&mut self) -> char {
        self.next_char += 1;
        char::from_u32(self.next_char).expect("assigned planes")
    }

    /// One random deed of a person or a program.
    pub(super) fn anybody(&mut self) {
        match self.rng.random_range(0..100) {
            0..25 => self.person_types(),
            25..45 => self.deliver(),
            45..55 => self.person_arranges(),
            55..85 => self.program_writes(),
            _ => self.program_arranges(),
        }
    }

    fn some_node(&mut self, folder: bool) -> Option<Node> {
        let nodes: Vec<Node> = self
            .tree
            .view()
            .nodes()
            .filter(|node| if folder { node.kind == NodeKind::Folder } else { node.kind == NodeKind::Text })
            .cloned()
            .collect();
        nodes.choose(&mut self.rng).cloned()
    }

    fn some_folder_id(&mut self) -> Option<NodeId> {
        if self.rng.random_bool(0.5) { None } else { self.some_node(true).map(|node| node.id) }
    }

    /// In a copy of their own, which may be behind.
    fn person_types(&mut self) {
        let Some(node) = self.some_node(false) else { return self.person_arranges() };
        let whole = self.documents.get(&node.id).map(Replica::state);
        let merge = self.rng.random_bool(0.6);
        let fresh: Vec<char> = (0..self.rng.random_range(1..4)).map(|_| self.fresh()).collect();
        let copy = self.person.entry(node.id.clone()).or_default();
        if let (Some(whole), true) = (whole, merge) {
            copy.apply(&whole).expect("the room's state is valid");
        }
        let chars: Vec<char> = copy.text(text::ROOT).chars().collect();
        let at = self.rng.random_range(0..=chars.len());
        let offset = u32::try_from(chars[..at].iter().map(|c| c.len_utf16()).sum::<usize>()).expect("small");
        let length = if self.rng.random_bool(0.3) { self.rng.random_range(0..=(chars.len() - at).min(3)) } else { 0 };
        let removed: Vec<char> = chars[at..at + length].to_vec();
        let delete = u32::try_from(removed.iter().map(|c| c.len_utf16()).sum::<usize>()).expect("small");
        let mut insert: String = fresh.iter().collect();
        if self.rng.random_bool(0.5) {
            insert.push_str(["\n", "\r\n", " "].choose(&mut self.rng).expect("not empty"));
        }
        let update = edit(copy, &[text::Edit { at: offset, delete, insert: insert.clone() }]);
        self.story.push(format!("person types {insert:?} into {} {} for {removed:?}", node.id, node.name));
        self.outbox.push((node.id, update.expect("something was inserted"), fresh, removed));
    }

    /// What was typed first reaches the room.
    pub(super) fn deliver(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let (id, update, mut came, mut went) = self.outbox.remove(0);
        if !self.is_text(&id) {
            return;
        }
        self.story.push(format!("delivered {came:?} to {id}, without {went:?}"));
        let document = self.documents.entry(id.clone()).or_default();
        let before = document.text(text::ROOT);
        if document.apply(&update).expect("valid") == Applied::Missing {
            // What it builds on went while the node was no text: the person's client sends everything.
            document.apply(&self.person[&id].state()).expect("valid");
            // So what they typed since is in the room from now on, and whoever sees it may take it away.
            for (_, _, chars, removed) in self.outbox.extract_if(.., |(node, ..)| *node == id) {
                came.extend(chars);
                went.extend(removed);
            }
        }
        let after = document.text(text::ROOT);
        for c in before.chars().filter(|c| !after.contains(*c)).chain(went) {
            self.required.remove(&c);
        }
        self.required.extend(came.into_iter().filter(|c| after.contains(*c)));
        self.happened.push(RoomEvent::Edited { node: id, by: somebody(PrincipalKind::Person) });
    }

    pub(super) fn deliver_all(&mut self) {
        while !self.outbox.is_empty() {
            self.deliver();
        }
    }

    fn person_arranges(&mut self) {
        let by = PrincipalKind::Person;
        let name = |rng: &mut StdRng| {
            let pool: &[&str] = if rng.random_bool(0.5) { &FILES } else { &FOLDERS };
            (*pool.choose(rng).expect("not empty")).to_owned()
        };
        match self.rng.random_range(0..10) {
            0..4 => {
                let fresh = self.fresh();
                let (parent, name) = (self.some_folder_id(), name(&mut self.rng));
                let folder = self.rng.random_bool(0.3);
                let text = (!folder).then(|| format!("{fresh}\nnew\n"));
                let made = self.create(parent.as_ref(), &name, text.as_deref());
                self.story.push(format!("person creates {name} in {parent:?} (folder: {folder}): {made:?}"));
                if made.is_ok() && !folder {
                    self.required.insert(fresh);
                }
            }
            4..8 => {
                let is_folder = self.rng.random_bool(0.4);
                let Some(node) = self.some_node(is_folder) else { return };
                let (parent, name) = (self.some_folder_id(), name(&mut self.rng));
                let command = TreeCommand::Update {
                    id: node.id,
                    parent: self.rng.random_bool(0.6).then_some(parent),
                    name: self.rng.random_bool(0.7).then_some(name),
                    rev: None,
                };
                self.story.push(format!("person: {command:?}"));
                let _ = self.command(by, command);
            }
            _ => {
                let is_folder = self.rng.random_bool(0.3);
                let Some(node) = self.some_node(is_folder) else { return };
                let before: Vec<Node> = self.tree.view().nodes().cloned().collect();
                let texts: Vec<(NodeId, String)> = before.iter().map(|n| (n.id.clone(), self.text(&n.id))).collect();
                let done = self.command(by, TreeCommand::Delete { id: node.id.clone(), rev: None });
                self.story.push(format!("person deletes {} {}: {}", node.id, node.name, done.is_ok()));
                let is_file = |node: &&Node| matches!(node.kind, NodeKind::Binary | NodeKind::Large);
                if before.iter().filter(is_file).any(|node| self.tree.view().node(&node.id).is_none()) {
                    self.forgets_files(|_, bytes| bytes.contains(&0));
                }
                for (id, text) in texts {
                    if self.tree.view().node(&id).is_none() {
                        text.chars().for_each(|c| {
                            self.required.remove(&c);
                        });
                    }
                }
            }
        }
    }

    /// Regular files of the workspace, without those that stay there anyway.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.workspace, &mut |path, is_dir| {
            if !is_dir {
                files.push(path.to_owned());
            }
        });
        files.sort();
        files
    }

    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.workspace.clone()];
        walk(&self.workspace, &mut |path, is_dir| {
            if is_dir {
                folders.push(path.to_owned());
            }
        });
        folders.sort();
        folders
    }

    /// Somebody takes away files of which this holds.
    fn forgets_files(&mut self, mut which: impl FnMut(&Path, &[u8]) -> bool) {
        for path in self.files() {
            let bytes = fs::read(&path).unwrap_or_default();
            if which(&path, &bytes) {
                self.forgets(&bytes);
            }
        }
    }

    /// Of the workspace's folder nothing is left but what the room has.
    pub(super) fn loses_workspace(&mut self) {
        self.story.push("the workspace is lost".to_owned());
        let (view, root) = (self.tree.view().clone(), self.workspace.clone());
        self.forgets_files(|path, _| {
            let path = path.strip_prefix(&root).expect("it is in the workspace");
            view.at_path(path.to_str().expect("text")).is_none()
        });
    }

    fn forgets(&mut self, bytes: &[u8]) {
        for c in shown(bytes).chars() {
            self.required.remove(&c);
        }
    }

    /// A program rewrites a file that it has just read, or makes a new one.
    fn program_writes(&mut self) {
        let files = self.files();
        let ignores = self.rng.random_bool(0.02);
        let path = if files.is_empty() || ignores || self.rng.random_bool(0.25) {
            let folder = self.folders().choose(&mut self.rng).expect("the root").clone();
            folder.join(if ignores { gitignore::NAME } else { *FILES.choose(&mut self.rng).expect("not empty") })
        } else {
            files.choose(&mut self.rng).expect("not empty").clone()
        };
        // Never through a link: a test writes nowhere but into its own folder.
        if path.is_dir() || path.is_symlink() {
            return;
        }
        let old = fs::read(&path).unwrap_or_default();
        let seen = shown(&old);
        let old = if seen.contains('\u{fffd}') { old } else { seen.clone().into_bytes() };
        let fresh = self.fresh();
        self.is_ignoring |= ignores;
        let new = match (String::from_utf8(old), self.rng.random_range(0..100)) {
            (Ok(text), _) if ignores => {
                let pattern = IGNORED.choose(&mut self.rng).expect("not empty");
                format!("{text}{pattern}\n# {fresh}\n").into_bytes()
            }
            (Ok(_), 0..4) => vec![0xff, 0, 1, 2],
            (Ok(text), 4..6) => large(&rewritten(&text, 0, fresh, &mut self.rng)),
            (Ok(text), 6..9) => [rewritten(&text, 0, fresh, &mut self.rng).into_bytes(), vec![0]].concat(),
            (Ok(text), how) => rewritten(&text, how, fresh, &mut self.rng).into_bytes(),
            (Err(_), _) => fresh.to_string().into_bytes(),
        };
        let written = shown(&new);
        for c in seen.chars().filter(|c| !written.contains(*c)) {
            self.required.remove(&c);
        }
        if written.contains(fresh) {
            self.required.insert(fresh);
        }
        self.story.push(format!("program writes {} : {written:?} ({} bytes)", path.display(), new.len()));
        if self.rng.random_bool(0.4) {
            let aside = path.with_extension("tmp~");
            fs::write(&aside, &new).expect("writes");
            fs::rename(&aside, &path).expect("renames");
        } else {
            fs::write(&path, &new).expect("writes");
        }
    }

    /// One program changes much before anybody looks: another branch is checked out, everything is formatted, names move in a ring.
    pub(super) fn program_storms(&mut self) {
        self.story.push("a storm".to_owned());
        for _ in 0..self.rng.random_range(5..25) {
            if self.rng.random_bool(0.4) {
                self.program_writes();
            } else {
                self.program_arranges();
            }
        }
        self.story.push("it is over".to_owned());
    }

    fn program_arranges(&mut self) {
        let (files, folders) = (self.files(), self.folders());
        let folder = folders.choose(&mut self.rng).expect("the root").clone();
        let target_name = *if self.rng.random_bool(0.7) { &FILES[..] } else { &FOLDERS[..] }
            .choose(&mut self.rng)
            .expect("not empty");
        let target = folder.join(target_name);
        match self.rng.random_range(0..10) {
            0..2 => {
                let done = fs::create_dir(&target);
                self.story.push(format!("program mkdir {}: {}", target.display(), done.is_ok()));
            }
            2..5 => {
                let Some(path) = files.choose(&mut self.rng) else { return };
                if target.is_dir() || *path == target {
                    return;
                }
                if let Ok(bytes) = fs::read(&target) {
                    self.forgets(&bytes);
                }
                let done = fs::rename(path, &target);
                self.story.push(format!("program mv {} {}: {}", path.display(), target.display(), done.is_ok()));
            }
            5..7 => {
                let path = folders.choose(&mut self.rng).expect("the root").clone();
                if path != self.workspace && !target.exists() {
                    let done = fs::rename(&path, &target);
                    self.story.push(format!("program mv {} {}: {}", path.display(), target.display(), done.is_ok()));
                }
            }
            7..9 => {
                let Some(path) = files.choose(&mut self.rng).cloned() else { return };
                let bytes = fs::read(&path).unwrap_or_default();
                self.forgets(&bytes);
                self.story.push(format!("program rm {}", path.display()));
                fs::remove_file(&path).expect("it was there");
                match self.rng.random_range(0..6) {
                    0 => fs::create_dir(&path).expect("free"),
                    1 => std::os::unix::fs::symlink("nowhere", &path).expect("free"),
                    _ => {}
                }
            }
            _ => {
                let path = folders.choose(&mut self.rng).expect("the root").clone();
                if path == self.workspace {
                    return;
                }
                walk(&path, &mut |file, is_dir| {
                    if !is_dir {
                        let bytes = fs::read(file).unwrap_or_default();
                        self.forgets(&bytes);
                    }
                });
                self.story.push(format!("program rm -r {}", path.display()));
                fs::remove_dir_all(&path).expect("it was there");
            }
        }
    }
}

/// What a file's bytes say, without what fills it up.
pub(super) fn shown(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A file that begins with this text and is too large to be one.
fn large(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(usize::try_from(tree::MAX_TEXT_BYTES).expect("fits") + 1 + text.len(), 0);
    bytes
}

/// What a program makes of a text: adds to it, takes from it, sorts or reformats it.
fn rewritten(text: &str, how: u32, fresh: char, rng: &mut StdRng) -> String {
    match how {
        0..40 => {
            let mut chars: Vec<char> = text.chars().collect();
            chars.insert(rng.random_range(0..=chars.len()), fresh);
            chars.into_iter().collect()
        }
        40..60 => {
            let chars: Vec<char> = text.chars().collect();
            let from = rng.random_range(0..=chars.len());
            let to = rng.random_range(from..=chars.len());
            [&chars[..from], &[fresh], &chars[to..]].concat().into_iter().collect()
        }
        60..75 => {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n") + "\n"
        }
        75..90 => text.lines().map(|line| format!("  {}\r\n", line.trim())).collect(),
        _ => format!("{text}{fresh}\n"),
    }
}

fn edit(document: &mut Replica, edits: &[text::Edit]) -> Option<Vec<u8>> {
    document.edit(|txn| {
        let root = yrs::WriteTxn::get_or_insert_text(txn, text::ROOT);
        text::apply(&root, txn, edits);
    })
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path, bool)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("~");
        if is_ignored(name) || meta.is_symlink() {
            continue;
        }
        found(&path, meta.is_dir());
        if meta.is_dir() {
            walk(&path, found);
        }
    }
}
