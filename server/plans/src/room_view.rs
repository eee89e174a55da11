//! The real rooms behind the engine's port. Nothing is decided here.

use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::Principal;
use buildspaces_rooms::{Error, RoomEvent, RoomHandle, Rooms, RunsMap};
use tokio::sync::broadcast;

use crate::ports::{RoomView, RoomViews};

#[async_trait]
impl RoomViews for Rooms {
    async fn room(&self, room: &RoomId) -> Result<Arc<dyn RoomView>, Error> {
        Ok(Arc::new(Self::room(self, room).await?))
    }
}

#[async_trait]
impl RoomView for RoomHandle {
    fn text_files(&self) -> Vec<(String, NodeId)> {
        self.tree().text_files().into_iter().map(|(path, node)| (path, node.id.clone())).collect()
    }

    fn events(&self) -> broadcast::Receiver<RoomEvent> {
        Self::events(self)
    }

    async fn text(&self, node: &NodeId) -> Result<String, Error> {
        Self::text(self, node).await
    }

    async fn editors(&self, node: &NodeId, since: UnixMillis) -> Result<Vec<Principal>, Error> {
        Self::editors(self, node, since).await
    }

    async fn project_runs(&self, map: RunsMap, entries: Vec<(String, Option<serde_json::Value>)>) -> Result<(), Error> {
        Self::project_runs(self, map, entries).await
    }
}
