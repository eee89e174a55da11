//! Rooms of plain strings, whose edits a test makes and whose projection it reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::{Error, RoomEvent, RunsMap};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::ports::{RoomView, RoomViews};

/// Events a slow follower may miss before it is told so; small, so that tests can make it fall behind.
const EVENTS: usize = 16;

/// Any number of rooms; an unknown one is made when it is asked for. Clones share them.
#[derive(Clone, Default, Debug)]
pub struct FakeRooms(Arc<Mutex<HashMap<RoomId, FakeRoom>>>);

impl FakeRooms {
    pub fn get(&self, room: &RoomId) -> FakeRoom {
        let mut rooms = self.0.lock().expect("nothing that holds the lock panics");
        rooms.entry(room.clone()).or_default().clone()
    }
}

/// One room. Clones are the same room.
#[derive(Clone, Debug)]
pub struct FakeRoom {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<RoomEvent>,
}

#[derive(Default, Debug)]
struct State {
    /// By path.
    files: BTreeMap<String, (NodeId, String)>,
    runs: BTreeMap<String, Value>,
    logs: BTreeMap<String, Value>,
    sandbox: BTreeMap<String, Value>,
    /// By path: who edited it, and when.
    editors: BTreeMap<String, Vec<(UnixMillis, Principal)>>,
    /// Calls of `project_runs` that fail from now on.
    failing: u32,
}

impl Default for FakeRoom {
    fn default() -> Self {
        Self { state: Arc::default(), events: broadcast::Sender::new(EVENTS) }
    }
}

/// A principal of a kind, called after it.
fn somebody(kind: PrincipalKind) -> Principal {
    Principal { kind, name: format!("{kind:?}").into(), ..Principal::system() }
}

impl FakeRoom {
    /// Sets a file's text and tells followers; a new path is a change of the tree.
    pub fn edit(&self, path: &str, text: &str, by: PrincipalKind) {
        let event = {
            let mut state = self.lock();
            if let Some((node, old)) = state.files.get_mut(path) {
                text.clone_into(old);
                RoomEvent::Edited { node: node.clone(), by: somebody(by) }
            } else {
                state.files.insert(path.to_owned(), (NodeId::random(), text.to_owned()));
                RoomEvent::Tree { changed: Vec::new(), deleted: Vec::new(), by: somebody(by) }
            }
        };
        // Nobody may be following.
        let _ = self.events.send(event);
    }

    /// Renames a file.
    pub fn rename(&self, from: &str, to: &str, by: PrincipalKind) {
        {
            let mut state = self.lock();
            let file = state.files.remove(from).expect("the file exists");
            state.files.insert(to.to_owned(), file);
        }
        let _ = self.events.send(RoomEvent::Tree { changed: Vec::new(), deleted: Vec::new(), by: somebody(by) });
    }

    /// Says that somebody edited the file at a time, and that something of it is still there.
    pub fn edited_by(&self, path: &str, at: UnixMillis, by: Principal) {
        self.lock().editors.entry(path.to_owned()).or_default().push((at, by));
    }

    /// Path and text of every file, by path.
    pub fn files(&self) -> Vec<(String, String)> {
        self.lock().files.iter().map(|(path, (_, text))| (path.clone(), text.clone())).collect()
    }

    /// A map of the projected document.
    pub fn projected(&self, map: RunsMap) -> BTreeMap<String, Value> {
        let state = self.lock();
        match map {
            RunsMap::Runs => state.runs.clone(),
            RunsMap::Logs => state.logs.clone(),
            RunsMap::Sandbox => state.sandbox.clone(),
        }
    }

    /// The next `calls` of `project_runs` fail.
    pub fn fail(&self, calls: u32) {
        self.lock().failing = calls;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that holds the lock panics")
    }
}

#[async_trait]
impl RoomViews for FakeRooms {
    async fn room(&self, room: &RoomId) -> Result<Arc<dyn RoomView>, Error> {
        Ok(Arc::new(self.get(room)))
    }
}

#[async_trait]
impl RoomView for FakeRoom {
    fn text_files(&self) -> Vec<(String, NodeId)> {
        self.lock().files.iter().map(|(path, (node, _))| (path.clone(), node.clone())).collect()
    }

    fn events(&self) -> broadcast::Receiver<RoomEvent> {
        self.events.subscribe()
    }

    async fn text(&self, node: &NodeId) -> Result<String, Error> {
        let state = self.lock();
        let file = state.files.values().find(|(known, _)| known == node);
        file.map(|(_, text)| text.clone()).ok_or(Error::NoSuchNode)
    }

    async fn editors(&self, node: &NodeId, since: UnixMillis) -> Result<Vec<Principal>, Error> {
        let state = self.lock();
        let path = state.files.iter().find(|(_, (known, _))| known == node).map(|(path, _)| path);
        let path = path.ok_or(Error::NoSuchNode)?;
        let edits = state.editors.get(path).into_iter().flatten().filter(|(at, _)| *at > since);
        Ok(edits.map(|(_, by)| by.clone()).collect())
    }

    async fn project_runs(&self, map: RunsMap, entries: Vec<(String, Option<Value>)>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(Error::Closed);
        }
        let target = match map {
            RunsMap::Runs => &mut state.runs,
            RunsMap::Logs => &mut state.logs,
            RunsMap::Sandbox => &mut state.sandbox,
        };
        for (key, value) in entries {
            match value {
                Some(value) => target.insert(key, value),
                None => target.remove(&key),
            };
        }
        Ok(())
    }
}
