//! When a packet is, in the time of its recording: by its own timestamp, which is exact from one packet to the next, held to the server's clock,
//! because nobody answers for what a page writes there. Pure.

use std::time::Duration;

/// How far timestamps may be from when their packets came. Beyond, the clock is right: they were set anew, or the page's clock runs differently.
const TOLERANCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Timeline {
    /// Ticks of a timestamp in a second.
    clock: u32,
    /// The last timestamp, and where it is in ticks since the recording began.
    last: Option<(u32, i64)>,
}

impl Timeline {
    pub(super) fn new(clock: u32) -> Self {
        Self { clock, last: None }
    }

    pub(super) fn ticks(&self, time: Duration) -> i64 {
        let ticks = time.as_micros() * u128::from(self.clock) / 1_000_000;
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    /// Where a packet belongs that came at this moment, in ticks since the recording began.
    pub(super) fn place(&mut self, timestamp: u32, came: Duration) -> i64 {
        let came = self.ticks(came);
        let place = match self.last {
            Some((last, place)) => place + i64::from(timestamp.wrapping_sub(last) as i32),
            None => came,
        };
        let is_near = (place - came).abs() <= self.ticks(TOLERANCE);
        let place = if is_near { place } else { came };
        self.last = Some((timestamp, place));
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_say_it_exactly_while_they_are_about_right() {
        let mut timeline = Timeline::new(1000);
        let cases = [
            // Timestamp, when it came, where it is.
            (u32::MAX - 9, 500, 500),
            (10, 545, 520),
            (30, 900, 540),
            // Late by more than a second: its page's clock is slow, or it was asleep.
            (50, 1600, 1600),
            (70, 1601, 1620),
            (2_000_000_000, 1700, 1700),
            (70, 1720, 1720),
        ];
        for (timestamp, came, expected) in cases {
            assert_eq!(timeline.place(timestamp, Duration::from_millis(came)), expected, "{timestamp}");
        }
    }
}
