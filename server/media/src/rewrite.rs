//! Makes one continuous RTP stream of several sources, as a receiver must see it: sequence numbers without gaps of our making,
//! timestamps that go on with the time that passed. Pure.
//!
//! It decides nothing about which packets are sent; [`crate::router`] does. What is lost on the way stays a gap, so that the
//! receiver can ask for it.

use std::collections::VecDeque;
use std::time::Instant;

/// Where packets come from: a stream, and how often its track was opened. Another source is another numbering.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source {
    pub ssrc: u32,
    pub epoch: u32,
}

/// Runs of skipped packets that are remembered for packets that arrive late. What belongs before the oldest is not sent: how many were skipped
/// before it is not known any more, and another packet may have its number.
const SKIPS: usize = 32;

/// The numbering of one outgoing stream.
#[derive(Debug)]
pub struct Rewriter {
    /// Ticks of the timestamp in a second.
    clock: u32,
    current: Option<Current>,
    last: Option<Last>,
}

#[derive(Debug)]
struct Current {
    source: Source,
    /// The first packet and the newest, in numbers that do not wrap.
    first: i64,
    newest: i64,
    /// From which packet on what is added to a sequence number. Never empty, oldest first.
    offsets: VecDeque<(i64, u16)>,
    timestamp_offset: u32,
}

/// The newest packet that went out.
#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u16,
    timestamp: u32,
    at: Instant,
}

impl Rewriter {
    pub fn new(clock: u32) -> Self {
        Self { clock, current: None, last: None }
    }

    /// The sequence number and timestamp under which a packet goes out; `None` if it belongs before the first of its source, or is so late that its
    /// number is not known any more.
    pub fn step(&mut self, now: Instant, source: Source, sequence: u16, timestamp: u32) -> Option<(u16, u32)> {
        let current = match &mut self.current {
            Some(current) if current.source == source => current,
            _ => self.begin(now, source, sequence, timestamp),
        };
        let at = current.extend(sequence);
        if at < current.first {
            return None;
        }
        let (_, offset) = *current.offsets.iter().rev().find(|(from, _)| *from <= at)?;
        current.newest = current.newest.max(at);
        let out = (sequence.wrapping_add(offset), timestamp.wrapping_add(current.timestamp_offset));
        if at == current.newest {
            self.last = Some(Last { sequence: out.0, timestamp: out.1, at: now });
        }
        Some(out)
    }

    /// A packet of the current source that is not sent, such as padding: what follows closes the gap. A late one leaves it, because
    /// the numbers around it are out already.
    pub fn skip(&mut self, source: Source, sequence: u16) {
        let Some(current) = self.current.as_mut().filter(|current| current.source == source) else { return };
        let at = current.extend(sequence);
        if at != current.newest + 1 {
            return;
        }
        current.newest = at;
        let (from, offset) = *current.offsets.back().expect("never empty");
        if from == at {
            // Nothing was sent since the last that was skipped.
            current.offsets.pop_back();
        }
        current.offsets.push_back((at + 1, offset.wrapping_sub(1)));
        if current.offsets.len() > SKIPS {
            current.offsets.pop_front();
        }
    }

    fn begin(&mut self, now: Instant, source: Source, sequence: u16, timestamp: u32) -> &mut Current {
        let (offset, timestamp_offset) = match self.last {
            None => (0, 0),
            Some(last) => {
                let passed = now.saturating_duration_since(last.at).as_secs_f64() * f64::from(self.clock);
                // At least one tick: two frames of one time would be one frame.
                let next = last.timestamp.wrapping_add((passed as u64 as u32).max(1));
                (last.sequence.wrapping_add(1).wrapping_sub(sequence), next.wrapping_sub(timestamp))
            }
        };
        let first = i64::from(sequence);
        let offsets = VecDeque::from([(first, offset)]);
        self.current.insert(Current { source, first, newest: first, offsets, timestamp_offset })
    }
}

impl Current {
    /// The number without wrapping that is nearest to the newest.
    fn extend(&self, sequence: u16) -> i64 {
        self.newest + i64::from(sequence.wrapping_sub(self.newest as u16) as i16)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Source = Source { ssrc: 1, epoch: 0 };
    const B: Source = Source { ssrc: 2, epoch: 0 };

    #[test]
    fn one_source_keeps_its_numbers_across_the_wrap() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        for sequence in [65_534_u16, 65_535, 0, 1] {
            assert_eq!(rewriter.step(now, A, sequence, 7), Some((sequence, 7)));
        }
    }

    #[test]
    fn another_source_goes_on_where_the_last_was() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.step(now, A, 100, 1000);
        let later = now + Duration::from_millis(100);
        assert_eq!(rewriter.step(later, B, 5, 77_000), Some((101, 10_000)));
        assert_eq!(rewriter.step(later, B, 6, 77_010), Some((102, 10_010)));
        // What the other source still sends begins it anew; whoever calls decides that it does not.
        assert_eq!(rewriter.step(later, Source { epoch: 1, ..B }, 9, 0), Some((103, 10_011)));
    }

    #[test]
    fn loss_stays_a_gap_and_late_packets_fill_it() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.step(now, A, 9, 0);
        rewriter.step(now, B, 50, 0);
        assert_eq!(rewriter.step(now, B, 53, 0).map(|out| out.0), Some(13));
        assert_eq!(rewriter.step(now, B, 51, 0).map(|out| out.0), Some(11));
        assert_eq!(rewriter.step(now, B, 49, 0), None, "before the keyframe that the source began with");
        assert_eq!(rewriter.step(now, B, 54, 0).map(|out| out.0), Some(14));
    }

    #[test]
    fn what_is_skipped_leaves_no_gap() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.step(now, A, 10, 0);
        rewriter.skip(A, 11);
        rewriter.skip(A, 12);
        assert_eq!(rewriter.step(now, A, 13, 0).map(|out| out.0), Some(11));
        assert_eq!(rewriter.step(now, A, 15, 0).map(|out| out.0), Some(13));
        // Too late: its number is a gap that nobody fills.
        rewriter.skip(A, 14);
        assert_eq!(rewriter.step(now, A, 16, 0).map(|out| out.0), Some(14));
        rewriter.skip(B, 17);
        assert_eq!(rewriter.step(now, A, 17, 0).map(|out| out.0), Some(15), "another source's padding is not ours");
    }

    #[test]
    fn late_packets_keep_their_numbers_behind_much_padding_or_are_not_sent() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.step(now, A, 10, 0);
        rewriter.step(now, B, 50_000, 0);
        rewriter.step(now, B, 50_002, 0);
        (50_003..=50_040).for_each(|sequence| rewriter.skip(B, sequence));
        assert_eq!(rewriter.step(now, B, 50_001, 0).map(|out| out.0), Some(12));
        assert_eq!(rewriter.step(now, B, 50_041, 0).map(|out| out.0), Some(14));
        // One that is skipped behind each that is sent: with none of 100 of them can be said which number was whose.
        for sequence in (50_042..50_242).step_by(2) {
            rewriter.skip(B, sequence);
            rewriter.step(now, B, sequence + 1, 0);
        }
        assert_eq!(rewriter.step(now, B, 50_043, 0), None);
        assert_eq!(rewriter.step(now, B, 50_241, 0).map(|out| out.0), Some(114), "it is sent again as it was");
        assert_eq!(rewriter.step(now, B, 50_242, 0).map(|out| out.0), Some(115));
    }

    #[test]
    fn a_packet_that_overtook_padding_keeps_its_own_number() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.step(now, A, 10, 0);
        rewriter.step(now, A, 11, 0);
        // 12 is on its way when padding 13 arrives: the gap of 12 must stay for it.
        rewriter.skip(A, 13);
        assert_eq!(rewriter.step(now, A, 12, 0).map(|out| out.0), Some(12));
    }
}
