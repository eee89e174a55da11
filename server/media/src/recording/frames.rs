//! Makes VP8 frames of packets (RFC 7741) that come in order. Pure.
//!
//! Each frame builds on the one before. So after a loss nothing is of use until a keyframe comes, and one is wanted.

use std::time::Duration;

use super::reorder::Packet;
use crate::vp8;

/// More than the largest frame that passes the router within a second.
const MAX_FRAME: usize = 4 << 20;

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) data: Vec<u8>,
    pub(super) timestamp: u32,
    /// When its first packet came.
    pub(super) at: Duration,
}

#[derive(Default, Debug)]
pub(super) struct Frames {
    /// A frame of which packets are missing at the end.
    part: Option<Frame>,
    /// The last frame is whole, or part of what there is.
    follows: bool,
}

impl Frames {
    /// Nothing can be shown until a keyframe comes.
    pub(super) fn wants_keyframe(&self) -> bool {
        !self.follows
    }

    pub(super) fn lost(&mut self) {
        (self.part, self.follows) = (None, false);
    }

    /// The frame of which this is the last packet.
    pub(super) fn packet(&mut self, packet: &Packet) -> Option<Frame> {
        let Some(part) = vp8::part(&packet.payload) else {
            self.lost();
            return None;
        };
        if part.begins && self.part.as_ref().is_none_or(|frame| frame.timestamp != packet.timestamp) {
            if self.part.is_some() {
                // The one before has no end.
                self.lost();
            }
            self.follows |= vp8::size(part.data).is_some();
            let (timestamp, at) = (packet.timestamp, packet.at);
            self.part = self.follows.then(|| Frame { data: Vec::with_capacity(part.data.len()), timestamp, at });
        }
        let frame = self.part.as_mut()?;
        if frame.timestamp != packet.timestamp || frame.data.len() + part.data.len() > MAX_FRAME {
            self.lost();
            return None;
        }
        frame.data.extend(part.data);
        if packet.marker { self.part.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0];

    fn packet(timestamp: u32, begins: bool, marker: bool, data: &[u8]) -> Packet {
        let mut payload = vec![if begins { 0x10 } else { 0 }];
        payload.extend(data);
        Packet { sequence: 0, timestamp, marker, payload: payload.into(), at: Duration::ZERO }
    }

    #[test]
    fn frames_begin_with_a_keyframe_and_go_on_until_something_is_lost() {
        let mut frames = Frames::default();
        let mut feed = |timestamp, begins, marker, data: &[u8]| {
            let frame = frames.packet(&packet(timestamp, begins, marker, data));
            (frame.map(|frame| frame.data), frames.wants_keyframe())
        };
        assert_eq!(feed(1, true, true, &[1, 7]), (None, true), "it builds on what nobody has");
        assert_eq!(feed(2, true, false, &KEY), (None, false));
        assert_eq!(feed(2, false, true, &[8]), (Some([&KEY[..], &[8]].concat()), false));
        assert_eq!(feed(3, true, true, &[1, 9]), (Some(vec![1, 9]), false));
        // The end of a frame that never began, and a frame without an end.
        assert_eq!(feed(4, true, false, &[1, 9]), (None, false));
        assert_eq!(feed(5, false, true, &[1]), (None, true));
        assert_eq!(feed(6, true, true, &[1, 9]), (None, true));
        assert_eq!(feed(7, true, true, &KEY), (Some(KEY.to_vec()), false));
        assert_eq!(feed(8, true, false, &[1, 9]), (None, false));
        assert_eq!(feed(9, true, true, &KEY), (Some(KEY.to_vec()), false), "a keyframe builds on nothing");
        frames.lost();
        assert!(frames.wants_keyframe());
        assert_eq!(frames.packet(&packet(10, true, true, &[1])), None);
        assert_eq!(frames.packet(&packet(11, true, true, &[])), None);
    }
}
