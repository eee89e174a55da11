//! Writes frames into a Matroska file (RFC 9559), which with VP8 is a WebM file. Pure.
//!
//! The segment has no length and clusters are written whole, so what was written up to any of them is a whole file. What is known at the end
//! only, its duration and the largest picture in it, is put into its place in the head ([`Patch`]).

/// What there is to know of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    pub(super) data: &'a [u8],
    pub(super) is_keyframe: bool,
    /// Of a keyframe.
    pub(super) size: Option<(u16, u16)>,
}

/// How a file's frames are encoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding<'a> {
    Vp8,
    /// With its `AVCDecoderConfigurationRecord`.
    H264(&'a [u8]),
}

/// Milliseconds that one cluster may have; times in it are 16 bits wide, with a sign.
const CLUSTER: u64 = 30_000;

/// How long the last frame counts as shown if nothing says it.
const FRAME: u64 = 33;

/// Bytes to put over others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    pub at: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Webm {
    out: Vec<u8>,
    /// Blocks of a cluster, and its time.
    cluster: Vec<u8>,
    begun: u64,
    /// The last frame's time, in milliseconds, and the pause before it.
    last: Option<u64>,
    pause: u64,
    size: (u16, u16),
    patches: Vec<Patch>,
    duration_at: u64,
    size_at: u64,
}

impl Webm {
    /// `size`: of its first frame. `begins_at`: when, in Unix milliseconds. `title` is for who looks at the file alone.
    pub(super) fn new(encoding: Encoding<'_>, size: (u16, u16), begins_at: i64, title: &str) -> Self {
        let (kind, name, record): (&[u8], &[u8], _) = match encoding {
            Encoding::Vp8 => (b"webm", b"V_VP8", None),
            Encoding::H264(record) => (b"matroska", b"V_MPEG4/ISO/AVC", Some(element(0x63a2, record))),
        };
        let mut out = Vec::new();
        let head = [
            number(0x4286, 1),
            number(0x42f7, 1),
            number(0x42f2, 4),
            number(0x42f3, 8),
            element(0x4282, kind),
            number(0x4287, 2),
            number(0x4285, 2),
        ];
        out.extend(element(0x1a45_dfa3, &head.concat()));
        // The segment, of unknown length.
        out.extend([0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        // Matroska's time begins with 2001, in nanoseconds.
        let date = begins_at.saturating_sub(978_307_200_000).saturating_mul(1_000_000);
        let title = title.chars().take(100).collect::<String>();
        let info = [
            number(0x2ad7b1, 1_000_000),
            element(0x4461, &date.to_be_bytes()),
            element(0x7ba9, title.as_bytes()),
            element(0x4d80, b"BuildSpaces"),
            element(0x5741, b"BuildSpaces"),
            // Room for the duration.
            element(0xec, &[0; 9]),
        ];
        out.extend(element(0x1549_a966, &info.concat()));
        let duration_at = out.len() as u64 - 11;
        let picture = [element(0xb0, &size.0.to_be_bytes()), element(0xba, &size.1.to_be_bytes())];
        let track = [
            number(0xd7, 1),
            number(0x73c5, 1),
            number(0x83, 1),
            number(0x9c, 0),
            element(0x86, name),
            record.unwrap_or_default(),
            element(0xe0, &picture.concat()),
        ];
        out.extend(element(0x1654_ae6b, &element(0xae, &track.concat())));
        let size_at = out.len() as u64 - 8;
        let (cluster, patches) = (Vec::new(), Vec::new());
        Self { out, cluster, begun: 0, last: None, pause: FRAME, size, patches, duration_at, size_at }
    }

    /// Appends a frame; `time` is in milliseconds since the file's beginning.
    pub(super) fn frame(&mut self, picture: Picture<'_>, time: u64) {
        let Picture { data, is_keyframe, size } = picture;
        let time = self.last.map_or(time, |last| time.max(last + 1));
        if let Some(last) = self.last {
            self.pause = time - last;
        }
        self.last = Some(time);
        if let Some((width, height)) = size {
            let largest = (self.size.0.max(width), self.size.1.max(height));
            if largest != self.size {
                self.size = largest;
                let bytes = [element(0xb0, &largest.0.to_be_bytes()), element(0xba, &largest.1.to_be_bytes())].concat();
                self.patches.push(Patch { at: self.size_at, bytes });
            }
        }
        if time - self.begun > CLUSTER {
            self.close();
        }
        if self.cluster.is_empty() {
            self.begun = time;
        }
        let since = ((time - self.begun) as i16).to_be_bytes();
        let flags = if is_keyframe { 0x80 } else { 0 };
        self.cluster.extend(id(0xa3));
        self.cluster.extend(length(data.len() + 4));
        self.cluster.extend([0x81, since[0], since[1], flags]);
        self.cluster.extend(data);
    }

    /// Milliseconds from its beginning to the end of its last frame.
    pub(super) fn duration(&self) -> u64 {
        self.last.map_or(0, |last| last + self.pause.min(1000))
    }

    /// Whole clusters with all frames, and what is to be put over the head once they are written.
    pub(super) fn take(&mut self, is_last: bool) -> (Vec<u8>, Vec<Patch>) {
        self.close();
        if is_last {
            let bytes = element(0x4489, &(self.duration() as f64).to_be_bytes());
            self.patches.push(Patch { at: self.duration_at, bytes });
        }
        (std::mem::take(&mut self.out), std::mem::take(&mut self.patches))
    }

    fn close(&mut self) {
        if !self.cluster.is_empty() {
            let time = number(0xe7, self.begun);
            self.out.extend(id(0x1f43_b675));
            self.out.extend(length(time.len() + self.cluster.len()));
            self.out.extend(time);
            self.out.append(&mut self.cluster);
        }
    }
}

/// An element's id, which says its own length.
fn id(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// A length in as few bytes as it takes. All ones would mean that it is unknown.
fn length(length: usize) -> Vec<u8> {
    let length = length as u64;
    let bytes = (1..8).find(|bytes| length < (1 << (7 * bytes)) - 1).unwrap_or(8);
    let marked = length | 1 << (7 * bytes);
    marked.to_be_bytes()[8 - bytes..].to_vec()
}

fn element(name: u32, content: &[u8]) -> Vec<u8> {
    [id(name), length(content.len()), content.to_vec()].concat()
}

fn number(name: u32, number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
    element(name, &bytes[zeros..])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use matroska_demuxer::{Frame, MatroskaFile};

    use super::*;
    use crate::vp8;

    fn vp8(data: &[u8]) -> Picture<'_> {
        Picture { data, is_keyframe: vp8::is_keyframe(data), size: vp8::size(data) }
    }

    fn keyframe(width: u8, height: u8) -> Vec<u8> {
        vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, width, 0, height, 0, 1]
    }

    /// Size, duration and the frames of a file, as another reader finds them: time, is it a keyframe, its bytes.
    type Read = (u64, u64, Option<f64>, Vec<(u64, bool, Vec<u8>)>);

    fn read(bytes: &[u8]) -> Read {
        let mut file = MatroskaFile::open(Cursor::new(bytes)).expect("a WebM file");
        assert_eq!(file.tracks()[0].codec_id(), "V_VP8");
        let video = file.tracks()[0].video().expect("a picture").clone();
        let (width, height) = (video.pixel_width().get(), video.pixel_height().get());
        let (mut frame, mut frames) = (Frame::default(), Vec::new());
        while file.next_frame(&mut frame).expect("a whole file") {
            frames.push((frame.timestamp, frame.is_keyframe.unwrap_or(false), frame.data.clone()));
        }
        (width, height, file.info().duration(), frames)
    }

    #[test]
    fn another_reader_finds_the_frames_at_their_times_at_any_moment() {
        let mut webm = Webm::new(Encoding::Vp8, (64, 48), 1_700_000_000_000, "Ada");
        let (mut file, mut expected) = (Vec::new(), Vec::new());
        for (time, data) in [(0, keyframe(64, 48)), (40, vec![1; 300]), (40, vec![1; 20_000]), (90_000, vec![1, 2])] {
            webm.frame(vp8(&data), time);
            // Two frames of one time would be one.
            let time = if data.len() == 20_000 { 41 } else { time };
            expected.push((time, data.len() == 11, data));
            let (bytes, patches) = webm.take(false);
            assert_eq!(patches, []);
            file.extend(bytes);
            let (width, height, duration, frames) = read(&file);
            assert_eq!((width, height, duration), (64, 48, None));
            assert_eq!(frames, expected);
        }
        webm.frame(vp8(&keyframe(128, 96)), 90_040);
        webm.frame(vp8(&[1, 3]), 130_000);
        webm.frame(vp8(&keyframe(32, 24)), 130_040);
        let (bytes, patches) = webm.take(true);
        file.extend(bytes);
        for Patch { at, bytes } in patches {
            let at = usize::try_from(at).expect("small");
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let (width, height, duration, frames) = read(&file);
        assert_eq!((width, height, duration), (128, 96, Some(130_080.0)));
        assert_eq!(
            frames.iter().map(|frame| frame.0).collect::<Vec<_>>(),
            [0, 40, 41, 90_000, 90_040, 130_000, 130_040]
        );
    }

    #[test]
    fn with_h264_it_says_how_that_is_encoded() {
        let mut webm = Webm::new(Encoding::H264(b"record"), (64, 48), 0, "Ada");
        webm.frame(Picture { data: &[0, 0, 0, 1, 0x65], is_keyframe: true, size: Some((64, 48)) }, 0);
        webm.frame(Picture { data: &[0, 0, 0, 1, 0x65], is_keyframe: true, size: Some((320, 240)) }, 40);
        let (mut file, patches) = webm.take(true);
        for Patch { at, bytes } in patches {
            let at = usize::try_from(at).expect("small");
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let file = MatroskaFile::open(Cursor::new(&file)).expect("a Matroska file");
        let track = &file.tracks()[0];
        assert_eq!((track.codec_id(), track.codec_private()), ("V_MPEG4/ISO/AVC", Some(&b"record"[..])));
        assert_eq!(track.video().map(|video| video.pixel_width().get()), Some(320));
        assert_eq!((file.ebml_header().doc_type(), file.info().duration()), ("matroska", Some(80.0)));
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        let table: [(usize, &[u8]); 6] = [
            (0, &[0x80]),
            (126, &[0xfe]),
            (127, &[0x40, 0x7f]),
            (16_382, &[0x7f, 0xfe]),
            (16_383, &[0x20, 0x3f, 0xff]),
            (2_097_150, &[0x3f, 0xff, 0xfe]),
        ];
        for (number, expected) in table {
            assert_eq!(length(number), expected, "{number}");
        }
    }
}
