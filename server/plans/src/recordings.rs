//! Recordings of terminals: made, listed, read, deleted.
//!
//! A [`Recorder`] reads what a terminal shows as a viewer does, at its own pace, and writes it into the store; the terminal never waits for it.
//! Which terminals are recorded is decided by [`crate::terminals`]; whether somebody *may* do a thing is asked by the caller.
//!
//! **Invariant:** no recording goes but by [`Recordings::delete`]. A room that has as many as it may keep begins no further one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_kernel::ids::{RecordingId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;

use crate::Error;
use crate::ports::RecordingStore;
use crate::recording::{Recording, Setting, State};

mod recorder;

pub(crate) use recorder::{Recorder, Source};

/// Recordings of terminals that a room may have. When it has so many no further one begins.
pub const MAX_RECORDINGS: u64 = 200;

/// Bytes of all of them, likewise. One that has begun goes on, so there may be some more: [`crate::recording::cast::MAX_BYTES`] of each open terminal.
pub const MAX_RECORDED: u64 = 800 << 20;

/// What a room has of recordings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    pub recordings: u64,
    pub bytes: u64,
}

impl Kept {
    pub fn is_full(&self) -> bool {
        self.recordings >= MAX_RECORDINGS || self.bytes >= MAX_RECORDED
    }

    /// Why no further one begins.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "this room keeps {} of at most {MAX_RECORDINGS} recordings of terminals, {} of at most {} MiB, so no further one can begin and no \
             terminal that is to be recorded can be opened; a host can delete some, or turn recording off",
            self.recordings,
            self.bytes >> 20,
            MAX_RECORDED >> 20
        )
    }
}

/// A cheap handle; clones share everything.
#[derive(Clone)]
pub struct Recordings(Arc<Shared>);

struct Shared {
    /// `None`: there are no recordings on this server.
    store: Option<Arc<dyn RecordingStore>>,
    tasks: Tasks,
    /// What recorders are at work on, as it is. The store may not say so yet, for instance that a full disk was the end of one.
    live: Mutex<HashMap<RecordingId, Recording>>,
}

impl Recordings {
    pub(crate) fn new(store: Option<Arc<dyn RecordingStore>>, tasks: Tasks) -> Self {
        Self(Arc::new(Shared { store, tasks, live: Mutex::default() }))
    }

    /// What an earlier process left unfinished has ended. Call it once, at boot.
    pub(crate) async fn settle(&self) {
        let Ok(store) = self.store() else { return };
        // Nothing depends on it: of those that nobody is at work on the list says so.
        if let Err(error) = store.interrupt_recordings().await {
            tracing::warn!(%error, "recordings of an earlier process cannot be ended");
        }
    }

    /// Whether the room's terminals are recorded.
    pub async fn setting(&self, room: &RoomId) -> Result<Option<Setting>, Error> {
        match &self.0.store {
            Some(store) => Ok(store.recording_setting(room).await?),
            None => Ok(None),
        }
    }

    pub(crate) async fn set(&self, room: &RoomId, setting: Option<&Setting>) -> Result<(), Error> {
        Ok(self.store()?.set_recording(room, setting).await?)
    }

    /// The room's recordings, newest first.
    pub async fn list(&self, room: &RoomId) -> Result<Vec<Recording>, Error> {
        let Ok(store) = self.store() else { return Ok(Vec::new()) };
        let stored = store.recordings(room).await?;
        let live = self.0.live();
        let is_stored = |id: &RecordingId| stored.iter().any(|stored| stored.id == *id);
        let mut list: Vec<Recording> =
            live.values().filter(|live| live.room == *room && !is_stored(&live.id)).cloned().collect();
        list.sort_by_key(|recording| std::cmp::Reverse(recording.started_at));
        list.extend(stored.into_iter().map(|stored| as_it_is(stored, &live)));
        Ok(list)
    }

    /// How many there are, and how large they are.
    pub async fn kept(&self, room: &RoomId) -> Result<Kept, Error> {
        let list = self.list(room).await?;
        Ok(Kept { recordings: list.len() as u64, bytes: list.iter().map(|recording| recording.bytes).sum() })
    }

    /// One of the room's recordings.
    pub async fn find(&self, room: &RoomId, id: &RecordingId) -> Result<Recording, Error> {
        let stored = self.store()?.recording(room, id).await?.ok_or(Error::NoSuchRecording)?;
        Ok(as_it_is(stored, &self.0.live()))
    }

    /// The piece of the recording that begins at byte `from`; nothing at its end. A piece has whole lines.
    pub async fn piece(&self, id: &RecordingId, from: u64) -> Result<Vec<u8>, Error> {
        Ok(self.store()?.recording_piece(id, from).await?)
    }

    pub async fn delete(&self, room: &RoomId, id: &RecordingId, by: &Principal) -> Result<(), Error> {
        if self.0.live().contains_key(id) {
            return Err(Error::StillRecorded);
        }
        if !self.store()?.delete_recording(room, id).await? {
            return Err(Error::NoSuchRecording);
        }
        tracing::info!(%room, recording = %id, by = %by.id, "a recording was deleted");
        Ok(())
    }

    fn store(&self) -> Result<&Arc<dyn RecordingStore>, Error> {
        self.0.store.as_ref().ok_or(Error::RecordingsOff)
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<RecordingId, Recording>> {
        self.live.lock().expect("the map of recordings is only read and written")
    }
}

/// What the store has, corrected by what it has not been told.
fn as_it_is(stored: Recording, live: &HashMap<RecordingId, Recording>) -> Recording {
    match live.get(&stored.id) {
        Some(live) => Recording { state: live.state, ended_at: live.ended_at, ..stored },
        // Nobody is at work on it: it is left from an earlier process.
        None if stored.state == State::Recording => Recording { state: State::Interrupted, ..stored },
        None => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_full_by_number_or_by_size() {
        for (recordings, bytes, full) in [
            (0, 0, false),
            (MAX_RECORDINGS - 1, MAX_RECORDED - 1, false),
            (MAX_RECORDINGS, 0, true),
            (1, MAX_RECORDED, true),
        ] {
            assert_eq!(Kept { recordings, bytes }.is_full(), full, "{recordings} of {bytes}");
        }
    }
}
