//! A store of recordings in memory. It forgets everything when it is dropped; clones share their contents.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{RecordingId, RoomId};

use crate::ports::{RecordingStore, StoreError};
use crate::recording::{Recording, Setting, State};

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct MemoryRecordings {
    stored: Arc<Mutex<Stored>>,
    /// Held while nothing can be written.
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default, Debug)]
struct Stored {
    settings: HashMap<RoomId, Setting>,
    /// Oldest first, each with its pieces by where they begin.
    recordings: Vec<(Recording, BTreeMap<u64, Vec<u8>>)>,
    /// What every write is answered with.
    broken: Option<StoreError>,
}

impl MemoryRecordings {
    /// From now on nothing can be written for this reason; or everything again.
    pub fn breaks(&self, error: Option<StoreError>) {
        self.lock().broken = error;
    }

    /// Every write waits until what is returned is dropped.
    ///
    /// # Panics
    /// If one is under way.
    pub fn stop(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.gate.clone().try_lock_owned().expect("nothing is being written")
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().expect("nothing that holds the lock panics")
    }

    async fn write(&self) -> Result<MutexGuard<'_, Stored>, StoreError> {
        drop(self.gate.lock().await);
        let stored = self.lock();
        stored.broken.clone().map_or(Ok(stored), Err)
    }
}

#[async_trait]
impl RecordingStore for MemoryRecordings {
    async fn recording_setting(&self, room: &RoomId) -> Result<Option<Setting>, StoreError> {
        Ok(self.lock().settings.get(room).cloned())
    }

    async fn set_recording(&self, room: &RoomId, setting: Option<&Setting>) -> Result<(), StoreError> {
        let mut stored = self.write().await?;
        match setting {
            Some(setting) => stored.settings.insert(room.clone(), setting.clone()),
            None => stored.settings.remove(room),
        };
        Ok(())
    }

    async fn insert_recording(&self, recording: &Recording, lines: &[u8]) -> Result<(), StoreError> {
        let mut stored = self.write().await?;
        let pieces = BTreeMap::from([(0, lines.to_vec())]);
        stored.recordings.push((Recording { bytes: lines.len() as u64, ..recording.clone() }, pieces));
        Ok(())
    }

    async fn append_recording(&self, id: &RecordingId, lines: &[u8], duration: u64) -> Result<bool, StoreError> {
        let mut stored = self.write().await?;
        let Some((recording, pieces)) = stored.recordings.iter_mut().find(|(recording, _)| recording.id == *id) else {
            return Ok(false);
        };
        pieces.insert(recording.bytes, lines.to_vec());
        recording.bytes += lines.len() as u64;
        recording.duration = duration;
        Ok(true)
    }

    async fn end_recording(&self, recording: &Recording) -> Result<(), StoreError> {
        let mut stored = self.write().await?;
        for (stored, _) in stored.recordings.iter_mut().filter(|(stored, _)| stored.id == recording.id) {
            (stored.state, stored.ended_at) = (recording.state, recording.ended_at);
        }
        Ok(())
    }

    async fn interrupt_recordings(&self) -> Result<(), StoreError> {
        let mut stored = self.write().await?;
        for (recording, _) in stored.recordings.iter_mut().filter(|(stored, _)| stored.state == State::Recording) {
            recording.state = State::Interrupted;
            recording.ended_at = UnixMillis::try_from(recording.duration).ok().map(|it| it + recording.started_at);
        }
        Ok(())
    }

    async fn recordings(&self, room: &RoomId) -> Result<Vec<Recording>, StoreError> {
        let stored = self.lock();
        let of_room = stored.recordings.iter().rev().filter(|(recording, _)| recording.room == *room);
        Ok(of_room.map(|(recording, _)| recording.clone()).collect())
    }

    async fn recording(&self, room: &RoomId, id: &RecordingId) -> Result<Option<Recording>, StoreError> {
        Ok(self.recordings(room).await?.into_iter().find(|recording| recording.id == *id))
    }

    async fn recording_piece(&self, id: &RecordingId, from: u64) -> Result<Vec<u8>, StoreError> {
        let stored = self.lock();
        let found = stored.recordings.iter().find(|(recording, _)| recording.id == *id);
        Ok(found.and_then(|(_, pieces)| pieces.get(&from).cloned()).unwrap_or_default())
    }

    async fn delete_recording(&self, room: &RoomId, id: &RecordingId) -> Result<bool, StoreError> {
        let mut stored = self.write().await?;
        let before = stored.recordings.len();
        stored.recordings.retain(|(recording, _)| recording.room != *room || recording.id != *id);
        Ok(stored.recordings.len() < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        crate::contract::recording_store(&MemoryRecordings::default()).await;
    }
}
