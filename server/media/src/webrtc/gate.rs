//! Which packets from a connection's own address reach the crate. Pure.
//!
//! - The crate keeps something of every stream (SSRC) that a packet names, of media and of reports (RTCP), before it knows whether the
//!   packet is genuine, and for as long as the connection lives. Whoever takes part can have genuine ones name any stream. So a connection
//!   names as many as an honest one does, and another now and then: programs choose new ones, and connections last for hours.
//! - Of a report of some bytes the crate may make thousands of entries, so reports are as many as an honest receiver's.

use std::collections::HashSet;
use std::time::Instant;

/// Streams of media. A page sends five: a voice, three layers of a camera, a screen.
const STREAMS: f64 = 64.0;

/// Streams in whose name reports come: of those that are sent, or one for each line, of which the largest call has some 250.
const REPORTERS: f64 = 512.0;

/// How many more of either there may be in a second: one in a minute.
const ANEW: f64 = 1.0 / 60.0;

/// Datagrams of reports at once and in a second. Of a line that loses every third packet of fifty pictures come fewer.
const REPORTS: f64 = 1000.0;

#[derive(Debug)]
pub(super) struct Gate {
    /// `None`: nothing is to be sent here.
    media: Option<Streams>,
    reporters: Streams,
    reports: Bucket,
}

impl Gate {
    pub(super) fn new(takes_media: bool) -> Self {
        Self {
            media: takes_media.then(|| Streams::new(STREAMS)),
            reporters: Streams::new(REPORTERS),
            reports: Bucket::new(REPORTS, REPORTS),
        }
    }

    /// By the first bytes, which are not encrypted (RFC 7983, section 7; RFC 5761, section 4).
    pub(super) fn admits(&mut self, now: Instant, packet: &[u8]) -> bool {
        let ssrc = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        match packet {
            [128..=191, 192..=223, ..] => {
                self.reports.take(now) && ssrc(4).is_some_and(|ssrc| self.reporters.admits(now, ssrc))
            }
            [128..=191, ..] => {
                self.media.as_mut().zip(ssrc(8)).is_some_and(|(streams, ssrc)| streams.admits(now, ssrc))
            }
            // Checks and the handshake, which know their own bounds.
            _ => true,
        }
    }
}

#[derive(Debug)]
struct Streams {
    known: HashSet<u32>,
    new: Bucket,
}

impl Streams {
    fn new(most: f64) -> Self {
        Self { known: HashSet::new(), new: Bucket::new(most, ANEW) }
    }

    fn admits(&mut self, now: Instant, ssrc: u32) -> bool {
        self.known.contains(&ssrc) || (self.new.take(now) && self.known.insert(ssrc))
    }
}

/// What may happen so often at once, and so often in a second.
#[derive(Debug)]
struct Bucket {
    most: f64,
    in_a_second: f64,
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn new(most: f64, in_a_second: f64) -> Self {
        Self { most, in_a_second, left: most, at: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.left = (self.left + passed * self.in_a_second).min(self.most);
        self.at = Some(now);
        let has_one = self.left >= 1.0;
        self.left -= f64::from(u8::from(has_one));
        has_one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn media(ssrc: u32) -> Vec<u8> {
        [&[0x80, 96, 0, 1, 0, 0, 0, 1][..], &ssrc.to_be_bytes(), &[0; 40]].concat()
    }

    fn report(ssrc: u32) -> Vec<u8> {
        [&[0x8f, 205, 0, 7][..], &ssrc.to_be_bytes(), &[0; 40]].concat()
    }

    #[test]
    fn streams_that_packets_name_are_bounded_and_those_that_are_known_go_on() {
        let (mut gate, now) = (Gate::new(true), Instant::now());
        assert!((0..5).all(|ssrc| gate.admits(now, &media(ssrc)) && gate.admits(now, &report(ssrc))));
        let admitted = (0..100_000).filter(|ssrc| gate.admits(now, &media(1000 + ssrc))).count();
        assert_eq!(admitted, STREAMS as usize - 5);
        // In pieces, because reports are bounded for themselves.
        let later = |turn: u32| now + Duration::from_millis(turn.into());
        let admitted = (0..100_000).filter(|turn| gate.admits(later(*turn), &report(1000 + turn))).count();
        assert_eq!(admitted, REPORTERS as usize - 5 + 1, "and one more after a minute");
        assert_eq!(gate.media.as_ref().map(|streams| streams.known.len()), Some(STREAMS as usize));
        let later = later(200_000);
        assert!((0..5).all(|ssrc| gate.admits(later, &media(ssrc)) && gate.admits(later, &report(ssrc))));
    }

    #[test]
    fn a_connection_may_number_its_streams_anew_for_days() {
        let (mut gate, now) = (Gate::new(true), Instant::now());
        for hour in 0..24 * 7 {
            let now = now + Duration::from_secs(3600) * hour;
            assert!(
                (0..5).all(|at| gate.admits(now, &media(5 * hour + at)) && gate.admits(now, &report(5 * hour + at)))
            );
        }
    }

    #[test]
    fn reports_are_as_many_as_an_honest_receivers() {
        let (mut gate, now) = (Gate::new(true), Instant::now());
        assert_eq!((0..5000).filter(|_| gate.admits(now, &report(7))).count(), REPORTS as usize);
        let later = now + Duration::from_millis(500);
        assert_eq!((0..5000).filter(|_| gate.admits(later, &report(7))).count(), REPORTS as usize / 2);
        assert!(gate.admits(later, &media(7)), "media is not held up by them");
    }

    #[test]
    fn whoever_is_only_sent_to_sends_no_media() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        assert!(!gate.admits(now, &media(1)));
        assert!(gate.admits(now, &report(1)));
        let (check, handshake, nothing) = (&[0, 1, 0, 0][..], &[22, 254, 253][..], &[][..]);
        assert!([check, handshake, nothing].into_iter().all(|packet| gate.admits(now, packet)));
        // Too short to name anything.
        assert!(!gate.admits(now, &[0x80, 200, 0, 1]) && !Gate::new(true).admits(now, &[0x80; 11]));
    }
}
