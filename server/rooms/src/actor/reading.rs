//! Answers what the document is, and only with what is durable.
//!
//! Whoever reads all of it holds that until they have read it, which may be long. So those who read it in one state share it, and what cannot be shared
//! takes a place among [`crate::copies`].

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use buildspaces_crdt::{DocumentName, Replica};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};

use super::{Actor, Reader};
use crate::copies::{Copies, Place, Written};
use crate::history::blocking;
use crate::ports::Store;
use crate::{Error, Position};

type Answer = Result<(Position, Bytes), Error>;

/// Those who read, and what they share.
#[derive(Default)]
pub(super) struct Readers {
    /// Who waits until what they are to be told is durable, in the order of that.
    waiting: VecDeque<(Reader, Position, Bytes)>,
    /// The document as it was after this update, for as long as anybody holds it.
    written: Option<(u64, Weak<Written>)>,
    /// What is being read from the log, which had this update when that began.
    from_log: Option<(u64, WeakShared<BoxFuture<'static, Answer>>)>,
}

impl Actor {
    pub(super) fn read(&mut self, mut reader: Reader) {
        self.document.end_turn(Instant::now(), &mut self.effects);
        let seq = self.document.seq();
        if seq != self.saved && self.document.is_log_stuck() {
            return self.read_from_the_log(reader);
        }
        let state = if reader.with_state { self.state(seq, reader.place.take()) } else { Ok(Bytes::new()) };
        match state {
            Ok(state) => {
                let position = Position { seq, state_vector: self.document.replica().state_vector() };
                self.readers.waiting.push_back((reader, position, state));
                self.answer_readers();
            }
            Err(error) => {
                let _ = reader.reply.send(Err(error));
            }
        }
    }

    /// All of the document: what newcomers are sent, or what somebody else reads just now, or a copy.
    fn state(&mut self, seq: u64, place: Option<Place>) -> Result<Bytes, Error> {
        if let Some(state) = self.document.state_of_newcomers() {
            return Ok(state);
        }
        let written = self.readers.written.as_ref().filter(|(at, _)| *at == seq);
        if let Some(written) = written.and_then(|(_, written)| written.upgrade()) {
            return Ok(written.bytes());
        }
        let share = &self.setup.share;
        let place = place.map_or_else(|| share.copies().try_place(share.updates()), Ok)?;
        let written = place.written(self.document.replica().state());
        self.readers.written = Some((seq, Arc::downgrade(&written)));
        Ok(written.bytes())
    }

    /// Answers those for whom the log is far enough; all, from the log, if it takes no more.
    pub(super) fn answer_readers(&mut self) {
        let saved = self.saved;
        while let Some((reader, position, state)) = self.readers.waiting.pop_front_if(|(_, at, _)| at.seq <= saved) {
            let _ = reader.reply.send(Ok((position, state)));
        }
        if self.document.is_log_stuck() {
            for (reader, ..) in std::mem::take(&mut self.readers.waiting) {
                self.read_from_the_log(reader);
            }
        }
    }

    fn read_from_the_log(&mut self, Reader { with_state, reply, place }: Reader) {
        // Reading it takes a place of its own.
        drop(place);
        // While nothing more was acknowledged, what somebody reads already is new enough.
        let under_way = self.readers.from_log.as_ref().filter(|(saved, _)| *saved == self.saved);
        let read = under_way.and_then(|(_, read)| read.upgrade()).unwrap_or_else(|| {
            let (store, name, share) = (self.setup.store.clone(), self.setup.name.clone(), &self.setup.share);
            let read = as_stored(store, name, share.copies().clone(), share.updates()).boxed().shared();
            self.readers.from_log = read.downgrade().map(|weak| (self.saved, weak));
            read
        });
        self.setup.tasks.spawn("reading a document from the log", async move {
            let without_state = |(position, state)| (position, if with_state { state } else { Bytes::new() });
            let _ = reply.send(read.await.map(without_state));
        });
    }
}

/// The document as it is in the log; it has about so many `bytes`.
async fn as_stored(store: Arc<dyn Store>, name: DocumentName, copies: Copies, bytes: usize) -> Answer {
    let place = copies.place(bytes).await?;
    let stored = store.load(&name).await?;
    let work = blocking(move || {
        let snapshot = stored.snapshot.as_ref().map(|(_, state)| state);
        let replica = Replica::load(snapshot, &stored.updates)?;
        let state = place.hold(replica.state());
        Ok((Position { seq: stored.seq, state_vector: replica.state_vector() }, state))
    });
    work.await?.map_err(|error: buildspaces_crdt::replica::LoadError| Error::Storage(error.to_string().into()))
}
