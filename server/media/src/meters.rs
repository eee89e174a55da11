//! What is measured of calls; see `docs/operations.md` for the names. Handles are kept because packets are many.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, counter, gauge};

pub(crate) static UDP_RECEIVED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_datagrams_received_total"));
pub(crate) static UDP_STRANGE: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_datagrams_strange_total"));
pub(crate) static UDP_DROPPED: LazyLock<Counter> = LazyLock::new(|| dropped("socket"));
pub(crate) static TCP_STRANGE: LazyLock<Counter> = LazyLock::new(|| counter!("buildspaces_media_tcp_strange_total"));
pub(crate) static TCP_DROPPED: LazyLock<Counter> = LazyLock::new(|| dropped("tcp"));
pub(crate) static FLOODED: LazyLock<Counter> = LazyLock::new(|| dropped("flood"));
pub(crate) static RECEIVER_FULL: LazyLock<Counter> = LazyLock::new(|| dropped("receiver"));
pub(crate) static PACKETS_RECEIVED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_packets_received_total"));
pub(crate) static PACKETS_FORWARDED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_packets_forwarded_total"));
pub(crate) static KEYFRAMES_ASKED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_keyframes_asked_total"));

fn dropped(why: &'static str) -> Counter {
    counter!("buildspaces_media_packets_dropped_total", "reason" => why)
}

/// Something counts for as long as this exists.
pub(crate) struct Open(Gauge);

impl Open {
    /// A connection of media.
    pub(crate) fn peer() -> Self {
        Self::new(gauge!("buildspaces_media_connections_open"))
    }

    /// A TCP connection that carries one, or is in reserve.
    pub(crate) fn tcp() -> Self {
        Self::new(gauge!("buildspaces_media_tcp_connections_open"))
    }

    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// How many take part in calls.
pub(crate) fn participants(more: f64) {
    gauge!("buildspaces_media_participants").increment(more);
}
