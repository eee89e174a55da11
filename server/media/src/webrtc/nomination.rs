//! What the crate needs to begin talking at once, on the side that is checked. Pure.
//!
//! - The other side chooses the addresses with a check that *nominates*. One that comes while a check of the crate's own is on its way is
//!   neither answered nor remembered: browsers repeat theirs after a tenth of a second, others after half. So it is kept here, and
//!   delivered again behind the answer for which the crate waits (RFC 8445, section 7.3.1.5).
//! - The crate writes the first message of DTLS when it is told what time it is, and sleeps first.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::stun;

/// How long the crate sleeps at most while [`Nomination::is_fresh`].
pub(super) const NAP: Duration = Duration::from_millis(2);

/// Longer than it takes the crate to write what it has to say first. Short, because any page can nominate as often as it likes.
const FRESH: Duration = Duration::from_millis(50);

#[derive(Default, Debug)]
pub(super) struct Nomination {
    /// With where it came from.
    check: Option<(Bytes, SocketAddr)>,
    at: Option<Instant>,
}

impl Nomination {
    /// A packet is delivered. Returns what has to be delivered after it.
    pub(super) fn after(&mut self, packet: &Bytes, from: SocketAddr, now: Instant) -> Option<Bytes> {
        if stun::nominates(packet) {
            self.at = Some(now);
            self.check = Some((packet.clone(), from));
        } else if stun::answers(packet) {
            let (check, _) = self.check.take_if(|(_, by)| *by == from)?;
            self.at = Some(now);
            return Some(check);
        }
        None
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: [u8; 2], attributes: &[u8]) -> Bytes {
        let mut message = class.to_vec();
        message.extend([0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42]);
        message.extend([7; 12]);
        message.extend(attributes);
        message.into()
    }

    #[test]
    fn a_nomination_comes_again_behind_the_answer_it_overtook() {
        let (check, answer) = (message([0, 1], &[]), message([1, 1], &[]));
        let nominating = message([0, 1], &[0, 0x25, 0, 0]);
        let media = Bytes::from_static(&[0x80; 40]);
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let now = Instant::now();
        let mut nomination = Nomination::default();
        for packet in [&check, &answer, &media] {
            assert_eq!(nomination.after(packet, here, now), None);
            assert!(!nomination.is_fresh(now));
        }
        assert_eq!(nomination.after(&nominating, here, now), None);
        assert!(nomination.is_fresh(now));
        // Another address has answered.
        assert_eq!(nomination.after(&answer, there, now), None);
        let later = now + FRESH;
        assert!(!nomination.is_fresh(later));
        assert_eq!(nomination.after(&answer, here, later), Some(nominating));
        assert!(nomination.is_fresh(later) && !nomination.is_fresh(later + FRESH));
        assert_eq!(nomination.after(&answer, here, later), None);
    }
}
