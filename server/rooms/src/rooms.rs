//! Every room and document of this process: opened once however many ask at the same moment.
//!
//! **Invariant:** at most one actor exists per document name. A document leaves the registry only while
//! the registry's own handle is the last one, under the lock that gives handles out.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use buildspaces_crdt::names::Kind;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::clock::{CautiousClock, unix_millis};
use buildspaces_kernel::ids::{NodeId, OrganisationId, PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::{OnceCell, mpsc};

use crate::actor::{self, MAILBOX, Mailbox};
use crate::budget::{Budget, Share};
use crate::document::Access;
use crate::history::History;
use crate::history::retention::Policy;
use crate::listener::{Ear, Listener};
use crate::outbox::CloseReason;
use crate::ports::{RoomRecord, Store, TreeChange};
use crate::tree::{NodeKind, Tree, TreeCommand};
use crate::{DocumentHandle, Error, RoomHandle};

/// Longest title of a room, in characters.
pub const MAX_TITLE_CHARS: usize = 120;

/// Principals that are known to be stored. Past it they are forgotten and stored again, which changes nothing.
const MAX_REMEMBERED: usize = 16_384;

/// How often old updates are looked for.
const MERGE_EVERY: Duration = Duration::from_secs(3600);

/// What a new room begins with.
#[derive(Clone, Debug, Default)]
pub struct NewRoom {
    pub title: String,
    /// The id of the template, for the record.
    pub template: String,
    /// Paths from the workspace's root and their text.
    pub files: Vec<(String, String)>,
    /// For good.
    pub tenancy: Tenancy,
}

/// Settings of rooms.
#[derive(Clone, Debug)]
pub struct Config {
    /// What open documents may take in memory, about, before those that nobody uses leave early.
    pub memory_bytes: usize,
    /// What one document may have, as an update that brings all of it.
    pub max_document_bytes: usize,
    /// What the store keeps of one room's files that are no documents, in bytes.
    pub max_kept_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, max_document_bytes: 64 << 20, max_kept_bytes: 256 << 20 }
    }
}

/// See the module. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    tasks: Tasks,
    rooms: DashMap<RoomId, Arc<OnceCell<RoomHandle>>>,
    documents: DashMap<DocumentName, Open>,
    budget: Arc<Budget>,
    max_document_bytes: usize,
    max_kept_bytes: u64,
    history: History,
    listener: OnceLock<Arc<dyn Listener>>,
    /// Whose name and kind the store has.
    remembered: DashMap<PrincipalId, Principal>,
}

/// A document in the registry.
struct Open {
    handle: DocumentHandle,
    share: Arc<Share>,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("open", &self.inner.rooms.len()).finish_non_exhaustive()
    }
}

impl Rooms {
    pub fn new(store: Arc<dyn Store>, tasks: Tasks) -> Self {
        Self::with_config(store, tasks, &Config::default())
    }

    pub fn with_config(store: Arc<dyn Store>, tasks: Tasks, config: &Config) -> Self {
        let budget = Budget::new(config.memory_bytes);
        let history = History::new(store.clone(), budget.copies().clone());
        let inner = Arc::new(Inner {
            store,
            tasks,
            rooms: DashMap::new(),
            documents: DashMap::new(),
            budget,
            max_document_bytes: config.max_document_bytes,
            max_kept_bytes: config.max_kept_bytes,
            history,
            listener: OnceLock::new(),
            remembered: DashMap::new(),
        });
        inner.tasks.spawn("document memory", keep_budget(Arc::downgrade(&inner), inner.tasks.clone()));
        Self { inner }
    }

    /// Tells `listener` of what happens from now on. Documents that are open already say nothing, so call it before anybody comes in.
    ///
    /// # Panics
    /// When there is a listener already.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        assert!(self.inner.listener.set(listener).is_ok(), "there is one listener");
    }

    pub(crate) fn listener(&self) -> Option<&Arc<dyn Listener>> {
        self.inner.listener.get()
    }

    /// Documents in memory.
    pub fn documents_open(&self) -> usize {
        self.inner.documents.len()
    }

    /// Creates a room with its files in one transaction and opens it.
    pub async fn create(&self, by: &Principal, new: NewRoom) -> Result<RoomHandle, Error> {
        let title = check_title(&new.title)?;
        let record = RoomRecord {
            id: RoomId::random(),
            title,
            template: new.template,
            created_at: unix_millis(),
            created_by: by.id.clone(),
            tenancy: new.tenancy,
        };
        let change = first_tree(&record.id, by, new.files)?;
        let (rooms, by, id) = (self.clone(), by.clone(), record.id.clone());
        let create = async move {
            rooms.inner.store.create_room(&record, change).await?;
            if let Some(listener) = rooms.listener() {
                listener.room_created(&record, &by).await;
            }
            Ok(())
        };
        self.to_the_end("creating a room", create).await?;
        self.room(&id).await
    }

    /// The organisation's rooms, in any order.
    pub async fn of(&self, organisation: &OrganisationId) -> Result<Vec<RoomId>, Error> {
        Ok(self.inner.store.rooms_of(organisation).await?)
    }

    /// Opens the room if need be.
    pub async fn room(&self, id: &RoomId) -> Result<RoomHandle, Error> {
        let cell = self.inner.rooms.entry(id.clone()).or_default().clone();
        let opened = cell.get_or_try_init(|| RoomHandle::open(self.clone(), id.clone())).await.cloned();
        drop(cell);
        if opened.is_err() {
            // A room that does not exist must not stay here, or guesses would fill the memory. Somebody else may be about to open it.
            self.inner.rooms.remove_if(id, |_, cell| cell.get().is_none() && Arc::strong_count(cell) == 1);
        }
        opened
    }

    /// Takes a room out of memory that nobody uses and of whom nothing is asked; true if it did. Who asks for it next opens it again.
    pub(crate) fn close_room(&self, room: &RoomHandle, is_asked: impl FnOnce() -> bool) -> bool {
        // Handles are given out from the cell, and that under the lock which is held here.
        let is_unused = |_: &RoomId, cell: &Arc<OnceCell<RoomHandle>>| {
            let is_last = Arc::strong_count(cell) == 1 && cell.get().is_some_and(|own| own.is_same(room));
            // Whoever had the cell, or a handle, and has let go of it: what they did before is seen behind this.
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            let is_last = is_last && room.is_unused();
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            is_last && !is_asked()
        };
        self.inner.rooms.remove_if(room.id(), is_unused).is_some()
    }

    /// Opens the document if need be: one of a room's own, or a plain one.
    pub async fn document(&self, name: &DocumentName) -> Result<DocumentHandle, Error> {
        let room = match name.kind() {
            Kind::Plain => return Ok(self.open(name, Access::Shared, None)),
            Kind::File { room, .. } | Kind::Tree { room } | Kind::Runs { room } => room,
        };
        let id = RoomId::parse(room).ok_or_else(|| Error::NoSuchDocument(name.to_string()))?;
        let room = self.room(&id).await?;
        if let Kind::File { node, .. } = name.kind() {
            let node = NodeId::parse(node).ok_or(Error::NoSuchNode)?;
            let is_text = room.tree().node(&node).is_some_and(|node| node.kind == NodeKind::Text);
            if !is_text {
                return Err(Error::NoSuchNode);
            }
        }
        Ok(self.document_of_open_room(&room, name))
    }

    pub(crate) fn document_of_open_room(&self, room: &RoomHandle, name: &DocumentName) -> DocumentHandle {
        match name.kind() {
            Kind::File { node, .. } => {
                let events = NodeId::parse(node).map(|node| (node, room.event_sender()));
                self.open(name, Access::Shared, events)
            }
            _ => self.open(name, Access::Projected, None),
        }
    }

    fn open(
        &self,
        name: &DocumentName,
        access: Access,
        events: Option<(NodeId, tokio::sync::broadcast::Sender<crate::RoomEvent>)>,
    ) -> DocumentHandle {
        let vacant = match self.inner.documents.entry(name.clone()) {
            Entry::Occupied(entry) if entry.get().is_usable() => return entry.get().use_it(),
            // Its actor failed or is stopping; a new one loads what the log has.
            Entry::Occupied(entry) => entry.remove_entry().0,
            Entry::Vacant(entry) => entry.into_key(),
        };
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let share = self.inner.budget.share();
        let handle = DocumentHandle { commands, share: share.clone() };
        match self.inner.documents.entry(vacant) {
            // Somebody else opened it in between.
            Entry::Occupied(entry) if entry.get().is_usable() => return entry.get().use_it(),
            Entry::Occupied(mut entry) => {
                entry.insert(Open { handle: handle.clone(), share: share.clone() });
            }
            Entry::Vacant(entry) => {
                entry.insert(Open { handle: handle.clone(), share: share.clone() });
            }
        }
        let registry = Arc::downgrade(&self.inner);
        let retire_name = name.clone();
        let weak = handle.commands.downgrade();
        let retire = Box::new(move |mailbox: &Mailbox| {
            let (Some(registry), Some(own)) = (registry.upgrade(), weak.upgrade()) else { return true };
            let last = |_: &DocumentName, entry: &Open| {
                // Two: the registry's and the one just upgraded here. Whoever had another may have put something in before they dropped it.
                entry.handle.commands.same_channel(&own) && own.strong_count() == 2 && mailbox.is_empty()
            };
            registry.documents.remove_if(&retire_name, last).is_some()
        });
        let setup = actor::Setup {
            name: name.clone(),
            access,
            max_bytes: self.inner.max_document_bytes,
            store: self.inner.store.clone(),
            mailbox,
            events,
            ear: self.listener().map(|listener| Ear::new(listener.clone(), name.clone())),
            tasks: self.inner.tasks.clone(),
            share,
            retire,
        };
        let left = Left { registry: Arc::downgrade(&self.inner), name: name.clone() };
        self.inner.tasks.spawn("document", async move {
            let _left = left;
            actor::run(setup).await;
        });
        handle
    }

    /// Ends the connections to a file that is gone, if anybody has it open.
    pub(crate) async fn close_file(&self, room: &RoomId, node: &NodeId, reason: CloseReason) {
        let name = DocumentName::file(room.as_str(), node.as_str());
        let open = self.inner.documents.get(&name).map(|entry| entry.handle.clone());
        if let Some(document) = open {
            document.close_all(reason).await;
        }
    }

    /// Merges old updates from now on, once in a while and document by document.
    pub fn merge_old_updates(&self, policy: Policy) {
        let (history, tasks) = (self.inner.history.clone(), self.inner.tasks.clone());
        // What is merged stays merged, whatever the clock says later.
        let clock = CautiousClock::start();
        self.inner.tasks.spawn("merging old updates", async move {
            loop {
                tokio::select! {
                    () = tasks.cancelled() => return,
                    () = tokio::time::sleep(MERGE_EVERY) => history.compact_all(policy, clock, &tasks).await,
                }
            }
        });
    }

    /// Remembers what somebody is called and what kind they are, so that what they write can be shown as theirs. Nobody waits for
    /// it: a name that is missing later is no reason to keep anybody out now.
    pub fn remember(&self, principal: &Principal) {
        if self.inner.remembered.get(&principal.id).is_some_and(|known| *known == *principal) {
            return;
        }
        if self.inner.remembered.len() >= MAX_REMEMBERED {
            self.inner.remembered.clear();
        }
        self.inner.remembered.insert(principal.id.clone(), principal.clone());
        let (rooms, principal) = (self.clone(), principal.clone());
        self.inner.tasks.spawn("remember a principal", async move {
            let store = &rooms.inner.store;
            let remembered = async {
                let known = store.principals(std::slice::from_ref(&principal.id)).await?;
                if known.first() == Some(&principal) { Ok(()) } else { store.remember(&principal, unix_millis()).await }
            };
            if let Err(error) = remembered.await {
                tracing::warn!(principal = %principal.id, %error, "a name was not remembered");
                rooms.inner.remembered.remove(&principal.id);
            }
        });
    }

    /// The past of every document.
    pub fn history(&self) -> &History {
        &self.inner.history
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Does what must not end half-way, see [`Tasks::to_the_end`].
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.tasks.to_the_end(name, work).await.unwrap_or(Err(Error::Closed))
    }

    pub(crate) fn max_document_bytes(&self) -> usize {
        self.inner.max_document_bytes
    }

    pub(crate) fn max_kept_bytes(&self) -> u64 {
        self.inner.max_kept_bytes
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }
}

impl Open {
    /// False if its actor failed or is stopping.
    fn is_usable(&self) -> bool {
        !self.handle.commands.is_closed()
    }

    fn use_it(&self) -> DocumentHandle {
        self.share.touch();
        self.handle.clone()
    }

    /// True if the registry has the only handle.
    fn is_unused(&self) -> bool {
        self.handle.commands.strong_count() == 1
    }
}

/// Takes a document out of the registry when its actor has ended, however it did: nobody may ask for it again.
struct Left {
    registry: Weak<Inner>,
    name: DocumentName,
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.documents.remove_if(&self.name, |_, entry| !entry.is_usable());
        }
    }
}

/// How long documents that were asked to leave have for it, and how often those that nobody uses any more are looked for.
const LEAVING: Duration = Duration::from_millis(100);

/// Asks unused documents to leave while all together take more than they may. Ends with the registry.
async fn keep_budget(registry: Weak<Inner>, tasks: Tasks) {
    let Some(budget) = registry.upgrade().map(|registry| registry.budget.clone()) else { return };
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            () = budget.exceeded() => {}
        }
        while budget.excess() > 0 {
            match registry.upgrade() {
                Some(registry) => registry.make_room(budget.excess()),
                None => return,
            }
            tokio::select! {
                () = tasks.cancelled() => return,
                () = tokio::time::sleep(LEAVING) => {}
            }
        }
    }
}

impl Inner {
    /// Asks the longest unused documents to leave until `excess` bytes are free.
    fn make_room(&self, excess: usize) {
        let unused = self.documents.iter().filter(|entry| entry.is_unused());
        let mut shares: Vec<_> = unused.map(|entry| (entry.share.last_used(), entry.share.clone())).collect();
        shares.sort_unstable_by_key(|(last_used, _)| *last_used);
        let mut freed = 0;
        for (_, share) in shares {
            if freed >= excess {
                return;
            }
            freed += share.bytes();
            share.ask_to_leave();
        }
    }
}

pub(crate) fn check_title(title: &str) -> Result<String, Error> {
    let title = title.trim();
    let valid = !title.is_empty() && title.chars().count() <= MAX_TITLE_CHARS && !title.chars().any(char::is_control);
    if valid { Ok(title.to_owned()) } else { Err(Error::BadTitle) }
}

/// The first update of a text file's document.
pub(crate) fn document_of(room: &RoomId, node: &NodeId, text: &str) -> (DocumentName, Bytes) {
    let name = DocumentName::file(room.as_str(), node.as_str());
    let update = Replica::new().set_text(buildspaces_crdt::text::ROOT, text).unwrap_or_default();
    (name, update.into())
}

/// Turns a template's files into nodes and documents.
fn first_tree(room: &RoomId, by: &Principal, files: Vec<(String, String)>) -> Result<TreeChange, Error> {
    let mut tree = Tree::default();
    let mut documents = Vec::with_capacity(files.len());
    for (path, text) in files {
        let mut parent = None;
        let (folders, name) =
            path.rsplit_once('/').map_or((None, path.as_str()), |(folders, name)| (Some(folders), name));
        let mut so_far = String::new();
        for folder in folders.into_iter().flat_map(|folders| folders.split('/')) {
            so_far = if so_far.is_empty() { folder.to_owned() } else { format!("{so_far}/{folder}") };
            parent = match tree.view().at_path(&so_far) {
                Some(node) => Some(node.id.clone()),
                None => {
                    let (name, kind) = (folder.to_owned(), NodeKind::Folder);
                    let command = TreeCommand::Create { parent, name, kind, size: 0, text: None };
                    tree.handle(&by.name, NodeId::random(), command)?.changed.pop().map(|node| node.id)
                }
            };
        }
        let (name, kind, text) = (name.to_owned(), NodeKind::Text, Some(text));
        let outcome =
            tree.handle(&by.name, NodeId::random(), TreeCommand::Create { parent, name, kind, size: 0, text })?;
        documents.extend(outcome.text.iter().map(|(node, text)| document_of(room, node, text)));
    }
    documents.retain(|(_, update)| !update.is_empty());
    Ok(TreeChange { changed: tree.view().nodes().cloned().collect(), deleted: Vec::new(), documents })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
