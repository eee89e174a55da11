//! Rooms and their documents. (being written)
pub mod tree;

use std::sync::Arc;
use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::{Principal, PrincipalKind};
use tokio::sync::broadcast;
use tree::{Node, TreeCommand, TreeView};

/// Why something about a room could not be done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no room {0}")]
    NoSuchRoom(RoomId),
    #[error("there is no such file or folder; somebody may have deleted it")]
    NoSuchNode,
    #[error("the server is stopping or reloading this document; try again")]
    Closed,
    #[error("{0}")]
    Storage(Arc<str>),
    #[error("this update is not valid: {0}")]
    InvalidUpdate(String),
    #[error("tree: {0}")]
    Tree(String),
}

/// What happened in a room. Level-triggered consumers only: after `Lagged`, look at everything.
#[derive(Clone, Debug)]
pub enum RoomEvent {
    /// A text file's document changed.
    Edited { node: NodeId, by: PrincipalKind },
    /// Nodes were created, changed (with their new state) or deleted.
    Tree { changed: Vec<Node>, deleted: Vec<NodeId>, by: PrincipalKind },
}

/// Every room of this process. Clones are cheap and share everything.
#[derive(Clone, Debug)]
pub struct Rooms {}
impl Rooms {
    /// Opens the room if need be (single flight).
    pub async fn room(&self, _id: &RoomId) -> Result<RoomHandle, Error> { todo!() }
}

/// A cheap handle to one open room.
#[derive(Clone, Debug)]
pub struct RoomHandle {}
impl RoomHandle {
    pub fn id(&self) -> &RoomId { todo!() }
    /// The tree as it is now.
    pub fn tree(&self) -> Arc<TreeView> { todo!() }
    /// Checks, journals and projects one command. Returns the created or changed node(s), after they are durable.
    pub async fn command(&self, _by: &Principal, _command: TreeCommand) -> Result<Vec<Node>, Error> { todo!() }
    /// Changes from now on.
    pub fn events(&self) -> broadcast::Receiver<RoomEvent> { todo!() }
    /// The shared document of a text file.
    pub async fn file(&self, _node: &NodeId) -> Result<DocumentHandle, Error> { todo!() }
    /// The text of a text file, now.
    pub async fn text(&self, _node: &NodeId) -> Result<String, Error> { todo!() }
    /// Sets (`Some`) and removes (`None`) keys of a map of the room's projected `runs` document.
    /// Values equal to what is there are not written. Durable when it returns.
    pub async fn project_runs(&self, _map: RunsMap, _entries: Vec<(String, Option<serde_json::Value>)>) -> Result<(), Error> { todo!() }
}

/// The maps of the projected `runs` document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsMap {
    /// run id -> run summary
    Runs,
    /// run id -> the last lines of its output
    Logs,
    /// one key, `state` -> whether runs are possible and how the sandbox is
    Sandbox,
}

/// A cheap handle to one open document.
#[derive(Clone, Debug)]
pub struct DocumentHandle {}
impl DocumentHandle {
    /// What a replica with `state_vector` (lib0 v1) lacks, as a v1 update.
    pub async fn diff(&self, _state_vector: Vec<u8>) -> Result<Vec<u8>, Error> { todo!() }
    /// Applies a v1 update and returns once it is durable.
    pub async fn apply(&self, _by: &Principal, _update: Vec<u8>) -> Result<(), Error> { todo!() }
    /// The file's text.
    pub async fn text(&self) -> Result<String, Error> { todo!() }
}
