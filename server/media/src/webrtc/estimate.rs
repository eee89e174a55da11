//! How much the line to a receiver takes, by what it says of the packets it got (transport-wide feedback).
//!
//! The signs are those of Google congestion control (draft-ietf-rmcat-gcc-02): delays that grow ([`super::trend`]), what arrives, what is lost. What becomes of
//! the estimate is our own, because we do not encode: a sender that has nothing more to send must not take that for the line's bound, nor may the estimate fall
//! by itself.

use std::time::{Duration, Instant};

use rtc::interceptor::{ArrivalGroupAccumulator, BandwidthEstimator, PacketReport, RateCalculator, Usage};
use tokio::sync::watch;

use super::trend::Trend;

/// Bits in a second to begin with, and the bounds. A voice and a small picture always have room.
const FIRST: f64 = 1_000_000.0;
const LEAST: f64 = 60_000.0;
const MOST: f64 = 50_000_000.0;

/// What is left of what arrives when delays grow.
const FALL: f64 = 0.85;

/// The least time between two falls: what was sent before the last one is still arriving.
const SETTLED: Duration = Duration::from_millis(300);

/// Growth in a second: before the first fall, for a while after one, and later.
const AT_FIRST: f64 = 2.0;
const AFTER_A_FALL: f64 = 1.08;
const LATER: f64 = 1.25;
const A_WHILE: Duration = Duration::from_secs(20);

/// From this share of lost packets on they are lost for want of room. A radio loses some all the time.
const LOSSY: f64 = 0.1;

/// Packets by which loss is judged, and how much they count for the average. Of a few, one that is lost is a large share.
const SAMPLE: u32 = 40;
const WEIGHT: f64 = 0.3;

pub(super) struct Estimate {
    bursts: ArrivalGroupAccumulator,
    trend: Trend,
    received: RateCalculator,
    loss: f64,
    /// Packets of the next sample, and how many of them are lost.
    sample: (u32, u32),
    target: f64,
    fallen: Option<Instant>,
    grown: Option<Instant>,
    /// Whoever waits for it to change is told of falls only.
    out: watch::Sender<Option<u64>>,
}

impl Estimate {
    pub(super) fn new(out: watch::Sender<Option<u64>>) -> Self {
        Self {
            bursts: ArrivalGroupAccumulator::default(),
            trend: Trend::new(),
            received: RateCalculator::default(),
            loss: 0.0,
            sample: (0, 0),
            target: FIRST,
            fallen: None,
            grown: None,
            out,
        }
    }

    fn lose(&mut self, reports: &[PacketReport]) {
        for report in reports {
            let (packets, lost) = &mut self.sample;
            (*packets, *lost) = (*packets + 1, *lost + u32::from(!report.arrived));
            if *packets == SAMPLE {
                self.loss += (f64::from(*lost) / f64::from(SAMPLE) - self.loss) * WEIGHT;
                self.sample = (0, 0);
            }
        }
    }

    fn fall(&mut self, now: Instant, to: f64) {
        if self.fallen.is_none_or(|fallen| now >= fallen + SETTLED) && to < self.target {
            self.target = to;
            self.fallen = Some(now);
        }
    }

    /// What arrives while delays do not grow, the line takes. That counts to begin with; later it is bursts that the line held.
    fn grow(&mut self, now: Instant, received: Option<f64>) {
        let passed = self.grown.map_or(Duration::ZERO, |grown| now.saturating_duration_since(grown));
        let in_a_second = match self.fallen {
            None => AT_FIRST,
            Some(fallen) if now < fallen + A_WHILE => AFTER_A_FALL,
            Some(_) => LATER,
        };
        self.target *= in_a_second.powf(passed.as_secs_f64().min(1.0));
        if self.fallen.is_none() {
            self.target = self.target.max(received.unwrap_or_default());
        }
    }
}

impl BandwidthEstimator for Estimate {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        if reports.is_empty() {
            return;
        }
        for report in reports {
            if report.arrived {
                self.received.add(now, report.size);
            }
            if let Some(burst) = self.bursts.accumulate(report) {
                self.trend.burst(&burst);
            }
        }
        self.lose(reports);
        let received = self.received.rate_bits_per_second(now);
        match (self.trend.usage(), received) {
            (Usage::Over, Some(received)) => self.fall(now, received * FALL),
            (_, Some(received)) if self.loss > LOSSY => self.fall(now, received * (1.0 - self.loss / 2.0)),
            (Usage::Normal, received) => self.grow(now, received),
            _ => {}
        }
        self.grown = Some(now);
        self.target = self.target.clamp(LEAST, MOST);
        let target = self.target as u64;
        self.out.send_if_modified(|known| {
            let has_fallen = known.is_none_or(|known| target < known);
            *known = Some(target);
            has_fallen
        });
    }

    fn target_bitrate(&self) -> f64 {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

    use super::*;

    /// A line that takes so many bits in a second, and holds what is too much for it for as long as it takes.
    struct Line {
        takes: f64,
        /// When it is through with what it has, since the beginning.
        free: Duration,
        sent: u64,
    }

    const BYTES: usize = 1000;
    const DELAY: Duration = Duration::from_millis(20);

    /// What became of the estimate after each second in which `rate` was sent.
    struct Run {
        estimate: Estimate,
        out: watch::Receiver<Option<u64>>,
        line: Line,
        begin: Instant,
        now: Duration,
    }

    impl Run {
        fn new(takes: f64) -> Self {
            let (sender, out) = watch::channel(None);
            let line = Line { takes, free: Duration::ZERO, sent: 0 };
            Self { estimate: Estimate::new(sender), out, line, begin: Instant::now(), now: Duration::ZERO }
        }

        /// Sends `rate` for a second, of which every so many packets are lost.
        fn second(&mut self, rate: f64, lose: Option<u64>) -> f64 {
            let pause = Duration::from_secs_f64(BYTES as f64 * 8.0 / rate);
            let end = self.now + Duration::from_secs(1);
            let mut reports = Vec::new();
            let mut next_feedback = self.now + Duration::from_millis(50);
            while self.now < end {
                let took = Duration::from_secs_f64(BYTES as f64 * 8.0 / self.line.takes);
                self.line.free = self.line.free.max(self.now) + took;
                self.line.sent += 1;
                let arrived = lose.is_none_or(|every| !self.line.sent.is_multiple_of(every));
                reports.push(PacketReport {
                    ssrc: 1,
                    id: self.line.sent,
                    rtp_sequence_number: self.line.sent as u16,
                    is_twcc: true,
                    twcc_sequence_number: self.line.sent as u16,
                    size: BYTES,
                    arrived,
                    departure: self.begin + self.now,
                    arrival: arrived.then_some(self.line.free + DELAY),
                    ecn: Ecn::default(),
                });
                self.now += pause;
                if self.now >= next_feedback {
                    let heard = self.begin + self.line.free + DELAY * 2;
                    self.estimate.on_reports(heard, &std::mem::take(&mut reports));
                    next_feedback = self.now + Duration::from_millis(50);
                }
            }
            self.out.borrow().expect("there was feedback") as f64
        }
    }

    #[test]
    fn a_wide_line_is_soon_known_to_be_one() {
        let mut run = Run::new(100e6);
        let seen: Vec<f64> = (0..6).map(|_| run.second(400_000.0, None)).collect();
        assert!(seen.is_sorted() && seen[3] > 8e6, "{seen:?}");
    }

    #[test]
    fn a_thin_line_is_found_and_found_again_when_it_is_wider() {
        let mut run = Run::new(500_000.0);
        let seen: Vec<f64> = (0..3).map(|_| run.second(900_000.0, None)).collect();
        assert!(seen[1] < 500_000.0 && seen[2] > 250_000.0, "{seen:?}");
        // What is sent now fits, and the line empties.
        let kept: Vec<f64> = (0..10).map(|_| run.second(200_000.0, None)).collect();
        assert!(kept.iter().all(|kept| (150_000.0..1_500_000.0).contains(kept)), "{kept:?}");
        run.line.takes = 10e6;
        let wide: Vec<f64> = (0..40).map(|_| run.second(200_000.0, None)).collect();
        assert!(wide[39] > 2e6, "{wide:?}");
    }

    #[test]
    fn what_arrives_in_time_the_line_takes() {
        let mut run = Run::new(100e6);
        assert!(run.second(6e6, None) > 6e6);
    }

    #[test]
    fn a_voice_that_loses_a_packet_now_and_then_does_not_look_like_a_full_line() {
        let mut run = Run::new(100e6);
        // A report is of two or three packets, and one in six loses a third or half of its own.
        let seen: Vec<f64> = (0..10).map(|_| run.second(400_000.0, Some(16))).collect();
        assert!(seen.is_sorted(), "{seen:?}");
    }

    #[test]
    fn a_few_lost_packets_change_nothing_and_many_do() {
        let mut run = Run::new(100e6);
        let some: Vec<f64> = (0..5).map(|_| run.second(400_000.0, Some(20))).collect();
        assert!(some.is_sorted(), "{some:?}");
        let many: Vec<f64> = (0..5).map(|_| run.second(400_000.0, Some(3))).collect();
        assert!(many[4] < 400_000.0, "{many:?}");
    }
}
