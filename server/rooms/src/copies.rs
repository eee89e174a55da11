//! Whole documents that are written out for somebody, and held in memory until that one has read them.
//!
//! Nobody can be made to read fast, so these copies are counted: one beyond [`Copies`] waits, and is refused after a while. Everybody who reads a
//! document in one state shares a copy, which counts once; see `actor/reading.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Error;

/// Bytes of copies that are held at the same time. A single larger one is held while there is no other.
#[cfg(not(test))]
const MOST: usize = 256 << 20;
#[cfg(test)]
pub(crate) const MOST: usize = 1 << 20;

/// A copy of fewer bytes is not counted.
pub(crate) const SMALL: usize = 64 << 10;

/// How long one waits for its place.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How much of such copies there may be. Clones count together.
#[derive(Clone, Debug)]
pub struct Copies(Arc<Semaphore>);

/// Counts one copy for as long as it exists.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is given back when it is dropped")] Option<OwnedSemaphorePermit>);

impl Default for Copies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Copies {
    /// The place of a copy of so many bytes, once there is one; [`Error::Busy`] if that takes too long.
    pub async fn place(&self, bytes: usize) -> Result<Place, Error> {
        if bytes < SMALL {
            return Ok(Place(None));
        }
        let waited = timeout(PATIENCE, self.0.clone().acquire_many_owned(permits(bytes))).await;
        let permit = waited.map_err(|_| Error::Busy)?.map_err(|_| Error::Closed)?;
        Ok(Place(Some(permit)))
    }

    /// The same, now or not at all.
    pub(crate) fn try_place(&self, bytes: usize) -> Result<Place, Error> {
        if bytes < SMALL {
            return Ok(Place(None));
        }
        let permit = self.0.clone().try_acquire_many_owned(permits(bytes)).map_err(|_| Error::Busy)?;
        Ok(Place(Some(permit)))
    }
}

fn permits(bytes: usize) -> u32 {
    bytes.min(MOST) as u32
}

impl Place {
    /// The copy, which keeps its place until nobody holds anything of it.
    pub fn hold(self, bytes: impl Into<Vec<u8>>) -> Bytes {
        self.written(bytes.into()).bytes()
    }

    pub(crate) fn written(self, bytes: Vec<u8>) -> Arc<Written> {
        Arc::new(Written { bytes, _place: self })
    }
}

/// A copy that others may share.
#[derive(Debug)]
pub(crate) struct Written {
    bytes: Vec<u8>,
    _place: Place,
}

impl Written {
    pub(crate) fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Held(self.clone()))
    }
}

struct Held(Arc<Written>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}
