//! One open room: its tree's authority, and the projections of its tree and runs.
//!
//! A task owns the [`Tree`], because a command must go from check to journal to projection even if the
//! one who asked has gone. Others read the tree through a picture that is replaced with each change.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{NodeId, PrincipalId, RoomId, RoomKind};
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::outbox::CloseReason;
use crate::ports::{BlobStore, KindChange, RoomRecord, Store, TreeChange};
use crate::rooms::Rooms;
use crate::tree::{Node, NodeKind, Outcome, Tree, TreeCommand, TreeView};
use crate::{DocumentHandle, Error, document_of};

/// Tree commands that wait for one room. When it is full, those who ask wait.
const MAILBOX: usize = 64;

/// Events that a slow listener may be behind. Past it the listener is told that it missed some and
/// looks at everything.
const EVENTS: usize = 1024;

/// How long a room that nobody uses stays open.
#[cfg(not(test))]
const IDLE: Duration = Duration::from_secs(60);
#[cfg(test)]
const IDLE: Duration = Duration::from_millis(100);

/// Name of the map in the projected tree document.
const NODES: &str = "nodes";

/// What happened in a room. Consumers are level-triggered: after `Lagged`, look at everything.
#[derive(Clone, Debug)]
pub enum RoomEvent {
    /// A text file's document changed.
    Edited { node: NodeId, by: Principal },
    /// Nodes were created, changed (as they are now) or deleted.
    Tree { changed: Vec<Node>, deleted: Vec<NodeId>, by: Principal },
}

/// The maps of the projected `runs` document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsMap {
    /// run id -> summary of the run
    Runs,
    /// run id -> the last lines of its output
    Logs,
    /// one key, `state` -> whether runs are possible and how the sandbox is
    Sandbox,
}

impl RunsMap {
    fn root(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Logs => "logs",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A cheap handle to one open room.
#[derive(Clone, Debug)]
pub struct RoomHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// As it was when the room was opened.
    record: RoomRecord,
    /// As it is now.
    tenancy: watch::Sender<Tenancy>,
    /// Held while that changes, so that here and in the store the same comes last.
    changing: tokio::sync::Mutex<()>,
    rooms: Rooms,
    view: RwLock<Arc<TreeView>>,
    events: broadcast::Sender<RoomEvent>,
    commands: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    by: Principal,
    command: TreeCommand,
    reply: Reply,
}

/// Where the one who asked learns what became of it.
type Reply = oneshot::Sender<Result<Vec<Node>, Error>>;

impl RoomHandle {
    /// Opens a stored room and starts its task. Boxed, because the task may open other documents and so
    /// this function's own type again.
    pub(crate) fn open(rooms: Rooms, id: RoomId) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let store = rooms.store().clone();
            let record = store.room(&id).await?.ok_or_else(|| Error::NoSuchRoom(id.clone()))?;
            let tree = Tree::restore(store.nodes(&id).await?);
            let (commands, mailbox) = mpsc::channel(MAILBOX);
            let (events, _) = broadcast::channel(EVENTS);
            let view = RwLock::new(Arc::new(tree.view().clone()));
            let tasks = rooms.tasks().clone();
            let (tenancy, changing) = (watch::Sender::new(record.tenancy.clone()), tokio::sync::Mutex::default());
            let handle = Self { inner: Arc::new(Inner { record, tenancy, changing, rooms, view, events, commands }) };
            // The journal may be ahead of the projection after a crash.
            let wanted = tree.view().nodes().cloned().collect();
            handle.repair_projection(wanted).await?;
            tasks.spawn("room", own_tree(handle.clone(), store, tree, mailbox));
            Ok(handle)
        })
    }

    pub fn id(&self) -> &RoomId {
        &self.inner.record.id
    }

    /// What is kept of the room, as it is now.
    pub fn record(&self) -> RoomRecord {
        RoomRecord { tenancy: self.inner.tenancy.borrow().clone(), ..self.inner.record.clone() }
    }

    pub fn created_by(&self) -> &PrincipalId {
        &self.inner.record.created_by
    }

    /// What the room is and whose, now and later. It is no handle: a room closes all the same, and whoever opens it anew asks anew.
    pub fn tenancy(&self) -> watch::Receiver<Tenancy> {
        self.inner.tenancy.subscribe()
    }

    /// Makes it a room of another kind, which decides about its next sandbox. Durable when it returns; carried out once begun. Whether there is such
    /// a kind is asked by the caller.
    pub async fn change_kind(&self, to: RoomKind, by: &Principal) -> Result<(), Error> {
        let (room, by) = (self.clone(), by.id.clone());
        let change = async move {
            let _changing = room.inner.changing.lock().await;
            let from = room.inner.tenancy.borrow().kind.clone();
            if from == to {
                return Ok(());
            }
            let change = KindChange { at: unix_millis(), by, from, to };
            room.inner.rooms.store().change_kind(room.id(), &change).await?;
            let KindChange { by, from, to, .. } = change;
            tracing::info!(room = %room.id(), %by, %from, %to, "a room became one of another kind");
            room.inner.tenancy.send_modify(|tenancy| tenancy.kind = to);
            Ok(())
        };
        self.inner.rooms.to_the_end("changing a room's kind", change).await
    }

    /// Every change of its kind, newest first.
    pub async fn kind_changes(&self) -> Result<Vec<KindChange>, Error> {
        Ok(self.inner.rooms.store().kind_changes(self.id()).await?)
    }

    /// The tree as it is now.
    pub fn tree(&self) -> Arc<TreeView> {
        self.inner.view.read().expect("no code panics while it replaces the picture").clone()
    }

    /// Checks, journals and projects one command. Returns the created or changed nodes, once they are
    /// durable. If the caller goes away the command still takes effect.
    pub async fn command(&self, by: &Principal, command: TreeCommand) -> Result<Vec<Node>, Error> {
        let (reply, answer) = oneshot::channel();
        let request = Request { by: by.clone(), command, reply };
        self.inner.commands.send(request).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Changes from now on.
    pub fn events(&self) -> broadcast::Receiver<RoomEvent> {
        self.inner.events.subscribe()
    }

    pub(crate) fn event_sender(&self) -> broadcast::Sender<RoomEvent> {
        self.inner.events.clone()
    }

    /// The shared document of a text file.
    pub async fn file(&self, node: &NodeId) -> Result<DocumentHandle, Error> {
        self.inner.rooms.document(&DocumentName::file(self.id().as_str(), node.as_str())).await
    }

    /// The text of a text file, now.
    pub async fn text(&self, node: &NodeId) -> Result<String, Error> {
        self.inner.rooms.again(|| async { self.file(node).await?.text().await }).await
    }

    /// Where the bytes are kept of its files that are no documents.
    pub fn blobs(&self) -> Arc<dyn BlobStore> {
        self.inner.rooms.store().clone()
    }

    /// How many of them may be kept.
    pub fn max_kept_bytes(&self) -> u64 {
        self.inner.rooms.max_kept_bytes()
    }

    /// The people and agents whose edits make the difference between a file's text as it was at `since` and as it is now.
    pub async fn editors(&self, node: &NodeId, since: UnixMillis) -> Result<Vec<Principal>, Error> {
        let name = DocumentName::file(self.id().as_str(), node.as_str());
        let history = self.inner.rooms.history().clone();
        history.editors(&name, since, buildspaces_crdt::text::ROOT).await
    }

    /// Sets (`Some`) and removes (`None`) keys of a map of the room's projected `runs` document. Values
    /// equal to what is there are not written. Durable when it returns.
    pub async fn project_runs(&self, map: RunsMap, entries: Vec<(String, Option<Value>)>) -> Result<(), Error> {
        let document = self.inner.rooms.document(&DocumentName::runs(self.id().as_str())).await?;
        document.project(map.root(), entries).await
    }

    /// The present keys of a map of the projected `runs` document.
    pub async fn projected_runs(&self, map: RunsMap) -> Result<Vec<(String, Value)>, Error> {
        let document = self.inner.rooms.document(&DocumentName::runs(self.id().as_str())).await?;
        document.map(map.root()).await
    }

    /// True if both are of the same opening of a room.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// True if the registry and the room's task have the only handles, and nobody has one of its files open or hears of its changes.
    pub(crate) fn is_unused(&self) -> bool {
        let events = &self.inner.events;
        Arc::strong_count(&self.inner) == 2 && events.strong_count() == 1 && events.receiver_count() == 0
    }

    /// Makes the projected tree show exactly these nodes.
    async fn repair_projection(&self, nodes: Vec<Node>) -> Result<(), Error> {
        let wanted: HashSet<String> = nodes.iter().map(|node| node.id.to_string()).collect();
        let document = self.inner.rooms.document_of_open_room(self, &DocumentName::tree(self.id().as_str()));
        let present = document.map(NODES).await?.into_iter().map(|(key, _)| key);
        let deleted = present.filter(|key| !wanted.contains(key)).map(|key| (key, None)).collect();
        self.project_tree(nodes, deleted).await
    }

    /// Writes and removes nodes of the projected tree, in one update.
    async fn project_tree(&self, nodes: Vec<Node>, deleted: Vec<(String, Option<Value>)>) -> Result<(), Error> {
        let document = self.inner.rooms.document_of_open_room(self, &DocumentName::tree(self.id().as_str()));
        let mut entries = deleted;
        entries.extend(nodes.iter().map(|node| (node.id.to_string(), Some(to_value(node)))));
        document.project(NODES, entries).await
    }
}

fn to_value(node: &Node) -> Value {
    serde_json::to_value(node).expect("a node has only string keys")
}

/// The room's task. Commands of one principal that wait at the same moment share a journal entry and a projection, so
/// that a program that writes a thousand files does not keep people waiting. It ends when nobody has used the room for a while.
async fn own_tree(room: RoomHandle, store: Arc<dyn Store>, mut tree: Tree, mut mailbox: mpsc::Receiver<Request>) {
    let tasks = room.inner.rooms.tasks().clone();
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            count = mailbox.recv_many(&mut waiting, MAILBOX) => if count == 0 { return },
            () = tokio::time::sleep(IDLE) => if room.inner.rooms.close_room(&room, || !mailbox.is_empty()) { return },
        }
        while let Some(by) = waiting.first().map(|request| request.by.clone()) {
            let count = waiting.iter().take_while(|request| request.by == by).count();
            perform(&room, store.as_ref(), &mut tree, &by, waiting.drain(..count).collect()).await;
        }
    }
}

/// What a group of commands amounts to.
#[derive(Default)]
struct Group {
    changed: BTreeMap<NodeId, Node>,
    deleted: Vec<NodeId>,
    documents: Vec<(DocumentName, Bytes)>,
    /// Texts that existing documents get.
    retyped: Vec<(NodeId, String)>,
    accepted: Vec<(Reply, Vec<Node>)>,
}

/// Checks commands one after the other, journals and projects what was accepted, and answers all.
async fn perform(room: &RoomHandle, store: &dyn Store, tree: &mut Tree, by: &Principal, requests: Vec<Request>) {
    let mut next = tree.clone();
    let mut group = Group::default();
    for Request { command, reply, .. } in requests {
        let is_retype = matches!(command, TreeCommand::Retype { .. });
        match next.handle(&by.name, NodeId::random(), command) {
            Ok(outcome) => group.add(room.id(), outcome, is_retype, reply),
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }
    group.changed.retain(|id, node| tree.view().node(id) != Some(node));
    let accepted = std::mem::take(&mut group.accepted);
    let result = write(room, store, tree, by, next, group).await;
    for (reply, nodes) in accepted {
        let _ = reply.send(result.clone().map(|()| nodes));
    }
}

impl Group {
    fn add(&mut self, room: &RoomId, Outcome { changed, deleted, text }: Outcome, is_retype: bool, reply: Reply) {
        for node in &changed {
            self.changed.insert(node.id.clone(), node.clone());
        }
        for id in &deleted {
            self.changed.remove(id);
        }
        self.deleted.extend(deleted);
        match text {
            Some(text) if is_retype => self.retyped.push(text),
            Some((node, text)) if !text.is_empty() => self.documents.push(document_of(room, &node, &text)),
            _ => {}
        }
        self.accepted.push((reply, changed));
    }
}

/// Journals a group, then shows it.
async fn write(
    room: &RoomHandle,
    store: &dyn Store,
    tree: &mut Tree,
    by: &Principal,
    next: Tree,
    Group { changed, deleted, documents, retyped, .. }: Group,
) -> Result<(), Error> {
    if changed.is_empty() && deleted.is_empty() {
        return Ok(());
    }
    let changed: Vec<Node> = changed.into_values().collect();
    // Before the tree says that the file is a text: nobody can have it open, so nothing typed is replaced, and a crash
    // between the two leaves no text that is not the file's.
    for (node, text) in retyped {
        let name = DocumentName::file(room.id().as_str(), node.as_str());
        room.inner.rooms.document_of_open_room(room, &name).replace_text(by, text).await?;
    }
    let written: Vec<DocumentName> = documents.iter().map(|(name, _)| name.clone()).collect();
    let change = TreeChange { changed: changed.clone(), deleted: deleted.clone(), documents };
    store.change_tree(room.id(), &by.id, unix_millis(), change).await?;
    let was_text = |node: &NodeId| tree.view().node(node).is_some_and(|node| node.kind == NodeKind::Text);
    let no_text = changed.iter().filter(|node| node.kind != NodeKind::Text).map(|node| &node.id);
    let texts: Vec<NodeId> = deleted.iter().chain(no_text).filter(|node| was_text(node)).cloned().collect();
    *tree = next;
    *room.inner.view.write().expect("no code panics while it reads the picture") = Arc::new(tree.view().clone());
    let removed = deleted.iter().map(|id| (id.to_string(), None)).collect();
    room.project_tree(changed.clone(), removed).await?;
    let gone = changed.iter().filter(|node| node.kind != NodeKind::Text).map(|node| &node.id);
    for node in deleted.iter().chain(gone) {
        room.inner.rooms.close_file(room.id(), node, CloseReason::Gone).await;
    }
    if let Some(listener) = room.inner.rooms.listener() {
        for document in written.iter().filter(|document| listener.wants(document)) {
            listener.changed(document, 1, std::slice::from_ref(by));
        }
        let name = |node: &NodeId| DocumentName::file(room.id().as_str(), node.as_str());
        let gone: Vec<DocumentName> = texts.iter().map(name).collect();
        if !gone.is_empty() {
            listener.deleted(&gone, by).await;
        }
    }
    // Nobody listening is fine: consumers look at everything when they begin.
    let _ = room.inner.events.send(RoomEvent::Tree { changed, deleted, by: by.clone() });
    Ok(())
}
