//! Who may work on the past of documents at the same time: those who ask, export, import, and merge old updates.

use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::ids::RoomId;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{History, blocking};
use crate::Error;

/// Questions about the past that are answered at the same time.
pub(super) const JOBS: usize = 2;

/// Rooms that are exported at the same time. One beyond waits.
const EXPORTS: usize = 2;

/// Questions that may wait for their turn. Past it they are refused with [`Error::Busy`].
const MAX_WAITING: usize = 64;

/// See the module.
pub(super) struct Turns {
    pub(super) jobs: Arc<Semaphore>,
    waiting: Semaphore,
    /// One import at a time: two of the same room would undo each other.
    import: Arc<Semaphore>,
    exports: Semaphore,
    /// Rooms whose logs stay as they are for a while.
    held: Mutex<Vec<RoomId>>,
    /// Whoever puts a merged record in its place has it.
    pub(super) merging: AsyncMutex<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            jobs: Arc::new(Semaphore::new(JOBS)),
            waiting: Semaphore::new(MAX_WAITING),
            import: Arc::new(Semaphore::new(1)),
            exports: Semaphore::new(EXPORTS),
            held: Mutex::default(),
            merging: AsyncMutex::default(),
        }
    }
}

/// A place among those whose questions are worked on.
#[derive(Clone)]
pub(super) struct Turn(
    #[expect(dead_code, reason = "it is given back when the last clone goes")] Arc<OwnedSemaphorePermit>,
);

impl Turn {
    /// Does what takes a while on a thread for blocking work. That keeps the place to its end, also when whoever asked has gone.
    pub(super) async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = self.clone();
        blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

/// While it exists, no old updates of a room are merged.
pub(crate) struct Held {
    turns: Arc<Turns>,
    room: RoomId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.turns.held();
        if let Some(at) = held.iter().position(|room| *room == self.room) {
            held.swap_remove(at);
        }
    }
}

impl Turns {
    fn held(&self) -> MutexGuard<'_, Vec<RoomId>> {
        self.held.lock().expect("no code panics while it holds the lock")
    }
}

impl History {
    /// Keeps others from importing.
    pub(crate) fn begin_import(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.turns.import.clone().try_acquire_owned().map_err(|_| Error::Busy)
    }

    /// Waits until this export may begin.
    pub(crate) async fn export_turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.turns.exports.acquire().await.map_err(|_| Error::Closed)
    }

    /// Has old updates of a room stay as they are. What is being merged at this moment is before this returns.
    pub(crate) async fn hold(&self, room: &RoomId) -> Held {
        self.turns.held().push(room.clone());
        let held = Held { turns: self.turns.clone(), room: room.clone() };
        drop(self.turns.merging.lock().await);
        held
    }

    pub(super) fn is_held(&self, document: &DocumentName) -> bool {
        document.kind() != Kind::Plain && self.turns.held().iter().any(|room| room.as_str() == document.room())
    }

    /// Waits until this question may be worked on.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let _waiting = self.turns.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let place = self.turns.jobs.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        Ok(Turn(Arc::new(place)))
    }
}
