//! What one receiver got: which packets of each stream, once each, and when its first picture was whole. Pure.

use std::cell::{Cell, RefCell};

use super::picture::{Mark, Stream};
use crate::clock::Nanos;
use crate::seen::Seen;
use crate::tally::Latency;

/// Counts of a group of receivers, within a span of time: what was sent in it counts, whenever it arrives.
#[derive(Debug)]
pub struct Deliveries {
    pub from: Cell<Nanos>,
    pub until: Cell<Nanos>,
    /// Packets that publishers sent.
    pub sent: Cell<u64>,
    /// Packets that reached a receiver, each once per receiver.
    pub delivered: Cell<u64>,
    /// Packets that a receiver got once more.
    pub again: Cell<u64>,
    pub latency: RefCell<Latency>,
}

impl Deliveries {
    /// Counts nothing yet.
    pub fn new() -> Self {
        let never = Cell::new(Nanos::MAX);
        let (until, zero) = (never.clone(), Cell::new(0));
        let (sent, delivered, again) = (zero.clone(), zero.clone(), zero);
        Self { from: never, until, sent, delivered, again, latency: RefCell::default() }
    }

    pub fn counts(&self, sent: Nanos) -> bool {
        self.from.get() <= sent && sent < self.until.get()
    }

    pub(super) fn add(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new()
    }
}

/// Packets of a stream that may come after one that was sent later, and be its first all the same.
const LATE: u32 = 64;

/// One receiver.
#[derive(Debug, Default)]
pub struct Heard {
    tracks: Vec<Track>,
    /// When the first keyframe was whole.
    pub first_picture: Option<Nanos>,
}

#[derive(Debug)]
struct Track {
    publisher: u16,
    stream: Stream,
    seen: Seen,
    /// Of those that count: the first sequence number, the one after the last, and how many came.
    counted: Option<(u32, u32)>,
    delivered: u32,
    /// A keyframe on its way: its frame, and how many of its packets came.
    keyframe: (u32, u16),
}

impl Heard {
    /// Takes note of a packet. True if it made a first picture whole.
    pub fn arrived(&mut self, now: Nanos, mark: &Mark, deliveries: &Deliveries) -> bool {
        let known =
            self.tracks.iter().position(|track| (track.publisher, track.stream) == (mark.publisher, mark.stream));
        let at = known.unwrap_or_else(|| {
            let (publisher, stream) = (mark.publisher, mark.stream);
            let seen = Seen::from(mark.sequence.saturating_sub(LATE));
            self.tracks.push(Track { publisher, stream, seen, counted: None, delivered: 0, keyframe: (0, 0) });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[at];
        let mut is_new = false;
        track.seen.arrived(mark.sequence, mark.sequence + 1, |_, _| is_new = true);
        let counts = deliveries.counts(mark.sent);
        if counts && is_new {
            Deliveries::add(&deliveries.delivered);
            deliveries.latency.borrow_mut().record(now.saturating_sub(mark.sent));
            let (first, end) = track.counted.unwrap_or((mark.sequence, mark.sequence));
            track.counted = Some((first.min(mark.sequence), end.max(mark.sequence + 1)));
            track.delivered += 1;
        } else if counts {
            Deliveries::add(&deliveries.again);
        }
        if !is_new || !mark.is_key || self.first_picture.is_some() {
            return false;
        }
        if track.keyframe.0 != mark.frame {
            track.keyframe = (mark.frame, 0);
        }
        track.keyframe.1 += 1;
        let is_whole = track.keyframe.1 == mark.of;
        if is_whole {
            self.first_picture = Some(now);
        }
        is_whole
    }

    /// Packets that are missing between the first and the last that came of each stream, of those that count.
    pub fn missing(&self) -> u64 {
        let span = |track: &Track| track.counted.map_or(0, |(first, end)| end - first);
        self.tracks.iter().map(|track| u64::from(span(track) - track.delivered)).sum()
    }

    /// How many streams came, of those that count.
    pub fn streams(&self) -> usize {
        self.tracks.iter().filter(|track| track.counted.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stream: Stream, sequence: u32, sent: Nanos) -> Mark {
        let is_key = stream != Stream::Voice && sequence < 3;
        Mark { publisher: 1, stream, sequence, is_key, frame: sequence / 3, index: (sequence % 3) as u16, of: 3, sent }
    }

    #[test]
    fn each_packet_of_the_span_counts_once_and_gaps_are_missing() {
        let (deliveries, mut heard) = (Deliveries::new(), Heard::default());
        heard.arrived(1, &mark(Stream::High, 9, 1), &deliveries);
        assert_eq!(deliveries.delivered.get(), 0, "before the span");
        deliveries.from.set(10);
        for (stream, sequence) in [(Stream::High, 10), (Stream::High, 13), (Stream::High, 11), (Stream::High, 11)] {
            heard.arrived(20, &mark(stream, sequence, 12), &deliveries);
        }
        heard.arrived(20, &mark(Stream::Voice, 4, 12), &deliveries);
        deliveries.until.set(30);
        heard.arrived(40, &mark(Stream::High, 12, 29), &deliveries);
        assert_eq!(heard.missing(), 0, "what was sent in the span counts whenever it comes");
        heard.arrived(40, &mark(Stream::High, 16, 29), &deliveries);
        heard.arrived(41, &mark(Stream::High, 17, 30), &deliveries);
        assert_eq!((deliveries.delivered.get(), deliveries.again.get()), (6, 1));
        assert_eq!((heard.missing(), heard.streams()), (2, 2));
    }

    #[test]
    fn a_picture_is_there_with_the_last_packet_of_a_keyframe() {
        let (deliveries, mut heard) = (Deliveries::new(), Heard::default());
        for sequence in [1, 0, 0] {
            assert!(!heard.arrived(5, &mark(Stream::Low, sequence, 1), &deliveries));
        }
        assert!(heard.arrived(7, &mark(Stream::Low, 2, 1), &deliveries));
        assert_eq!(heard.first_picture, Some(7));
    }
}
