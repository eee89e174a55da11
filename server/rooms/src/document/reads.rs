//! How often one client may have all of a large document read.
//!
//! Whoever asks for what it lacks is answered from the whole document, however little that is. A client that asks on and on must not
//! keep the processor from everybody else, so after each answer it waits several times as long as the answer took.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::ConnectionId;
use bytes::Bytes;

/// How long reading takes, about.
const PER_BYTE: Duration = Duration::from_nanos(10);

/// The pause is so many times longer.
const PAUSE: u32 = 4;

/// Documents of fewer bytes are read as often as somebody asks.
const FREE: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Reads {
    /// When those who have read may do so again.
    next: HashMap<ConnectionId, Instant>,
    /// The last question of those who asked before that.
    put_off: HashMap<ConnectionId, Bytes>,
}

impl Reads {
    /// True if `peer` may have a document of `bytes` read now; if so it has.
    pub(super) fn take(&mut self, now: Instant, peer: ConnectionId, bytes: usize) -> bool {
        if bytes < FREE {
            return true;
        }
        if self.next.get(&peer).is_some_and(|next| *next > now) {
            return false;
        }
        let took = PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.next.insert(peer, now + took.saturating_mul(PAUSE));
        true
    }

    /// Keeps a question until it may be answered, in place of an earlier one: the later answer brings everything.
    pub(super) fn put_off(&mut self, peer: ConnectionId, state_vector: Bytes) {
        self.put_off.insert(peer, state_vector);
    }

    pub(super) fn forget(&mut self, peer: ConnectionId) {
        self.next.remove(&peer);
        self.put_off.remove(&peer);
    }

    pub(super) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// When the first question that was put off may be answered.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.put_off.keys().filter_map(|peer| self.next.get(peer)).min().copied()
    }

    /// The questions that may be answered now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(ConnectionId, Bytes)> {
        if !self.has_put_off() {
            return Vec::new();
        }
        let next = &self.next;
        self.put_off.extract_if(|peer, _| next.get(peer).is_none_or(|next| *next <= now)).collect()
    }

    /// Forgets pauses that have ended.
    pub(super) fn tick(&mut self, now: Instant) {
        let put_off = &self.put_off;
        self.next.retain(|peer, next| *next > now || put_off.contains_key(peer));
    }
}
