//! Answers what the document is, and only with what is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use buildspaces_crdt::{DocumentName, Replica};
use bytes::Bytes;

use super::{Actor, Reader};
use crate::history::blocking;
use crate::ports::Store;
use crate::{Error, Position};

/// Readers who wait until what they are to be told is durable, in the order of that.
pub(super) type Readers = VecDeque<(Reader, Position, Bytes)>;

impl Actor {
    pub(super) fn read(&mut self, reader: Reader) {
        self.document.end_turn(Instant::now(), &mut self.effects);
        let seq = self.document.seq();
        if seq != self.saved && self.document.is_log_stuck() {
            return self.read_from_the_log(reader);
        }
        let replica = self.document.replica();
        let state = if reader.with_state { replica.state().into() } else { Bytes::new() };
        let position = Position { seq, state_vector: replica.state_vector() };
        self.readers.push_back((reader, position, state));
        self.answer_readers();
    }

    /// Answers those for whom the log is far enough; all, from the log, if it takes no more.
    pub(super) fn answer_readers(&mut self) {
        while let Some((reader, position, state)) = self.readers.pop_front_if(|(_, at, _)| at.seq <= self.saved) {
            let _ = reader.reply.send(Ok((position, state)));
        }
        if self.document.is_log_stuck() {
            for (reader, ..) in std::mem::take(&mut self.readers) {
                self.read_from_the_log(reader);
            }
        }
    }

    fn read_from_the_log(&self, reader: Reader) {
        let (store, name) = (self.setup.store.clone(), self.setup.name.clone());
        self.setup.tasks.spawn("reading a document from the log", async move {
            let _ = reader.reply.send(as_stored(store, &name, reader.with_state).await);
        });
    }
}

async fn as_stored(store: Arc<dyn Store>, name: &DocumentName, with_state: bool) -> Result<(Position, Bytes), Error> {
    let stored = store.load(name).await?;
    let work = blocking(move || {
        let snapshot = stored.snapshot.as_ref().map(|(_, state)| state);
        let replica = Replica::load(snapshot, &stored.updates)?;
        let state = if with_state { replica.state().into() } else { Bytes::new() };
        Ok((Position { seq: stored.seq, state_vector: replica.state_vector() }, state))
    });
    work.await?.map_err(|error: buildspaces_crdt::replica::LoadError| Error::Storage(error.to_string().into()))
}
