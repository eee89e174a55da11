//! What was sent to one receiver and may be asked for or told of again. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::{Acknowledgement, PacketReport};
use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

/// Packets of one line that a receiver may ask for again: some seconds of a picture.
const KEPT: usize = 1024;

/// Packets of one connection whose feedback is waited for, and for how long. Whoever says nothing is not waited for.
const AWAITED: usize = 8192;
const AWAITED_FOR: Duration = Duration::from_secs(2);

/// How often reports may tell of each packet. Receivers tell of those of the last half second again whenever one of them was overtaken.
const TOLD: usize = 16;

/// A packet as it was sent, but for its encryption.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    /// Its number in all of the connection's packets.
    pub(super) transport: u16,
    pub(super) payload: Bytes,
}

/// The last packets of one line, by their sequence numbers.
#[derive(Default)]
pub(super) struct Buffer(Vec<Option<Kept>>);

impl Buffer {
    pub(super) fn keep(&mut self, packet: Kept) {
        // Most lines of a connection never carry anything.
        if self.0.is_empty() {
            self.0.resize(KEPT, None);
        }
        let at = usize::from(packet.sequence) % KEPT;
        self.0[at] = Some(packet);
    }

    pub(super) fn find(&self, sequence: u16) -> Option<&Kept> {
        let kept = self.0.get(usize::from(sequence) % KEPT)?.as_ref()?;
        (kept.sequence == sequence).then_some(kept)
    }
}

/// The packets of one connection, numbered through, whose fate is not known (draft-holmer-rmcat-transport-wide-cc-extensions-01).
#[derive(Default)]
pub(super) struct Awaited {
    /// How many were ever numbered; the number that a packet carries is the lower half.
    count: u64,
    /// The newest, in order.
    packets: VecDeque<Departed>,
    /// Packets that reports may tell of: [`TOLD`] for each that left, up to [`AWAITED`].
    tellable: usize,
}

#[derive(Clone, Copy)]
struct Departed {
    at: Instant,
    size: usize,
    arrival: Option<Arrival>,
    /// Feedback said whether it arrived.
    is_told_of: bool,
}

/// Arrived, and when by the receiver's clock, if it said that.
type Arrival = Option<Duration>;

impl Awaited {
    /// The number of the packet that leaves now.
    pub(super) fn leaves(&mut self, at: Instant, size: usize) -> u16 {
        while self.packets.front().is_some_and(|oldest| self.packets.len() >= AWAITED || oldest.at + AWAITED_FOR < at) {
            self.packets.pop_front();
        }
        self.packets.push_back(Departed { at, size, arrival: None, is_told_of: false });
        self.tellable = AWAITED.min(self.tellable + TOLD);
        self.count += 1;
        (self.count - 1) as u16
    }

    /// Is a report looked at that tells of so many packets? Two bytes of one can stand for 8,191, so it is asked before anything is made of
    /// it. Nobody is told of more than was sent, and telling costs less than being sent to, so it is no way to keep us busy.
    pub(super) fn takes(&mut self, told: usize) -> bool {
        let left = self.tellable.checked_sub(told + 1);
        self.tellable = left.unwrap_or(self.tellable);
        left.is_some()
    }

    /// What became of everything up to the last packet that arrived, in order and once. Those before it that feedback names otherwise are lost. Of what only
    /// feedback told that was lost itself nothing is known: it would look as if the way there lost what the way back did.
    pub(super) fn heard(&mut self, feedback: &[Acknowledgement]) -> Vec<PacketReport> {
        let oldest = self.count - self.packets.len() as u64;
        let mut last = None;
        for said in feedback {
            let at = usize::from(said.sequence_number.wrapping_sub(oldest as u16));
            let Some(packet) = self.packets.get_mut(at) else { continue };
            packet.is_told_of = true;
            if said.arrived {
                packet.arrival = Some(said.arrival);
                last = last.max(Some(at));
            }
        }
        let known = self.packets.drain(..last.map_or(0, |last| last + 1));
        known.zip(oldest..).filter(|(packet, _)| packet.is_told_of).map(|(packet, id)| packet.report(id)).collect()
    }
}

impl Departed {
    fn report(self, id: u64) -> PacketReport {
        PacketReport {
            ssrc: 0,
            id,
            rtp_sequence_number: 0,
            is_twcc: true,
            twcc_sequence_number: id as u16,
            size: self.size,
            arrived: self.arrival.is_some(),
            departure: self.at,
            arrival: self.arrival.flatten(),
            ecn: Ecn::NotEct,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feedback of packets from `base` on, of which those at `lost` did not arrive.
    fn feedback(base: u16, count: u16, lost: &[u16]) -> Vec<Acknowledgement> {
        let said = |at| match lost.contains(&at) {
            true => Acknowledgement::lost(base.wrapping_add(at)),
            false => {
                let arrival = Duration::from_millis(640 + u64::from(at));
                Acknowledgement::received(base.wrapping_add(at), Some(arrival), Ecn::NotEct)
            }
        };
        (0..count).map(said).collect()
    }

    fn fates(reports: &[PacketReport]) -> Vec<(u64, bool)> {
        reports.iter().map(|report| (report.id, report.arrived)).collect()
    }

    #[test]
    fn each_packet_is_told_of_once_and_in_order_across_the_wrap() {
        let (mut awaited, now) = (Awaited { count: 65_533, ..Awaited::default() }, Instant::now());
        let numbers: Vec<_> = (0..6).map(|_| awaited.leaves(now, 100)).collect();
        assert_eq!(numbers, [65_533, 65_534, 65_535, 0, 1, 2]);
        let reports = awaited.heard(&feedback(65_533, 4, &[1]));
        assert_eq!(fates(&reports), [(65_533, true), (65_534, false), (65_535, true), (65_536, true)]);
        assert_eq!(reports[2].arrival, Some(Duration::from_millis(642)));
        assert_eq!(fates(&awaited.heard(&feedback(65_533, 4, &[]))), [], "said before");
        // What did not arrive may still arrive, until something after it did.
        assert_eq!(fates(&awaited.heard(&feedback(1, 2, &[0, 1]))), []);
        assert_eq!(fates(&awaited.heard(&feedback(1, 2, &[0]))), [(65_537, false), (65_538, true)]);
    }

    #[test]
    fn of_what_no_feedback_came_nothing_is_known() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        for _ in 0..9 {
            awaited.leaves(now, 100);
        }
        assert_eq!(fates(&awaited.heard(&feedback(0, 3, &[1]))), [(0, true), (1, false), (2, true)]);
        // The one about 3 to 5 was lost.
        assert_eq!(fates(&awaited.heard(&feedback(6, 3, &[0]))), [(6, false), (7, true), (8, true)]);
        assert!(awaited.packets.is_empty());
    }

    #[test]
    fn feedback_about_what_was_never_sent_changes_nothing() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        assert_eq!(fates(&awaited.heard(&feedback(7, 3, &[]))), []);
        awaited.leaves(now, 100);
        assert_eq!(fates(&awaited.heard(&feedback(1, 3, &[]))), []);
        assert_eq!(fates(&awaited.heard(&feedback(0, 3, &[]))), [(0, true)]);
    }

    #[test]
    fn reports_tell_of_what_was_sent_a_few_times_and_no_more() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        assert!(!awaited.takes(1), "nothing was sent");
        // The shortest of honest ones: what has room for 14 packets tells of one.
        awaited.leaves(now, 100);
        assert!(awaited.takes(14) && !awaited.takes(14));
        for _ in 0..10 * AWAITED {
            awaited.leaves(now, 100);
        }
        assert!(!awaited.takes(8 * 8191), "more than is ever waited for");
        let mut told = 0;
        for size in (0..100_000).map(|turn| turn % 700) {
            told += if awaited.takes(size) { size } else { 0 };
        }
        assert!((AWAITED / 2..=AWAITED).contains(&told), "{told}");
    }

    #[test]
    fn whoever_gives_no_feedback_is_not_waited_for() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        for _ in 0..2 * AWAITED {
            awaited.leaves(now, 100);
        }
        assert_eq!(awaited.packets.len(), AWAITED);
        awaited.leaves(now + AWAITED_FOR + Duration::from_millis(1), 100);
        assert_eq!(awaited.packets.len(), 1);
    }

    #[test]
    fn packets_are_found_by_their_numbers_while_they_are_new() {
        let mut buffer = Buffer::default();
        assert!(buffer.find(0).is_none());
        for sequence in (64_000..=u16::MAX).chain(0..500) {
            let (timestamp, payload) = (9, Bytes::new());
            buffer.keep(Kept { sequence, timestamp, marker: false, payload_type: 96, transport: 0, payload });
        }
        let found = |sequence| buffer.find(sequence).map(|kept| kept.sequence);
        assert_eq!([found(499), found(0), found(65_535)], [Some(499), Some(0), Some(65_535)]);
        assert_eq!([found(500), found(64_900), found(64_000)], [None, None, None]);
    }
}
