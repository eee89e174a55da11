//! How well somebody is connected, as everybody in a call sees it: by what their page reports of its two connections, every few
//! seconds. Pure.
//!
//! Worse is said at once and better after a while, so that what people see does not flicker. A page says this of itself alone, and
//! nothing but what is shown follows from it.

use std::time::{Duration, Instant};

/// Without a report for so long nothing comes through. Pages report every 3 s.
pub const SILENT_FOR: Duration = Duration::from_secs(10);

/// How long it must be good before it is said to be.
const STEADY_FOR: Duration = Duration::from_secs(8);

/// In a thousand packets. Sound has gaps that one hears when more are missed: browsers conceal single ones.
const LOSS: u16 = 50;

/// Above it people begin to speak at the same time (ITU-T G.114: 400 ms one way is too much for any conversation, 150 ms is not felt).
const ROUND_TRIP: Duration = Duration::from_millis(400);

/// What a page saw since its last report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// How many of a thousand packets did not arrive, of what it sent and of what it was sent.
    pub sent_lost: u16,
    pub received_lost: u16,
    pub round_trip: Duration,
    /// Bits in a second.
    pub sent: u64,
    pub received: u64,
}

/// What is wrong with a connection that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    Loss,
    Delay,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quality {
    Good,
    Poor(Trouble),
    /// Nothing comes through.
    Lost,
}

/// One participant's.
#[derive(Debug)]
pub struct Connection {
    quality: Quality,
    heard: Instant,
    last: Report,
    good_since: Option<Instant>,
}

impl Connection {
    pub fn new(now: Instant, report: &Report) -> Self {
        let quality = report.quality();
        Self { quality, heard: now, last: *report, good_since: (quality == Quality::Good).then_some(now) }
    }

    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// What was reported last.
    pub fn last(&self) -> &Report {
        &self.last
    }

    pub fn reported(&mut self, now: Instant, report: &Report) {
        (self.heard, self.last) = (now, *report);
        match report.quality() {
            Quality::Good => {
                let since = *self.good_since.get_or_insert(now);
                if now >= since + STEADY_FOR {
                    self.quality = Quality::Good;
                } else if self.quality == Quality::Lost {
                    self.quality = Quality::Poor(Trouble::Loss);
                }
            }
            poor => (self.quality, self.good_since) = (poor, None),
        }
    }

    /// When [`Self::elapsed`] may change something.
    pub fn deadline(&self) -> Option<Instant> {
        (self.quality != Quality::Lost).then_some(self.heard + SILENT_FOR)
    }

    pub fn elapsed(&mut self, now: Instant) {
        if now >= self.heard + SILENT_FOR {
            (self.quality, self.good_since) = (Quality::Lost, None);
        }
    }
}

impl Report {
    /// The share of what the page sent that did not arrive.
    pub fn sent_lost_ratio(&self) -> f64 {
        f64::from(self.sent_lost) / 1000.0
    }

    /// The share of what the page was sent that did not.
    pub fn received_lost_ratio(&self) -> f64 {
        f64::from(self.received_lost) / 1000.0
    }

    fn quality(&self) -> Quality {
        if self.sent_lost.max(self.received_lost) >= LOSS {
            Quality::Poor(Trouble::Loss)
        } else if self.round_trip >= ROUND_TRIP {
            Quality::Poor(Trouble::Delay)
        } else {
            Quality::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Report =
        Report { sent_lost: 0, received_lost: 10, round_trip: Duration::from_millis(40), sent: 1, received: 1 };
    const LOSSY: Report = Report { sent_lost: 60, ..GOOD };
    const DEAF: Report = Report { received_lost: 500, ..GOOD };
    const FAR: Report = Report { round_trip: Duration::from_millis(600), ..GOOD };

    #[test]
    fn worse_is_said_at_once_and_better_after_a_while() {
        let poor = Quality::Poor;
        // Reports come every 3 s; `None`: it did not.
        let cases: &[(&[Option<Report>], &[Quality])] = &[
            (&[Some(GOOD), Some(GOOD)], &[Quality::Good, Quality::Good]),
            (&[Some(LOSSY), Some(DEAF), Some(FAR)], &[poor(Trouble::Loss), poor(Trouble::Loss), poor(Trouble::Delay)]),
            (
                &[Some(GOOD), Some(LOSSY), Some(GOOD), Some(GOOD), Some(GOOD), Some(GOOD)],
                &[
                    Quality::Good,
                    poor(Trouble::Loss),
                    poor(Trouble::Loss),
                    poor(Trouble::Loss),
                    poor(Trouble::Loss),
                    Quality::Good,
                ],
            ),
            // What is good only now and then is not.
            (&[Some(LOSSY), Some(GOOD), Some(GOOD), Some(LOSSY), Some(GOOD), Some(GOOD)], &[poor(Trouble::Loss); 6]),
            (
                &[Some(GOOD), None, None, None, None, Some(GOOD)],
                &[Quality::Good, Quality::Good, Quality::Good, Quality::Good, Quality::Lost, poor(Trouble::Loss)],
            ),
        ];
        for (reports, expected) in cases {
            let start = Instant::now();
            let mut connection: Option<Connection> = None;
            let mut seen = Vec::new();
            for (nth, report) in reports.iter().enumerate() {
                let now = start + Duration::from_secs(3) * nth as u32;
                match (&mut connection, report) {
                    (Some(connection), Some(report)) => connection.reported(now, report),
                    (Some(connection), None) if connection.deadline().is_some_and(|deadline| now >= deadline) => {
                        connection.elapsed(now);
                    }
                    (None, Some(report)) => connection = Some(Connection::new(now, report)),
                    _ => {}
                }
                seen.extend(connection.as_ref().map(Connection::quality));
            }
            assert_eq!(seen, *expected, "{reports:?}");
        }
    }
}
