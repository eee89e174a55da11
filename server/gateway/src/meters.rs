//! What is measured about connections; see `docs/operations.md` for the names, and `rooms::meters` for why handles are kept.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use buildspaces_kernel::ids::RoomId;
use buildspaces_media::calls::Stats;
use metrics::{Counter, Gauge, counter, gauge};

pub(crate) static RECEIVED_BYTES: LazyLock<Counter> = LazyLock::new(|| counter!("buildspaces_received_bytes_total"));

pub(crate) static PREVIEW_REQUESTS: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_preview_requests_total"));

/// A connection counts for as long as this exists.
pub(crate) struct OpenConnection(Gauge);

impl OpenConnection {
    /// `protocol`: `yjs`, `collab`, `ysweet`, `terminal`, `media`, `whip` or `whep`.
    pub(crate) fn new(protocol: &'static str) -> Self {
        let gauge = gauge!("buildspaces_connections_open", "protocol" => protocol);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A limit refused something; [`crate::limits`] has the others.
pub(crate) fn limited(limit: &'static str) {
    counter!("buildspaces_limited_total", "limit" => limit).increment(1);
}

/// The server ended a connection.
pub(crate) fn closed(code: u16) {
    counter!("buildspaces_connections_closed_total", "code" => code.to_string()).increment(1);
}

/// How it goes with each room's call, as Prometheus reads it. Not through the facade, in which what was named once stays for ever: there are as many
/// rooms as people make, and of these only who is in a call now.
pub(crate) fn of_calls(calls: &BTreeMap<RoomId, Stats>) -> String {
    type Lines<'a> = &'a [(&'a str, fn(&Stats) -> f64)];
    let gauges: [(&str, &str, Lines<'_>); 4] = [
        ("participants", "People and agents in a room's call", &[("", |of| of.participants as f64)]),
        ("received_bits_per_second", "Media that comes from them", &[("", |of| of.received)]),
        ("sent_bits_per_second", "Media that goes to receivers of a room's call", &[("", |of| of.sent)]),
        (
            "lost_ratio",
            "Share of packets that pages in a room's call report as lost, on average, by direction",
            &[(",direction=\"sent\"", |of| of.sent_lost), (",direction=\"received\"", |of| of.received_lost)],
        ),
    ];
    let mut text = String::new();
    for (name, help, lines) in gauges.iter().filter(|_| !calls.is_empty()) {
        let name = format!("buildspaces_media_room_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (room, stats) in calls {
            for (label, of) in *lines {
                let _ = writeln!(text, "{name}{{room=\"{room}\"{label}}} {}", of(stats));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_lines() {
        assert_eq!(of_calls(&BTreeMap::new()), "");
        let stats = Stats { participants: 3, received: 2.5e6, sent: 5e6, sent_lost: 0.0, received_lost: 0.02 };
        let room = RoomId::parse("a-room").expect("an id");
        let text = of_calls(&[(room, stats)].into());
        for line in [
            "# TYPE buildspaces_media_room_participants gauge",
            "buildspaces_media_room_participants{room=\"a-room\"} 3",
            "buildspaces_media_room_received_bits_per_second{room=\"a-room\"} 2500000",
            "buildspaces_media_room_sent_bits_per_second{room=\"a-room\"} 5000000",
            "buildspaces_media_room_lost_ratio{room=\"a-room\",direction=\"sent\"} 0",
            "buildspaces_media_room_lost_ratio{room=\"a-room\",direction=\"received\"} 0.02",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
