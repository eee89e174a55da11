//! Makes frames of packets that come in order: of VP8 (RFC 7741) or H.264 (RFC 6184), whichever they are. Pure.
//!
//! Each frame builds on the one before. So after a loss nothing is of use until a keyframe comes, and one is wanted.

use std::time::Duration;

use super::reorder::Packet;
use crate::codec::Codec;
use crate::h264::{self, Content};
use crate::vp8;

/// More than the largest frame that passes the router within a second.
const MAX_FRAME: usize = 4 << 20;

/// Before each unit of H.264 in a file stands its length, in so many bytes.
const LENGTH: usize = 4;

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) codec: Codec,
    /// As a file has it.
    pub(super) data: Vec<u8>,
    pub(super) timestamp: u32,
    /// When its first packet came.
    pub(super) at: Duration,
    /// Where its last unit of H.264 begins.
    unit: usize,
}

impl Frame {
    fn new(packet: &Packet) -> Self {
        let Packet { codec, timestamp, at, .. } = *packet;
        Self { codec, data: Vec::with_capacity(packet.payload.len() + LENGTH), timestamp, at, unit: 0 }
    }

    /// The units of a frame of H.264.
    pub(super) fn units(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = &self.data[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<LENGTH>()?;
            let (unit, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = after;
            Some(unit)
        })
    }

    /// Appends what a packet has; false if that is nothing of a frame.
    fn append(&mut self, payload: &[u8]) -> bool {
        match self.codec {
            Codec::Opus => false,
            Codec::Vp8 => {
                let part = vp8::part(payload);
                part.inspect(|part| self.data.extend(part.data)).is_some()
            }
            Codec::H264 => match h264::content(payload) {
                None => false,
                Some(Content::Units(units)) => {
                    units.into_iter().for_each(|unit| self.begin_unit(unit));
                    true
                }
                Some(Content::Part { header: Some(header), data }) => {
                    self.begin_unit(&[header]);
                    self.go_on(data);
                    true
                }
                // The first of its unit came before, in this frame.
                Some(Content::Part { header: None, data }) => {
                    let follows = !self.data.is_empty();
                    if follows {
                        self.go_on(data);
                    }
                    follows
                }
            },
        }
    }

    fn begin_unit(&mut self, data: &[u8]) {
        self.unit = self.data.len();
        self.data.extend([0; LENGTH]);
        self.go_on(data);
    }

    fn go_on(&mut self, data: &[u8]) {
        self.data.extend(data);
        let length = (self.data.len() - self.unit - LENGTH) as u32;
        self.data[self.unit..self.unit + LENGTH].copy_from_slice(&length.to_be_bytes());
    }
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
        let begins = match packet.codec {
            Codec::Vp8 => vp8::part(&packet.payload).is_some_and(|part| part.begins),
            // No packet of H.264 says that it is the first of its frame, but it is if it comes after the last of one.
            Codec::H264 | Codec::Opus => true,
        };
        if begins && self.part.as_ref().is_none_or(|frame| frame.timestamp != packet.timestamp) {
            if self.part.is_some() {
                // The one before has no end.
                self.lost();
            }
            self.follows |= is_key(packet);
            self.part = self.follows.then(|| Frame::new(packet));
        }
        let frame = self.part.as_mut()?;
        let fits = frame.timestamp == packet.timestamp && frame.data.len() + packet.payload.len() <= MAX_FRAME;
        if !fits || !frame.append(&packet.payload) {
            self.lost();
            return None;
        }
        if packet.marker { self.part.take() } else { None }
    }
}

/// Of VP8 a whole header is wanted, because the file's has the picture's size.
fn is_key(packet: &Packet) -> bool {
    match packet.codec {
        Codec::Vp8 => vp8::part(&packet.payload).is_some_and(|part| vp8::size(part.data).is_some()),
        codec => codec.starts_keyframe(&packet.payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0];

    fn packet(timestamp: u32, begins: bool, marker: bool, data: &[u8]) -> Packet {
        let mut payload = vec![if begins { 0x10 } else { 0 }];
        payload.extend(data);
        Packet { sequence: 0, timestamp, marker, codec: Codec::Vp8, payload: payload.into(), at: Duration::ZERO }
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

    #[test]
    fn frames_of_h264_are_put_together_of_units_and_their_parts() {
        let mut frames = Frames::default();
        let mut feed = |timestamp, marker, payload: &[u8]| {
            let payload = payload.to_vec().into();
            let packet = Packet { sequence: 0, timestamp, marker, codec: Codec::H264, payload, at: Duration::ZERO };
            let frame = frames.packet(&packet);
            (frame.map(|frame| frame.units().map(<[u8]>::to_vec).collect::<Vec<_>>()), frames.wants_keyframe())
        };
        assert_eq!(feed(1, true, &[0x41, 7]), (None, true), "it builds on what nobody has");
        assert_eq!(feed(2, false, &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]), (None, false));
        assert_eq!(feed(2, false, &[0x7c, 0x85, 3]), (None, false));
        assert_eq!(feed(2, false, &[0x7c, 0x05, 4]), (None, false));
        let whole = vec![vec![0x67, 1], vec![0x68, 2], vec![0x65, 3, 4, 5]];
        assert_eq!(feed(2, true, &[0x7c, 0x45, 5]), (Some(whole), false));
        assert_eq!(feed(3, true, &[0x41, 7]), (Some(vec![vec![0x41, 7]]), false));
        // The middle of a unit that never began, a frame without an end, and no H.264 at all.
        assert_eq!(feed(4, true, &[0x7c, 0x01, 9]), (None, true));
        assert_eq!(feed(5, false, &[0x67, 1]), (None, false));
        assert_eq!(feed(6, true, &[0x41, 7]), (None, true));
        assert_eq!(feed(7, false, &[0x67, 1]), (None, false));
        assert_eq!(feed(7, false, &[0x1f]), (None, true));
    }
}
