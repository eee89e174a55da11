//! Puts the packets of one track back into their order. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::Codec;

/// How long a missing packet is waited for: what is asked for anew comes within a round trip or two.
const PATIENCE: Duration = Duration::from_millis(400);

/// Packets that wait for a missing one. When there are more, it is given up: they are half a second of the best picture.
const WAITING: usize = 256;

/// A packet as it was passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Continuous over everything the track is made of, as [`crate::rewrite`] numbers it.
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    pub payload: Bytes,
    /// When it came, since the recording began.
    pub at: Duration,
}

/// What comes next.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    Packet(Packet),
    /// One or more packets will not come.
    Lost,
}

#[derive(Default, Debug)]
pub(super) struct Reorder {
    /// The number of the next packet, without wrapping.
    next: Option<i64>,
    waiting: BTreeMap<i64, Packet>,
}

impl Reorder {
    pub(super) fn push(&mut self, packet: Packet) {
        let next = *self.next.get_or_insert_with(|| i64::from(packet.sequence));
        let number = next + i64::from(packet.sequence.wrapping_sub(next as u16) as i16);
        if number >= next {
            self.waiting.entry(number).or_insert(packet);
        }
    }

    /// `None`: nothing that is its turn, for now.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Next> {
        let next = self.next?;
        let (first, _) = self.waiting.first_key_value()?;
        let first = *first;
        if first == next {
            self.next = Some(next + 1);
            return self.waiting.remove(&next).map(Next::Packet);
        }
        let since = self.waiting.values().map(|packet| packet.at).min()?;
        if self.waiting.len() <= WAITING && now < since + PATIENCE {
            return None;
        }
        self.next = Some(first);
        Some(Next::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, at: u64) -> Packet {
        let at = Duration::from_millis(at);
        Packet { sequence, timestamp: 0, marker: false, codec: Codec::Opus, payload: Bytes::new(), at }
    }

    /// The numbers that come out; 0 where something was lost.
    fn popped(reorder: &mut Reorder, now: u64) -> Vec<u16> {
        let pop = || reorder.pop(Duration::from_millis(now));
        std::iter::from_fn(pop).map(|next| if let Next::Packet(packet) = next { packet.sequence } else { 0 }).collect()
    }

    #[test]
    fn packets_come_out_in_their_order_across_the_wrap_and_once() {
        let mut reorder = Reorder::default();
        for sequence in [65_533, 65_535, 1, 65_534, 65_534, 65_532, 2] {
            reorder.push(packet(sequence, 0));
        }
        assert_eq!(popped(&mut reorder, 0), [65_533, 65_534, 65_535]);
        reorder.push(packet(0, 10));
        assert_eq!(popped(&mut reorder, 10), [0, 1, 2]);
    }

    #[test]
    fn what_is_missing_is_waited_for_and_then_given_up() {
        let mut reorder = Reorder::default();
        for sequence in [1, 3, 4] {
            reorder.push(packet(sequence, 100));
        }
        assert_eq!(popped(&mut reorder, 499), [1]);
        assert_eq!(popped(&mut reorder, 500), [0, 3, 4]);
        reorder.push(packet(2, 501));
        assert_eq!(popped(&mut reorder, 1000), [0; 0], "too late");
        for sequence in 6..=262 {
            reorder.push(packet(sequence, 1000));
        }
        assert_eq!(popped(&mut reorder, 1000).len(), 258, "too many wait for one");
    }
}
