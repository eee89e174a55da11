//! Does what waits on the way grow? From the delays between bursts of packets. Pure.
//!
//! The trendline filter of Google congestion control with the adaptive threshold of draft-ietf-rmcat-gcc-02, section 5.4, and the numbers that browsers use: the
//! slope of the smoothed delay over the last [`WINDOW`] bursts, times a gain, against a threshold that follows it slowly. The crate's own filter looks at one
//! burst at a time, and does not see a line that is a third too thin.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{InterGroupDelay, Usage};

/// Bursts in the window.
const WINDOW: usize = 20;

/// How much of a delay before stays in the smoothed one.
const SMOOTHING: f64 = 0.9;

/// What slopes are multiplied by, and with how many bursts at most.
const GAIN: f64 = 4.0;
const MOST_BURSTS: f64 = 60.0;

/// The threshold to begin with and its bounds, in milliseconds; and how fast it goes up and down, in a millisecond.
const THRESHOLD: f64 = 12.5;
const LEAST: f64 = 6.0;
const MOST: f64 = 600.0;
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;

/// What is so far above the threshold does not move it.
const OUTLIER: f64 = 15.0;

/// For how long it must be above.
const PERSISTS: Duration = Duration::from_millis(10);

pub(super) struct Trend {
    begin: Option<Instant>,
    bursts: f64,
    delay: f64,
    smoothed: f64,
    /// When a burst arrived and its smoothed delay, in milliseconds.
    window: VecDeque<(f64, f64)>,
    threshold: f64,
    updated: Option<Instant>,
    above: Option<Instant>,
    before: f64,
    usage: Usage,
}

impl Trend {
    pub(super) fn new() -> Self {
        Self {
            begin: None,
            bursts: 0.0,
            delay: 0.0,
            smoothed: 0.0,
            window: VecDeque::with_capacity(WINDOW),
            threshold: THRESHOLD,
            updated: None,
            above: None,
            before: 0.0,
            usage: Usage::Normal,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn burst(&mut self, burst: &InterGroupDelay) {
        let begin = *self.begin.get_or_insert(burst.at);
        self.bursts = (self.bursts + 1.0).min(MOST_BURSTS);
        self.delay += burst.delta_ms;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let arrived = burst.at.saturating_duration_since(begin).as_secs_f64() * 1e3 + self.delay;
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back((arrived, self.smoothed));
        let Some(slope) = slope(&self.window).filter(|_| self.window.len() == WINDOW) else { return };
        let trend = self.bursts * slope * GAIN;
        self.usage = if trend > self.threshold {
            let above = *self.above.get_or_insert(burst.at);
            let persists = burst.at.saturating_duration_since(above) >= PERSISTS;
            if persists && slope >= self.before { Usage::Over } else { self.usage }
        } else {
            self.above = None;
            if trend < -self.threshold { Usage::Under } else { Usage::Normal }
        };
        self.before = slope;
        self.adapt(burst.at, trend.abs());
    }

    fn adapt(&mut self, now: Instant, trend: f64) {
        let passed = self.updated.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() * 1e3).min(100.0);
        self.updated = Some(now);
        if trend <= self.threshold + OUTLIER {
            let speed = if trend < self.threshold { DOWN } else { UP };
            self.threshold = (self.threshold + speed * (trend - self.threshold) * passed).clamp(LEAST, MOST);
        }
    }
}

/// Of the line that is nearest to all points; `None` where they have no width.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), point| {
        (over + (point.0 - x) * (point.1 - y), under + (point.0 - x) * (point.0 - x))
    });
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says after so many bursts, 20 ms apart, each so much later than the one before.
    fn after(trend: &mut Trend, now: &mut Instant, bursts: usize, later: impl Fn(usize) -> f64) -> Usage {
        for at in 0..bursts {
            *now += Duration::from_millis(20);
            trend.burst(&InterGroupDelay { delta_ms: later(at), at: *now, size: 1000 });
        }
        trend.usage()
    }

    #[test]
    fn a_queue_that_grows_slowly_is_seen_and_one_that_empties_too() {
        let (mut trend, mut now) = (Trend::new(), Instant::now());
        assert_eq!(after(&mut trend, &mut now, 100, |_| 0.0), Usage::Normal);
        assert_eq!(after(&mut trend, &mut now, 40, |_| 3.0), Usage::Over, "a line that is a seventh too thin");
        assert_eq!(after(&mut trend, &mut now, 40, |_| -3.0), Usage::Under);
        assert_eq!(after(&mut trend, &mut now, 100, |_| 0.0), Usage::Normal);
    }

    #[test]
    fn jitter_is_no_queue() {
        let (mut trend, mut now) = (Trend::new(), Instant::now());
        for _ in 0..50 {
            let usage = after(&mut trend, &mut now, 10, |at| if at % 2 == 0 { 15.0 } else { -15.0 });
            assert_ne!(usage, Usage::Over);
        }
    }
}
