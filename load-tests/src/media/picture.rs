//! What load clients say and show: RTP payloads shaped like those of Opus and VP8, each with a mark by which whoever gets it knows
//! which one it is, however a server numbers it on the way. Pure; time is passed in.

use crate::clock::Nanos;

/// Where the mark stands: behind whatever of a payload a server may look into.
const AT: usize = 16;
const MAGIC: [u8; 4] = *b"mark";
const MARK: usize = 28;

/// Length of a payload that a mark fits into.
pub const SMALLEST: usize = AT + MARK;

const SECOND: Nanos = 1_000_000_000;

/// Time of one packet of Opus.
const VOICE_EVERY: Nanos = SECOND / 50;
/// 32 kbit/s.
const VOICE_BYTES: usize = 80;

/// Which of a publisher's streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Stream {
    Voice,
    Low,
    Middle,
    High,
}

impl Stream {
    const ALL: [Self; 4] = [Self::Voice, Self::Low, Self::Middle, Self::High];

    /// By what the server calls the largest layer of a picture that anybody shows; nobody shows any, if it names none.
    pub fn of_layer(name: Option<&str>) -> Self {
        match name {
            None => Self::Voice,
            Some("low") => Self::Low,
            Some("middle") => Self::Middle,
            Some(_) => Self::High,
        }
    }

    /// What the layer is called in descriptions.
    pub fn rid(self) -> &'static str {
        match self {
            Self::Voice => "",
            Self::Low => "q",
            Self::Middle => "h",
            Self::High => "f",
        }
    }
}

/// What a packet says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub publisher: u16,
    pub stream: Stream,
    /// Counts a publisher's packets of one stream, from 0 on.
    pub sequence: u32,
    pub is_key: bool,
    /// Counts frames; a packet is one of so many of its own.
    pub frame: u32,
    pub index: u16,
    pub of: u16,
    pub sent: Nanos,
}

impl Mark {
    fn write(&self, payload: &mut [u8]) {
        let stream = self.stream as u8;
        let fields: [&[u8]; 9] = [
            &MAGIC,
            &self.publisher.to_be_bytes(),
            &[stream],
            &[u8::from(self.is_key)],
            &self.sequence.to_be_bytes(),
            &self.frame.to_be_bytes(),
            &self.index.to_be_bytes(),
            &self.of.to_be_bytes(),
            &self.sent.to_be_bytes(),
        ];
        let mut at = AT;
        for field in fields {
            payload[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
    }

    /// Of a payload; none if it is somebody else's, such as padding.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let mark = payload.get(AT..AT + MARK)?.strip_prefix(&MAGIC)?;
        let number = |at: usize, len: usize| mark[at..at + len].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self {
            publisher: number(0, 2) as u16,
            stream: *Stream::ALL.get(usize::from(mark[2]))?,
            is_key: mark[3] == 1,
            sequence: number(4, 4) as u32,
            frame: number(8, 4) as u32,
            index: number(12, 2) as u16,
            of: number(14, 2) as u16,
            sent: number(16, 8),
        })
    }
}

/// How one layer of a picture is sent.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Shape {
    pub frames_per_second: u32,
    /// Of each frame but keyframes.
    pub packets: u16,
    pub bytes: usize,
}

impl Shape {
    /// A camera's largest layer: 2.1 Mbit/s.
    pub const FULL: Self = Self { frames_per_second: 30, packets: 8, bytes: 1100 };

    /// A simulcast camera: 0.1, 0.5 and 2.1 Mbit/s.
    pub const LAYERS: [(Stream, Self); 3] = [
        (Stream::Low, Self { frames_per_second: 15, packets: 1, bytes: 850 }),
        (Stream::Middle, Self { frames_per_second: 30, packets: 2, bytes: 1000 }),
        (Stream::High, Self::FULL),
    ];
}

/// A keyframe has so many times the packets of another frame, and one comes every so many frames, or when it is asked for.
const KEYFRAME: u16 = 3;
const KEYFRAME_EVERY: u32 = 100;

/// Encoders make a keyframe for whoever asks, but not one for each who does.
const KEYFRAME_GAP: Nanos = SECOND / 4;

/// A packet to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    pub stream: Stream,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

/// Everything one publisher sends.
#[derive(Debug)]
pub struct Source {
    publisher: u16,
    encoders: Vec<Encoder>,
}

#[derive(Debug)]
struct Encoder {
    stream: Stream,
    every: Nanos,
    clock: u32,
    packets: u16,
    bytes: usize,
    due: Nanos,
    frame: u32,
    sequence: u32,
    key_wanted: bool,
    last_key: Option<Nanos>,
    /// Nobody shows it: nothing is encoded.
    paused: bool,
}

impl Source {
    pub fn new(publisher: u16, start: Nanos, voice: bool, pictures: &[(Stream, Shape)]) -> Self {
        // Publishers do not begin in one moment, and neither do their layers.
        let offset = u64::from(publisher) * 7_919_000 % VOICE_EVERY;
        let encoder = |stream, every, clock, packets, bytes| Encoder {
            stream,
            every,
            clock,
            packets,
            bytes,
            due: start + offset,
            frame: 0,
            sequence: 0,
            key_wanted: true,
            last_key: None,
            paused: false,
        };
        let mut encoders = Vec::new();
        if voice {
            encoders.push(encoder(Stream::Voice, VOICE_EVERY, 48_000, 1, VOICE_BYTES));
        }
        for (stream, shape) in pictures {
            let every = SECOND / u64::from(shape.frames_per_second);
            encoders.push(encoder(*stream, every, 90_000, shape.packets, shape.bytes.max(SMALLEST)));
        }
        Self { publisher, encoders }
    }

    /// When the next packets leave.
    pub fn due(&self) -> Option<Nanos> {
        self.encoders.iter().map(|encoder| encoder.due).min()
    }

    /// Begins now: what would have been sent before is not.
    pub fn begin(&mut self, now: Nanos) {
        let first = self.due().unwrap_or(now);
        self.encoders.iter_mut().for_each(|encoder| encoder.due = encoder.due - first + now);
    }

    pub fn keyframe_wanted(&mut self, stream: Option<Stream>) {
        for encoder in &mut self.encoders {
            encoder.key_wanted |= stream.is_none_or(|wanted| wanted == encoder.stream);
        }
    }

    /// Nobody shows larger layers than this one.
    pub fn stop_above(&mut self, largest: Stream) {
        for encoder in &mut self.encoders {
            let pause = encoder.stream > largest;
            // What begins again begins with a keyframe.
            encoder.key_wanted |= encoder.paused && !pause;
            encoder.paused = pause;
        }
    }

    /// The packets whose moment has come, a frame at a time.
    pub fn take(&mut self, now: Nanos, mut send: impl FnMut(Packet)) {
        for encoder in &mut self.encoders {
            while encoder.due <= now {
                if !encoder.paused {
                    encoder.frame(self.publisher, now, &mut send);
                }
                encoder.frame += 1;
                encoder.due += encoder.every;
            }
        }
    }
}

impl Encoder {
    fn frame(&mut self, publisher: u16, now: Nanos, send: &mut impl FnMut(Packet)) {
        let is_picture = self.stream != Stream::Voice;
        let may_key = self.last_key.is_none_or(|last| now >= last + KEYFRAME_GAP);
        let is_key = is_picture && (self.frame.is_multiple_of(KEYFRAME_EVERY) || (self.key_wanted && may_key));
        if is_key {
            (self.key_wanted, self.last_key) = (false, Some(now));
        }
        let of = if is_key { self.packets * KEYFRAME } else { self.packets };
        let passed = u64::from(self.frame) * self.every;
        let timestamp = (u128::from(passed) * u128::from(self.clock) / u128::from(SECOND)) as u32;
        for index in 0..of {
            let mut payload = vec![0; self.bytes];
            if is_picture {
                vp8(&mut payload, self.frame, index == 0, is_key);
            } else {
                // Opus' first byte: CELT, full band, 20 ms, two channels, one frame (RFC 6716, section 3.1).
                payload[0] = 0xfc;
            }
            let sequence = self.sequence;
            let mark =
                Mark { publisher, stream: self.stream, sequence, is_key, frame: self.frame, index, of, sent: now };
            mark.write(&mut payload);
            self.sequence += 1;
            send(Packet { stream: self.stream, timestamp, marker: is_picture && index + 1 == of, payload });
        }
    }
}

/// The descriptor with a picture's number of 15 bits (RFC 7741, section 4.2), and what a frame of VP8 begins with (RFC 6386, section 9.1).
fn vp8(payload: &mut [u8], frame: u32, is_first: bool, is_key: bool) {
    let picture = (frame as u16 | 0x8000).to_be_bytes();
    payload[..4].copy_from_slice(&[0x80 | u8::from(is_first) << 4, 0x80, picture[0], picture[1]]);
    if !is_first {
        return;
    }
    // Shown, of version 0; the lowest bit is clear in a keyframe.
    payload[4..7].copy_from_slice(&[0x10 | u8::from(!is_key), 0x02, 0]);
    if is_key {
        // The start code, then 1280 times 720.
        payload[7..14].copy_from_slice(&[0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(source: &mut Source, until: Nanos) -> Vec<(Packet, Mark)> {
        let mut sent = Vec::new();
        while let Some(due) = source.due().filter(|due| *due <= until) {
            source.take(due, |packet| {
                let mark = Mark::read(&packet.payload).expect("each has a mark");
                sent.push((packet, mark));
            });
        }
        sent
    }

    #[test]
    fn a_second_has_as_many_packets_as_it_says() {
        let mut source = Source::new(3, 0, true, &[(Stream::High, Shape::FULL)]);
        source.begin(SECOND);
        // A thirtieth of a second has no whole number of nanoseconds.
        let sent = play(&mut source, 2 * SECOND - 1000);
        let of = |stream| sent.iter().filter(|(packet, _)| packet.stream == stream).collect::<Vec<_>>();
        assert_eq!(of(Stream::Voice).len(), 50);
        let pictures = of(Stream::High);
        assert_eq!(pictures.len(), 30 * 8 + 16, "the first frame is a keyframe");
        assert!(pictures.iter().enumerate().all(|(at, (_, mark))| mark.sequence == at as u32 && mark.publisher == 3));
        assert_eq!(pictures.iter().filter(|(packet, _)| packet.marker).count(), 30);
        assert_eq!(pictures[24].0.timestamp, 2999, "a thirtieth of 90,000, cut off");
    }

    #[test]
    fn a_keyframe_comes_when_it_is_asked_for_and_not_for_each_who_asks() {
        let mut source = Source::new(0, 0, false, &Shape::LAYERS);
        let keys = |sent: &[(Packet, Mark)], stream| {
            sent.iter().filter(|(packet, mark)| packet.stream == stream && mark.is_key && mark.index == 0).count()
        };
        let mut sent = play(&mut source, SECOND);
        source.keyframe_wanted(Some(Stream::High));
        source.keyframe_wanted(Some(Stream::High));
        sent.extend(play(&mut source, 2 * SECOND));
        assert_eq!((keys(&sent, Stream::High), keys(&sent, Stream::Low)), (2, 1));
        sent.extend(play(&mut source, 8 * SECOND));
        assert_eq!((keys(&sent, Stream::High), keys(&sent, Stream::Low)), (4, 2), "and by themselves");
    }

    #[test]
    fn what_nobody_shows_is_not_sent_and_comes_back_with_a_keyframe() {
        let mut source = Source::new(0, 0, true, &Shape::LAYERS);
        let second = |source: &mut Source, at: Nanos| {
            let sent = play(source, at * SECOND - 1000);
            Stream::ALL.map(|stream| sent.iter().filter(|(packet, _)| packet.stream == stream).count())
        };
        assert_eq!(second(&mut source, 1), [50, 15 + 2, 60 + 4, 240 + 16], "each begins with a keyframe");
        source.stop_above(Stream::Low);
        assert_eq!(second(&mut source, 2), [50, 15, 0, 0]);
        source.stop_above(Stream::Middle);
        assert_eq!(second(&mut source, 3), [50, 15, 60 + 4, 0]);
        source.stop_above(Stream::Voice);
        assert_eq!(second(&mut source, 4), [50, 0, 0, 0]);
    }

    #[test]
    fn frames_begin_as_those_of_vp8_do() {
        let mut source = Source::new(0, 0, false, &[(Stream::High, Shape::FULL)]);
        let sent = play(&mut source, SECOND);
        assert_eq!(sent[0].0.payload[..14], [0x90, 0x80, 0x80, 0, 0x10, 2, 0, 0x9d, 1, 0x2a, 0, 5, 0xd0, 2]);
        assert_eq!(sent[1].0.payload[..5], [0x80, 0x80, 0x80, 0, 0]);
        assert_eq!(sent[24].0.payload[..5], [0x90, 0x80, 0x80, 1, 0x11]);
        assert_eq!(Mark::read(&[0; 60]), None);
        assert_eq!(Mark::read(b"mark"), None);
    }
}
