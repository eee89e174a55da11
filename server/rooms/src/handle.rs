//! A cheap handle to one open document. While one exists the document stays loaded, so hold it for as
//! long as you use it and not longer.

use buildspaces_crdt::protocol::Message;
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_policy::{Authority, Principal};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::actor::Command;
use crate::outbox::{CloseReason, Inbox, outbox};

/// See the module.
#[derive(Clone, Debug)]
pub struct DocumentHandle {
    pub(crate) commands: mpsc::Sender<Command>,
}

/// One client's place in a document. Dropping it disconnects.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    document: DocumentHandle,
}

impl DocumentHandle {
    /// Connects a client. `stamp`: the server knows who this is and writes it into awareness.
    pub async fn connect(&self, authority: Authority, stamp: bool) -> Result<(Connection, Inbox), Error> {
        let (outbox, inbox) = outbox();
        let peer = ConnectionId::new();
        self.send(Command::Connect { peer, authority, stamp, outbox }).await?;
        Ok((Connection { id: peer, document: self.clone() }, inbox))
    }

    /// What a replica with `state_vector` (lib0 v1) lacks, as a v1 update.
    pub async fn diff(&self, state_vector: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.ask(|reply| Command::Diff { state_vector, reply }).await?
    }

    /// Applies a v1 update and returns once it is durable.
    pub async fn apply(&self, by: &Principal, update: Vec<u8>) -> Result<(), Error> {
        let (by, update) = (by.clone(), Bytes::from(update));
        self.ask(|reply| Command::Submit { by, update, reply }).await?
    }

    /// The file's text.
    pub async fn text(&self) -> Result<String, Error> {
        self.ask(|reply| Command::Text { reply }).await?
    }

    /// Turns the file's text into `text` by few edits; returns once that is durable.
    pub async fn replace_text(&self, by: &Principal, text: String) -> Result<(), Error> {
        let by = by.clone();
        self.ask(|reply| Command::Replace { by, text, reply }).await?
    }

    /// A map of the document as JSON.
    pub(crate) async fn map(&self, map: &'static str) -> Result<Vec<(String, Value)>, Error> {
        self.ask(|reply| Command::Map { map, reply }).await?
    }

    /// Sets and removes keys of a map; returns once that is durable.
    pub(crate) async fn project(&self, map: &'static str, entries: Vec<(String, Option<Value>)>) -> Result<(), Error> {
        self.ask(|reply| Command::Project { map, entries, reply }).await?
    }

    /// Ends every connection.
    pub(crate) async fn close_all(&self, reason: CloseReason) {
        let _ = self.send(Command::CloseAll { reason }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Closed)
    }
}

impl Connection {
    /// Hands over what one frame held. Waits while the document is busy.
    pub async fn receive(&self, messages: Vec<Message>) -> Result<(), Error> {
        self.document.send(Command::Receive { peer: self.id, messages }).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let command = Command::Disconnect { peer: self.id };
        // The mailbox may be full: then a short-lived task waits for room, so that nobody stays as a ghost.
        if let Err(mpsc::error::TrySendError::Full(command)) = self.document.commands.try_send(command) {
            let commands = self.document.commands.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    let _ = commands.send(command).await;
                });
            }
        }
    }
}
