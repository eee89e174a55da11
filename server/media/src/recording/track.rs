//! One track on its way into its file, as a pure state machine: packets and the time in, bytes to append out, and whether a keyframe is wanted.

use std::time::Duration;

use super::frames::{Frame, Frames};
use super::ogg::Ogg;
use super::opus;
pub use super::reorder::Packet;
use super::reorder::{Next, Reorder};
use super::timeline::Timeline;
pub use super::webm::Patch;
use super::webm::{Encoding, Picture, Webm};
use crate::codec::Codec;
use crate::router::Kind;
use crate::{h264, vp8};

/// How far a voice's packets may be before the end of what was written. Those further back are left out, so that it does not fall behind.
const AHEAD: i64 = opus::RATE as i64 / 1000 * 60;

/// What is to be written.
#[derive(PartialEq, Eq, Default, Debug)]
pub struct Written {
    /// To be appended.
    pub bytes: Vec<u8>,
    /// To be put over what is there, after that.
    pub patches: Vec<Patch>,
}

#[derive(Debug)]
pub struct Track {
    reorder: Reorder,
    timeline: Timeline,
    body: Body,
    /// Where its file begins, in ticks since the recording began.
    begins: Option<i64>,
    /// When the recording began, in Unix milliseconds.
    began: i64,
    title: String,
    serial: u32,
    clock: u32,
}

#[derive(Debug)]
enum Body {
    Voice(Option<Ogg>),
    /// The codec is that of its file, which its first frame decides.
    Picture(Frames, Option<(Codec, Box<Webm>)>),
}

impl Track {
    /// `began`: when the recording did, in Unix milliseconds. `serial`: its file's number. `title` is for who looks at the file alone.
    pub fn new(kind: Kind, began: i64, serial: u32, title: String) -> Self {
        let body = match kind {
            Kind::Audio => Body::Voice(None),
            Kind::Video => Body::Picture(Frames::default(), None),
        };
        let (reorder, timeline, clock) = (Reorder::default(), Timeline::new(kind.clock()), kind.clock());
        Self { reorder, timeline, body, begins: None, began, title, serial, clock }
    }

    pub fn packet(&mut self, packet: Packet) {
        let now = packet.at;
        self.reorder.push(packet);
        self.elapsed(now);
    }

    /// Gives up what is waited for too long.
    pub fn elapsed(&mut self, now: Duration) {
        while let Some(next) = self.reorder.pop(now) {
            match (next, &mut self.body) {
                (Next::Packet(packet), Body::Voice(_)) => self.voice(&packet),
                (Next::Packet(packet), Body::Picture(..)) => self.picture(&packet),
                // Time goes on without it.
                (Next::Lost, Body::Voice(_)) => {}
                (Next::Lost, Body::Picture(frames, _)) => frames.lost(),
            }
        }
    }

    /// Nothing more can be shown until a keyframe comes.
    pub fn wants_keyframe(&self) -> bool {
        matches!(&self.body, Body::Picture(frames, _) if frames.wants_keyframe())
    }

    /// What its file has.
    pub fn codec(&self) -> Codec {
        match &self.body {
            Body::Voice(_) => Codec::Opus,
            Body::Picture(_, file) => file.as_ref().map_or(Codec::Vp8, |(codec, _)| *codec),
        }
    }

    /// When its file begins, since the recording did; `None` before there is anything.
    pub fn offset(&self) -> Option<Duration> {
        self.begins.map(|ticks| Duration::from_millis(self.millis(ticks)))
    }

    /// How long its file is.
    pub fn duration(&self) -> Duration {
        match &self.body {
            Body::Voice(Some(ogg)) => Duration::from_millis(ogg.end() * 1000 / u64::from(opus::RATE)),
            Body::Picture(_, Some((_, webm))) => Duration::from_millis(webm.duration()),
            Body::Voice(None) | Body::Picture(_, None) => Duration::ZERO,
        }
    }

    /// What there is to write, so that the file is whole with it. `is_last`: nothing follows.
    pub fn take(&mut self, is_last: bool) -> Written {
        match &mut self.body {
            Body::Voice(Some(ogg)) => Written { bytes: ogg.take(is_last), patches: Vec::new() },
            Body::Picture(_, Some((_, webm))) => {
                let (bytes, patches) = webm.take(is_last);
                Written { bytes, patches }
            }
            Body::Voice(None) | Body::Picture(_, None) => Written::default(),
        }
    }

    fn voice(&mut self, packet: &Packet) {
        let place = self.timeline.place(packet.timestamp, packet.at);
        let Some(samples) = opus::samples(&packet.payload) else { return };
        let Body::Voice(ogg) = &mut self.body else { return };
        let ogg = ogg.get_or_insert_with(|| Ogg::new(self.serial, &self.title));
        let begins = *self.begins.get_or_insert(place);
        let missing = place - begins - i64::try_from(ogg.end()).unwrap_or(i64::MAX);
        if missing < -AHEAD {
            return;
        }
        if let (Some((nothing, length)), Ok(mut missing)) =
            (opus::nothing_like(&packet.payload), u32::try_from(missing))
        {
            while missing >= length {
                ogg.packet(&nothing, length);
                missing -= length;
            }
        }
        ogg.packet(&packet.payload, samples);
    }

    fn picture(&mut self, packet: &Packet) {
        let Body::Picture(frames, webm) = &mut self.body else { return };
        let Some(frame) = frames.packet(packet) else { return };
        let Some(known) = known(&frame) else { return };
        let place = self.timeline.place(frame.timestamp, frame.at);
        let begins = *self.begins.get_or_insert(place);
        let millis = |ticks: i64| u64::try_from(ticks).unwrap_or(0) * 1000 / u64::from(self.clock);
        let (codec, webm) = match webm {
            Some(webm) => webm,
            none => {
                // Frames begin with a keyframe, which has a size.
                let Some(size) = known.size else { return };
                let encoding = known.record.as_deref().map_or(Encoding::Vp8, Encoding::H264);
                let begins_at = self.began + i64::try_from(millis(begins)).unwrap_or(0);
                none.insert((frame.codec, Box::new(Webm::new(encoding, size, begins_at, &self.title))))
            }
        };
        if frame.codec == *codec {
            let picture = Picture { data: &frame.data, is_keyframe: known.is_keyframe, size: known.size };
            webm.frame(picture, millis(place - begins));
        }
    }

    fn millis(&self, ticks: i64) -> u64 {
        u64::try_from(ticks).unwrap_or(0) * 1000 / u64::from(self.clock)
    }
}

/// What a frame says of itself.
struct Known {
    is_keyframe: bool,
    size: Option<(u16, u16)>,
    record: Option<Vec<u8>>,
}

/// `None`: nothing that a file could have.
fn known(frame: &Frame) -> Option<Known> {
    match frame.codec {
        Codec::Opus => None,
        Codec::Vp8 => {
            let (is_keyframe, size) = (vp8::is_keyframe(&frame.data), vp8::size(&frame.data));
            Some(Known { is_keyframe, size, record: None })
        }
        Codec::H264 => {
            let parameters = h264::parameters(frame.units());
            let size = parameters.as_ref().map(|found| (found.width, found.height));
            Some(Known { is_keyframe: size.is_some(), size, record: parameters.map(|found| found.record) })
        }
    }
}

#[cfg(test)]
mod tests;
