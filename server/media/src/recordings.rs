//! Recordings of calls on disk: listed, read, deleted, and begun by a call's recorder.
//!
//! Each is a folder that explains itself, `<room>/<recording>`, with its files and a `recording.toml` that says whose they are and when each
//! begins. A database would be the wrong place for gigabytes, and a list beside them could say something else than what is there. Whether
//! somebody *may* do a thing is asked by the caller.
//!
//! **Invariant:** no recording goes but by [`Recordings::delete`]. A room that has as much as it may keep begins no further one.

mod folder;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_kernel::ids::{RecordingId, RoomId};
use buildspaces_policy::Principal;

use crate::recording::{File, Limits, Recording, State};
pub(crate) use folder::{Chunk, Folder};

/// Recordings of calls that a room may have, beside [`Limits::room`]. When it has so many no further one begins.
pub const MAX_RECORDINGS: u64 = 200;

/// What a room has of recordings of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    pub recordings: u64,
    pub bytes: u64,
    /// What they may have.
    pub most_bytes: u64,
}

impl Kept {
    pub fn is_full(&self) -> bool {
        self.recordings >= MAX_RECORDINGS || self.bytes >= self.most_bytes
    }
}

/// Why no further one begins.
impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recordings, bytes, most_bytes } = self;
        write!(
            f,
            "this room keeps {recordings} of at most {MAX_RECORDINGS} recordings of calls, {} of at most {} MiB, so no further one can begin; \
             a host can delete some",
            bytes >> 20,
            most_bytes >> 20
        )
    }
}

/// Why there is no recording, or nothing was done. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such recording any more")]
    NoSuchRecording,
    #[error("it is still recorded; stop that first")]
    StillRecorded,
    #[error("{0}")]
    RoomFull(Kept),
    /// The disk does not read or write; the cause is for the log.
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
}

/// Clones share everything.
#[derive(Clone)]
pub struct Recordings(Arc<Shared>);

struct Shared {
    /// `None`: there are none on this server.
    root: Option<PathBuf>,
    limits: Limits,
    /// What recorders are at work on, as it is.
    live: Mutex<HashMap<RecordingId, Recording>>,
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recordings")
    }
}

impl Recordings {
    pub fn new(root: PathBuf, limits: Limits) -> Self {
        Self(Arc::new(Shared { root: Some(root), limits, live: Mutex::default() }))
    }

    /// A server that keeps none.
    pub fn off() -> Self {
        Self(Arc::new(Shared {
            root: None,
            limits: Limits { recording: 0, ..Limits::default() },
            live: Mutex::default(),
        }))
    }

    /// May calls be recorded? What there is can be read in any case.
    pub fn is_on(&self) -> bool {
        self.0.root.is_some() && self.0.limits.recording > 0
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The room's recordings, newest first.
    pub async fn list(&self, room: &RoomId) -> Result<Vec<Recording>, Error> {
        let Some(root) = self.0.root.clone() else { return Ok(Vec::new()) };
        let wanted = room.clone();
        let mut list = on_disk(move || folder::list(&root, &wanted)).await?;
        for recording in &mut list {
            self.correct(recording);
        }
        list.sort_by_key(|recording| std::cmp::Reverse(recording.started_at));
        Ok(list)
    }

    /// One of the room's recordings.
    pub async fn find(&self, room: &RoomId, id: &RecordingId) -> Result<Recording, Error> {
        let folder = self.folder(room, id)?;
        let mut recording = on_disk(move || folder.read()).await?.ok_or(Error::NoSuchRecording)?;
        self.correct(&mut recording);
        Ok(recording)
    }

    /// A piece of one of its files from a byte on; nothing at its end.
    pub async fn piece(&self, recording: &Recording, file: &File, from: u64, most: usize) -> Result<Vec<u8>, Error> {
        let (folder, name) = (self.folder(&recording.room, &recording.id)?, file.name());
        Ok(on_disk(move || folder.piece(&name, from, most)).await?)
    }

    pub async fn delete(&self, room: &RoomId, id: &RecordingId, by: &Principal) -> Result<(), Error> {
        if self.0.live().contains_key(id) {
            return Err(Error::StillRecorded);
        }
        let folder = self.folder(room, id)?;
        if !on_disk(move || folder.delete()).await? {
            return Err(Error::NoSuchRecording);
        }
        tracing::info!(%room, recording = %id, by = %by.id, "a recording of a call was deleted");
        Ok(())
    }

    /// How many there are, how large they are, and how large they may be.
    pub async fn kept(&self, room: &RoomId) -> Result<Kept, Error> {
        let list = self.list(room).await?;
        let bytes = list.iter().map(Recording::bytes).sum();
        Ok(Kept { recordings: list.len() as u64, bytes, most_bytes: self.0.limits.room })
    }

    /// Makes the folder of a new recording. Also says how many bytes the room's others have.
    pub(crate) async fn begin(&self, recording: &Recording) -> Result<(Folder, u64), Error> {
        let others = self.kept(&recording.room).await?;
        if others.is_full() {
            return Err(Error::RoomFull(others));
        }
        let folder = self.folder(&recording.room, &recording.id)?;
        let (own, first, reserve) = (folder.clone(), recording.clone(), self.0.limits.reserve);
        on_disk(move || own.create(&first, reserve)).await?;
        self.show(recording);
        Ok((folder, others.bytes))
    }

    /// How one is that is being made.
    pub(crate) fn show(&self, recording: &Recording) {
        self.0.live().insert(recording.id.clone(), recording.clone());
    }

    /// Nobody is at work on it any more.
    pub(crate) fn ended(&self, id: &RecordingId) {
        self.0.live().remove(id);
    }

    fn folder(&self, room: &RoomId, id: &RecordingId) -> Result<Folder, Error> {
        let root = self.0.root.as_ref().ok_or(Error::NoSuchRecording)?;
        Ok(Folder::new(root, room, id))
    }

    /// What the disk says, corrected by what it was not told.
    fn correct(&self, recording: &mut Recording) {
        match self.0.live().get(&recording.id) {
            Some(live) => recording.clone_from(live),
            // It is left from an earlier process.
            None if recording.state == State::Recording => {
                recording.state = State::Interrupted;
                recording.ended_at = Some(recording.started_at.saturating_add_unsigned(recording.duration));
            }
            None => {}
        }
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<RecordingId, Recording>> {
        self.live.lock().expect("the map of recordings is only read and written")
    }
}

/// Away from the threads on which packets are passed on.
pub(crate) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests;
