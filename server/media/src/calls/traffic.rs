//! How much one call carries: counted by the tasks of its tracks, and looked at now and then by its actor, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::ParticipantId;

use crate::quality::Report;

/// One room's call, as of a moment ago.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Stats {
    pub participants: usize,
    /// Bits in a second of media that come from all who take part, and that go to all who are sent something.
    pub received: f64,
    pub sent: f64,
    /// What pages report of their connections.
    pub reports: Vec<(ParticipantId, Report)>,
}

impl Stats {
    /// Shares of packets that did not arrive, of what pages sent and of what they were sent, as they say; on average over those that do.
    pub fn lost(&self) -> (f64, f64) {
        let average = |lost: fn(&Report) -> f64| {
            self.reports.iter().map(|(_, report)| lost(report)).sum::<f64>() / self.reports.len().max(1) as f64
        };
        (average(Report::sent_lost_ratio), average(Report::received_lost_ratio))
    }
}

/// Bytes so far.
#[derive(Default, Debug)]
pub(super) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// A packet of so many bytes came, and went to so many receivers.
    pub(super) fn passed(&self, bytes: usize, receivers: u64) {
        self.received.fetch_add(bytes as u64, Relaxed);
        self.sent.fetch_add(bytes as u64 * receivers, Relaxed);
    }
}

/// Makes rates of it.
#[derive(Debug)]
pub(super) struct Meter {
    at: Instant,
    received: u64,
    sent: u64,
}

impl Meter {
    /// Shorter than this nothing is measured.
    const LEAST: Duration = Duration::from_secs(1);

    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, received: 0, sent: 0 }
    }

    /// Bits in a second that came and went since the last time, if that is long ago.
    pub(super) fn rates(&mut self, now: Instant, traffic: &Traffic) -> Option<(f64, f64)> {
        let passed = now.saturating_duration_since(self.at);
        if passed < Self::LEAST {
            return None;
        }
        let (received, sent) = (traffic.received.load(Relaxed), traffic.sent.load(Relaxed));
        let rate = |bytes: u64| bytes as f64 * 8.0 / passed.as_secs_f64();
        let rates = (rate(received - self.received), rate(sent - self.sent));
        *self = Self { at: now, received, sent };
        Some(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_passed_since_the_last_look() {
        let (start, traffic) = (Instant::now(), Traffic::default());
        let mut meter = Meter::new(start);
        traffic.passed(1000, 3);
        assert_eq!(meter.rates(start + Duration::from_millis(999), &traffic), None);
        traffic.passed(1000, 0);
        assert_eq!(meter.rates(start + Duration::from_secs(2), &traffic), Some((8000.0, 12_000.0)));
        assert_eq!(meter.rates(start + Duration::from_secs(4), &traffic), Some((0.0, 0.0)));
    }
}
