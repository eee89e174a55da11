//! What a document's actor does for the log: it appends, tries again while the disk is full, and keeps the state now and then.

use std::time::{Duration, Instant};

use buildspaces_kernel::tasks::lengthy;
use buildspaces_policy::Principal;
use futures_util::future::BoxFuture;

use super::Actor;
use crate::document::Input;
use crate::listener::Ear;
use crate::meters;
use crate::ports::{Record, StoreError};

/// See [`is_worth_a_state`].
const SNAPSHOT_FROM: usize = 256 << 10;

/// What an update weighs beside its bytes, since loading must read it.
const UPDATE_WEIGHT: usize = 64;

/// How long a document waits before it tries again to write to a full disk: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Updates that may wait for the log, and their bytes or those of what waits for them. Past either the document is only read until the log moves.
const MAX_UNSAVED: usize = 4096;
const MAX_UNSAVED_BYTES: usize = 64 << 20;

/// An append under way.
pub(super) struct Append {
    /// The number it will have made durable.
    seq: u64,
    began: Instant,
    /// Whose updates are in it, if anybody wants to know.
    authors: Vec<Principal>,
    records: Vec<Record>,
    /// How long it was put off because the disk is full.
    pause: Option<Duration>,
    future: BoxFuture<'static, Result<(), StoreError>>,
}

impl Append {
    /// True if it waits for space.
    pub(super) fn is_put_off(&self) -> bool {
        self.pause.is_some()
    }
}

impl Actor {
    /// Has the document only be read while the log takes no more.
    pub(super) fn look_after_the_log(&mut self) {
        let is_stuck = self.append.as_ref().is_some_and(Append::is_put_off)
            || self.unsaved.len() > MAX_UNSAVED
            || self.unsaved_bytes.max(self.document.waiting_bytes()) > MAX_UNSAVED_BYTES;
        if is_stuck != self.document.is_log_stuck() {
            self.handle(Input::LogStuck(is_stuck));
            self.perform();
            self.answer_readers();
        }
    }

    pub(super) fn start_append(&mut self) {
        if self.append.is_some() {
            return;
        }
        let records = std::mem::take(&mut self.unsaved);
        let Some(last) = records.last() else { return };
        let seq = last.seq;
        self.unsaved_bytes = 0;
        self.setup.share.grown(records.iter().map(|record| record.update.len()).sum());
        self.behind += weight(records.iter().map(|record| record.update.len()));
        let authors = self.setup.ear.as_mut().map(Ear::authors).unwrap_or_default();
        let future = self.attempt(records.clone(), Duration::ZERO);
        self.append = Some(Append { seq, began: Instant::now(), authors, records, pause: None, future });
    }

    fn attempt(&self, records: Vec<Record>, pause: Duration) -> BoxFuture<'static, Result<(), StoreError>> {
        let (store, name, tasks) = (self.setup.store.clone(), self.setup.name.clone(), self.setup.tasks.clone());
        Box::pin(async move {
            if !pause.is_zero() {
                let _ = tokio::time::timeout(pause, tasks.cancelled()).await;
            }
            store.append(&name, records).await
        })
    }

    /// An append ended. While the disk is full it is tried again: nothing is broken, so nobody is sent away.
    pub(super) fn appended(&mut self, (append, result): (Append, Result<(), StoreError>)) -> Result<(), StoreError> {
        match result {
            Ok(()) => {
                self.saved = append.seq;
                self.handle(Input::Durable { seq: append.seq });
                self.tell(&append);
                self.answer_readers();
                Ok(())
            }
            Err(error @ StoreError::Full(_)) if !self.setup.tasks.is_cancelled() => {
                tracing::warn!(document = %self.setup.name, %error, "not saved; trying again");
                let pause = append.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
                let future = self.attempt(append.records.clone(), pause);
                self.append = Some(Append { pause: Some(pause), future, ..append });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn tell(&self, append: &Append) {
        if let Some(ear) = &self.setup.ear {
            ear.tell(append.seq, &append.authors);
        }
    }

    /// Keeps the state when the log has grown.
    pub(super) fn keep_snapshot(&mut self) {
        if is_worth_a_state(self.behind, self.kept) && self.to_keep.is_none() {
            let seq = self.document.seq();
            self.to_keep = Some((seq, Box::pin(self.snapshot())));
        }
        // A state ahead of the log would hide from the next start what the log lacks.
        let is_saved = self.append.is_none() && self.unsaved.is_empty();
        if let Some((_, keep)) = self.to_keep.take_if(|(seq, _)| is_saved || *seq <= self.saved) {
            self.setup.tasks.spawn("document snapshot", keep);
        }
    }

    /// Keeps a state that still waited for the log, if it has reached it.
    pub(super) async fn keep_what_waits(&mut self) {
        if let Some((_, keep)) = self.to_keep.take_if(|(seq, _)| *seq <= self.saved) {
            keep.await;
        }
    }

    /// Keeps the state as it is in the log. Losing this is harmless: the log has everything.
    pub(super) fn snapshot(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let (store, name) = (self.setup.store.clone(), self.setup.name.clone());
        let replica = self.document.replica();
        let state = lengthy(self.setup.share.is_large(), || replica.state());
        let seq = self.document.seq();
        self.behind = 0;
        self.kept = state.len();
        self.setup.share.counted(state.len());
        async move {
            if let Err(error) = store.save_snapshot(&name, seq, state).await {
                tracing::warn!(document = %name, %error, "a snapshot was not kept; loading will take longer");
            }
        }
    }
}

/// Waits for the append under way; for ever if there is none. Cancel-safe: the append stays where it is.
pub(super) async fn ended(append: &mut Option<Append>) -> (Append, Result<(), StoreError>) {
    let Some(under_way) = append else { return std::future::pending().await };
    let result = (&mut under_way.future).await;
    meters::APPEND_SECONDS.record(under_way.began.elapsed().as_secs_f64());
    (append.take().expect("it was under way"), result)
}

/// What a log with updates of these sizes weighs.
pub(crate) fn weight(updates: impl Iterator<Item = usize>) -> usize {
    updates.map(|bytes| bytes + UPDATE_WEIGHT).sum()
}

/// A state is kept when the log behind the last one weighs 256 KiB, or a quarter of that state if it is more. So loading stays fast, and
/// all states together are not much larger than the log, however large each is.
pub(crate) fn is_worth_a_state(behind: usize, kept: usize) -> bool {
    behind >= SNAPSHOT_FROM.max(kept / 4)
}
