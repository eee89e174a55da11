//! What arrived: deliveries, their latency, bytes, and everything that should not have happened.
//!
//! **Coordinated omission.** Keystrokes are sent at moments fixed beforehand, whether or not the server keeps up. A latency counts
//! from the moment the keystroke was handed to its connection, so what waits in a full socket counts in full. Where the generator itself
//! was late by more than [`GRACE`], it counts from the moment planned, so that a stall hides nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::clock::Nanos;

/// How late a keystroke may leave and still count from when it left.
pub const GRACE: Nanos = 1_000_000;

/// Longest latency that is told apart.
const MAX: Nanos = 300_000_000_000;

/// From when on a keystroke's latency counts.
pub fn counts_from(planned: Nanos, sent: Nanos) -> Nanos {
    if sent.saturating_sub(planned) > GRACE { planned } else { sent }
}

/// A histogram of nanoseconds with three digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1_000, MAX, 3).expect("the bounds are valid"))
    }
}

impl Latency {
    pub fn record(&mut self, nanos: Nanos) {
        self.0.saturating_record(nanos);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds; none if nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e6)
    }

    pub fn max(&self) -> Option<f64> {
        self.quantile(1.0)
    }

    /// Points of the distribution for a plot: quantile and milliseconds.
    pub fn points(&self) -> Vec<(f64, f64)> {
        const POINTS: [f64; 12] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];
        POINTS.iter().filter_map(|at| Some((*at, self.quantile(*at)?))).collect()
    }
}

/// Counts of a group of members.
#[derive(Debug, Default)]
pub struct Tally {
    /// Keystrokes sent before this moment are not counted.
    pub from: Cell<Nanos>,
    /// Keystrokes that reached another member, each once per member.
    pub delivered: Cell<u64>,
    pub latency: RefCell<Latency>,
    pub frames: Cell<u64>,
    pub bytes: Cell<u64>,
    /// Acknowledgements received, and how long after the update they came.
    pub acks: Cell<u64>,
    pub ack_latency: RefCell<Latency>,
    /// Presence states that arrived, and how old they were.
    pub states: Cell<u64>,
    pub state_age: RefCell<Latency>,
    /// Things that should not happen, counted by what they are.
    pub trouble: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    pub fn trouble(&self, what: impl Into<String>) {
        *self.trouble.borrow_mut().entry(what.into()).or_default() += 1;
    }

    /// Counts from now on.
    pub fn restart(&self, from: Nanos) {
        self.from.set(from);
        for counter in [&self.delivered, &self.frames, &self.bytes, &self.acks, &self.states] {
            counter.set(0);
        }
        for latency in [&self.latency, &self.ack_latency, &self.state_age] {
            *latency.borrow_mut() = Latency::default();
        }
    }

    pub(crate) fn add(counter: &Cell<u64>, more: u64) {
        counter.set(counter.get() + more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_generator_hides_no_latency() {
        assert_eq!(counts_from(1_000_000, 1_200_000), 1_200_000, "a timer's jitter is not the server's");
        assert_eq!(counts_from(1_000_000, 9_000_000), 1_000_000, "a stall is counted");
    }

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(0.5), None);
        for micros in 1..=1000 {
            latency.record(micros * 1000);
        }
        for (quantile, expected) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let found = latency.quantile(quantile).expect("recorded");
            assert!((found - expected).abs() < 0.002, "{quantile}: {found}");
        }
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 1001, "what is past the end is counted at the end");
    }
}
