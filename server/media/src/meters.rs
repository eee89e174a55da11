//! What is measured of calls; see `docs/operations.md` for the names. Handles are kept because packets are many.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::call::Seen;
use crate::quality::{Quality, Report};

pub(crate) static UDP_RECEIVED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_datagrams_received_total"));
pub(crate) static UDP_STRANGE: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_datagrams_strange_total"));
pub(crate) static UDP_DROPPED: LazyLock<Counter> = LazyLock::new(|| dropped("socket"));
pub(crate) static TCP_STRANGE: LazyLock<Counter> = LazyLock::new(|| counter!("buildspaces_media_tcp_strange_total"));
pub(crate) static TCP_DROPPED: LazyLock<Counter> = LazyLock::new(|| dropped("tcp"));
pub(crate) static FLOODED: LazyLock<Counter> = LazyLock::new(|| dropped("flood"));
pub(crate) static REFUSED: LazyLock<Counter> = LazyLock::new(|| dropped("refused"));
pub(crate) static RECEIVER_FULL: LazyLock<Counter> = LazyLock::new(|| dropped("receiver"));
pub(crate) static PACKETS_RECEIVED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_packets_received_total"));
pub(crate) static PACKETS_FORWARDED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_packets_forwarded_total"));
pub(crate) static KEYFRAMES_ASKED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_media_keyframes_asked_total"));

static SENT_LOST: LazyLock<Histogram> = LazyLock::new(|| lost("sent"));
static RECEIVED_LOST: LazyLock<Histogram> = LazyLock::new(|| lost("received"));
static ROUND_TRIP: LazyLock<Histogram> = LazyLock::new(|| histogram!("buildspaces_media_round_trip_seconds"));

fn lost(direction: &'static str) -> Histogram {
    histogram!("buildspaces_media_lost_ratio", "direction" => direction)
}

/// What a page reports, of all calls together.
pub(crate) fn reported(report: &Report) {
    SENT_LOST.record(report.sent_lost_ratio());
    RECEIVED_LOST.record(report.received_lost_ratio());
    ROUND_TRIP.record(report.round_trip);
}

/// How many of one call are connected well, badly, and not at all. Dropping it takes them out of the sums.
#[derive(Default)]
pub(crate) struct Qualities([f64; 3]);

impl Qualities {
    pub(crate) fn tell(&mut self, participants: &[Seen]) {
        let mut now = [0.0; 3];
        for quality in participants.iter().filter_map(|seen| seen.quality) {
            now[Self::place(quality)] += 1.0;
        }
        for (place, name) in ["good", "poor", "lost"].into_iter().enumerate() {
            let more = now[place] - self.0[place];
            if more != 0.0 {
                gauge!("buildspaces_media_quality", "quality" => name).increment(more);
            }
        }
        self.0 = now;
    }

    fn place(quality: Quality) -> usize {
        match quality {
            Quality::Good => 0,
            Quality::Poor(_) => 1,
            Quality::Lost => 2,
        }
    }
}

impl Drop for Qualities {
    fn drop(&mut self) {
        self.tell(&[]);
    }
}

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

    /// A recording under way.
    pub(crate) fn recording() -> Self {
        Self::new(gauge!("buildspaces_media_recordings_open"))
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
