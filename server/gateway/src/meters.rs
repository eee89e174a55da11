//! What is measured about connections; see `docs/operations.md` for the names, and `rooms::meters` for why handles are kept.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use buildspaces_kernel::ids::{ParticipantId, RoomId};
use buildspaces_media::calls::Stats;
use buildspaces_media::quality::Report;
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

/// A gauge of calls: its name, what it is, and its labels and values of one call.
type OfCall = (&'static str, &'static str, fn(&Stats) -> Vec<(String, f64)>);

const OF_ROOMS: [OfCall; 4] = [
    ("room_participants", "People and agents in a room's call", |of| vec![(String::new(), of.participants as f64)]),
    ("room_received_bits_per_second", "Media that comes from them", |of| vec![(String::new(), of.received)]),
    ("room_sent_bits_per_second", "Media that goes to receivers of a room's call", |of| vec![(String::new(), of.sent)]),
    (
        "room_lost_ratio",
        "Share of packets that pages in a room's call report as lost, on average, by direction",
        |of| {
            let (sent, received) = of.lost();
            vec![(direction("sent"), sent), (direction("received"), received)]
        },
    ),
];

const OF_PARTICIPANTS: [OfCall; 3] = [
    ("participant_lost_ratio", "Share of packets that a participant's page reports as lost, by direction", |of| {
        let both = |id: &ParticipantId, report: &Report| {
            [("sent", report.sent_lost_ratio()), ("received", report.received_lost_ratio())]
                .map(|(way, lost)| (participant(id) + &direction(way), lost))
        };
        of.reports.iter().flat_map(|(id, report)| both(id, report)).collect()
    }),
    ("participant_bits_per_second", "Media of a participant, as their page reports it, by direction", |of| {
        let both = |id: &ParticipantId, report: &Report| {
            [("sent", report.sent), ("received", report.received)]
                .map(|(way, bits)| (participant(id) + &direction(way), bits as f64))
        };
        of.reports.iter().flat_map(|(id, report)| both(id, report)).collect()
    }),
    ("participant_round_trip_seconds", "Round trip between a participant's page and the server", |of| {
        of.reports.iter().map(|(id, report)| (participant(id), report.round_trip.as_secs_f64())).collect()
    }),
];

fn direction(name: &str) -> String {
    format!(",direction=\"{name}\"")
}

fn participant(id: &ParticipantId) -> String {
    format!(",participant=\"{id}\"")
}

/// How it goes with each room's call, and with each of its participants if they are asked for, as Prometheus reads it. Not through the facade, in
/// which what was named once stays for ever: there are as many rooms as people make, and of these only who is in a call now.
pub(crate) fn of_calls(calls: &BTreeMap<RoomId, Stats>, with_participants: bool) -> String {
    let of_participants = if with_participants { &OF_PARTICIPANTS[..] } else { &[] };
    let mut text = String::new();
    for (name, help, samples) in OF_ROOMS.iter().chain(of_participants).filter(|_| !calls.is_empty()) {
        let name = format!("buildspaces_media_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (room, stats) in calls {
            for (labels, value) in samples(stats) {
                let _ = writeln!(text, "{name}{{room=\"{room}\"{labels}}} {value}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_call_has_its_lines_and_each_participant_if_they_are_asked_for() {
        assert_eq!(of_calls(&BTreeMap::new(), true), "");
        let report = Report {
            sent_lost: 0,
            received_lost: 20,
            round_trip: Duration::from_millis(40),
            sent: 2_000_000,
            received: 1_000_000,
        };
        let id = ParticipantId::random();
        let stats = Stats { participants: 3, received: 2.5e6, sent: 5e6, reports: vec![(id.clone(), report)] };
        let calls = [(RoomId::parse("a-room").expect("an id"), stats)].into();
        let text = of_calls(&calls, false);
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
        assert!(!text.contains("participant_"));
        let text = of_calls(&calls, true);
        let of = format!("{{room=\"a-room\",participant=\"{id}\"");
        for line in [
            "# TYPE buildspaces_media_participant_lost_ratio gauge".to_owned(),
            format!("buildspaces_media_participant_lost_ratio{of},direction=\"received\"}} 0.02"),
            format!("buildspaces_media_participant_bits_per_second{of},direction=\"sent\"}} 2000000"),
            format!("buildspaces_media_participant_round_trip_seconds{of}}} 0.04"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
