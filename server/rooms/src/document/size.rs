//! How large a document may become by what comes from outside.
//!
//! Updates are added up, and together they are smaller than their sum. What they really come to is counted when it matters, which reads all of
//! the document and so is done only now and then.

use std::time::{Duration, Instant};

use buildspaces_crdt::update;
use bytes::Bytes;

use super::Document;

/// A document that is full may grow by so large a part of its limit through updates that delete more than they bring: what they delete may be
/// gone already.
const LAST_ROOM: usize = 4;

/// Counting takes this long for each byte, about, and there are pauses so many times longer between.
const PER_BYTE: Duration = Duration::from_nanos(10);
const PAUSE: u32 = 20;

/// Documents of fewer bytes are counted whenever it matters.
const FREE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Size {
    pub(super) max: usize,
    pub(super) bytes: usize,
    /// What came since it was counted.
    uncounted: usize,
    /// Something was deleted since.
    has_shrunk: bool,
    /// When that was.
    counted: Option<Instant>,
}

impl Size {
    pub(super) fn new(bytes: usize) -> Self {
        Self { max: usize::MAX, bytes, uncounted: bytes, has_shrunk: false, counted: None }
    }

    /// The document has grown by `update`.
    pub(super) fn grown(&mut self, update: &Bytes) {
        self.bytes += update.len();
        self.uncounted += update.len();
        // What a deletion took away may be large, but only where it matters is it worth a look.
        if self.bytes > self.max / 2 && !self.has_shrunk {
            self.has_shrunk = update::weigh(update).is_some_and(|weight| weight.deleted > 0);
        }
    }

    fn fits(&self, more: usize, most: usize) -> bool {
        self.bytes.saturating_add(more) <= most
    }

    /// Is it time to count, and would that change anything?
    fn is_worth_counting(&self, now: Instant) -> bool {
        let pause = match u32::try_from(self.bytes) {
            Ok(bytes) if self.bytes >= FREE => PER_BYTE.saturating_mul(bytes).saturating_mul(PAUSE),
            Ok(_) => Duration::ZERO,
            Err(_) => Duration::MAX,
        };
        let may = self.counted.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        may && (self.has_shrunk || self.uncounted > self.max / 16)
    }
}

impl Document {
    /// True if an update of so many bytes may have all of the document counted.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.size.bytes.saturating_add(more) > self.size.max
    }

    /// True if the document may grow by `update`. Deleting makes room, so it is always possible.
    pub(super) fn has_room_for(&mut self, now: Instant, update: &[u8]) -> bool {
        if self.size.fits(update.len(), self.size.max) {
            return true;
        }
        let weight = update::weigh(update);
        if weight.as_ref().is_some_and(|weight| !weight.brings_something) {
            return true;
        }
        if self.size.is_worth_counting(now) {
            let bytes = self.replica.state().len();
            self.size = Size { bytes, uncounted: 0, has_shrunk: false, counted: Some(now), max: self.size.max };
        }
        // A client that comes back brings all that it has, of which most is here.
        let more = self.replica.weight_of_new(update);
        let makes_room = weight.is_some_and(|weight| weight.deleted >= more as u64);
        let most = self.size.max.saturating_add(if makes_room { self.size.max / LAST_ROOM } else { 0 });
        self.size.fits(more, most)
    }
}
