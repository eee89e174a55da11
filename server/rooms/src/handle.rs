//! A cheap handle to one open document. While one exists the document stays loaded, so hold it for as
//! long as you use it and not longer.

use std::sync::Arc;

use buildspaces_crdt::protocol::Message;
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_policy::{Authority, Principal};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use crate::actor::{Command, Newcomer, Projection, Proposal, Reader, Removal};
use crate::budget::Share;
use crate::copies::Place;
use crate::document::Dialect;
use crate::outbox::{CloseReason, Lane};
use crate::ports::Deletion;
use crate::{Error, Position, Present};

/// See the module.
#[derive(Clone, Debug)]
pub struct DocumentHandle {
    pub(crate) commands: mpsc::Sender<Box<Command>>,
    pub(crate) share: Arc<Share>,
}

/// One client's place in a document. Dropping it disconnects.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    document: DocumentHandle,
}

impl DocumentHandle {
    /// Connects a client, which is written to through `lane`. `stamp`: the server knows who this is and writes it into
    /// awareness.
    pub async fn connect(
        &self,
        authority: Authority,
        stamp: bool,
        dialect: Dialect,
        lane: Lane,
    ) -> Result<Connection, Error> {
        let id = lane.id();
        self.send(Command::Connect(Box::new(Newcomer { authority, stamp, dialect, lane }))).await?;
        Ok(Connection { id, document: self.clone() })
    }

    /// What a replica with `state_vector` (lib0 v1) lacks, as a v1 update.
    pub async fn diff(&self, state_vector: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.ask(|reply| Command::Diff { state_vector, reply }).await?
    }

    /// Applies a v1 update that this program made, and returns once it is durable. One from outside goes through
    /// [`DocumentHandle::propose`], which holds it to more.
    pub async fn apply_own(&self, by: &Principal, update: Vec<u8>) -> Result<(), Error> {
        let (by, update) = (Box::new(by.clone()), Bytes::from(update));
        self.ask(|reply| Command::Submit { by, update, reply }).await?
    }

    /// Applies a v1 update from outside and returns once it is durable; with [`Error::Changed`] if the last update is another than
    /// `expected`.
    pub async fn propose(&self, by: &Principal, update: Bytes, expected: Option<u64>) -> Result<(), Error> {
        let by = by.clone();
        self.ask(|reply| Command::Propose(Box::new(Proposal { by, update, expected, reply }))).await?
    }

    /// The whole document as it is now. Returns once that is durable, so that nobody acts on what a crash could take back; while the
    /// log takes no more, it is the document as it is in the log. [`Error::Busy`]: others hold too much of such, see [`crate::copies`].
    pub async fn present(&self) -> Result<Present, Error> {
        let read = match self.read(true, None).await {
            Err(Error::Busy) => {
                let place = self.share.copies().place(self.share.updates()).await?;
                self.read(true, Some(place)).await
            }
            read => read,
        };
        let (Position { seq, state_vector }, state) = read?;
        Ok(Present { seq, state, state_vector })
    }

    /// Where the document stands, under the same conditions and without writing out all of it.
    pub async fn position(&self) -> Result<Position, Error> {
        Ok(self.read(false, None).await?.0)
    }

    async fn read(&self, with_state: bool, place: Option<Place>) -> Result<(Position, Bytes), Error> {
        self.ask(|reply| Command::Read(Reader { with_state, place, reply })).await?
    }

    /// Deletes the document as it is then; with [`Error::Changed`] if the last update is another than `expected`.
    pub(crate) async fn remove(&self, expected: Option<u64>, deletion: Deletion) -> Result<(), Error> {
        self.ask(|reply| Command::Remove(Box::new(Removal { expected, deletion, reply }))).await?
    }

    /// Completes when nothing can be asked of the document any more.
    pub(crate) async fn closed(&self) {
        self.commands.closed().await;
    }

    /// The file's text.
    pub async fn text(&self) -> Result<String, Error> {
        self.ask(|reply| Command::Text { reply }).await?
    }

    /// Turns the file's text into `text` by few edits; returns once that is durable.
    pub async fn replace_text(&self, by: &Principal, text: String) -> Result<(), Error> {
        let (by, text) = (Box::new(by.clone()), text.into_boxed_str());
        self.ask(|reply| Command::Replace { by, text, reply }).await?
    }

    /// A map of the document as JSON.
    pub(crate) async fn map(&self, map: &'static str) -> Result<Vec<(String, Value)>, Error> {
        self.ask(|reply| Command::Map { map, reply }).await?
    }

    /// Sets and removes keys of a map; returns once that is durable.
    pub(crate) async fn project(&self, map: &'static str, entries: Vec<(String, Option<Value>)>) -> Result<(), Error> {
        self.ask(|reply| Command::Project(Box::new(Projection { map, entries, reply }))).await?
    }

    /// Ends every connection.
    pub(crate) async fn close_all(&self, reason: CloseReason) {
        let _ = self.send(Command::CloseAll { reason: Box::new(reason) }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(Box::new(command)).await.map_err(|_| Error::Closed)
    }
}

impl Connection {
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Hands over a message. Waits while the document is busy, or while many large messages wait for it.
    pub async fn receive(&self, message: Message) -> Result<(), Error> {
        let step = tracing::trace_span!(target: "keystroke", "receive");
        let receive = async {
            let place = self.document.share.place(message.bytes()).await;
            self.document.send(Command::Receive { peer: self.id, message, place }).await
        };
        receive.instrument(step).await
    }

    /// Hands over an application's own message to the document's other clients. Waits as [`Connection::receive`] does.
    pub async fn stateless(&self, payload: Bytes) -> Result<(), Error> {
        let place = self.document.share.place(payload.len()).await;
        self.document.send(Command::Stateless { peer: self.id, payload, place }).await
    }

    /// From now on the client may do what `authority` may.
    pub async fn authorize(&self, authority: Authority) -> Result<(), Error> {
        self.document.send(Command::Authorize { peer: self.id, authority: Box::new(authority) }).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let command = Box::new(Command::Disconnect { peer: self.id });
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
