use std::io::Cursor;

use matroska_demuxer::{Frame, MatroskaFile};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// Opus of 20 ms.
const TOC: u8 = 31 << 3;

/// Sound as it is sent: a packet for each 20 ms, of which each says its number.
fn voice(number: u16, at: u64) -> Packet {
    let payload = vec![TOC, (number >> 8) as u8, number as u8].into();
    let at = Duration::from_millis(at);
    Packet { sequence: number, timestamp: u32::from(number) * 960, marker: false, codec: Codec::Opus, payload, at }
}

/// The numbers of packets in a file, in order, and `None` where nothing was sent.
fn voices(file: &[u8]) -> Vec<Option<u16>> {
    let mut reader = ::ogg::PacketReader::new(Cursor::new(file));
    let next = || reader.read_packet().expect("a whole file");
    let number = |data: &[u8]| (data.len() == 3).then(|| u16::from_be_bytes([data[1], data[2]]));
    std::iter::from_fn(next).skip(2).map(|packet| number(&packet.data)).collect()
}

#[test]
fn a_voice_keeps_time_over_losses_and_pauses() {
    let mut track = Track::new(Kind::Audio, 0, 1, "Ada".to_owned());
    assert_eq!((track.offset(), track.take(false)), (None, Written::default()));
    for number in [5_u16, 6, 8, 7, 10, 11] {
        track.packet(voice(number, 1000 + u64::from(number) * 20));
    }
    // 9 never comes.
    track.elapsed(Duration::from_secs(2));
    let mut file = track.take(false).bytes;
    assert_eq!(voices(&file), [Some(5), Some(6), Some(7), Some(8), None, Some(10), Some(11)]);
    // Muted for ten seconds: numbers go on without a gap, and timestamps with the time.
    let at = 1000 + 11 * 20 + 10_000;
    for number in 12..15_u16 {
        let timestamp = u32::from(number) * 960 + 48 * 10_000;
        track.packet(Packet { timestamp, ..voice(number, at + u64::from(number - 11) * 20) });
    }
    // No Opus at all.
    track.packet(Packet { payload: bytes::Bytes::new(), ..voice(15, at + 80) });
    file.extend(track.take(true).bytes);
    let all = voices(&file);
    assert_eq!(all.len(), 7 + 500 + 3);
    assert_eq!(&all[507..], [Some(12), Some(13), Some(14)]);
    assert_eq!(track.offset(), Some(Duration::from_millis(1100)));
    assert_eq!(track.duration(), Duration::from_millis(510 * 20));
}

#[test]
fn timestamps_that_cannot_be_make_no_file_long() {
    let mut track = Track::new(Kind::Audio, 0, 1, String::new());
    let mut rng = StdRng::seed_from_u64(7);
    for number in 0..2000_u16 {
        track.packet(Packet { timestamp: rng.random(), ..voice(number, u64::from(number) * 20) });
    }
    let seconds = track.duration().as_secs();
    assert!((39..=42).contains(&seconds), "{seconds}");
}

/// The packets of a camera: frames of one to three packets, each thirtieth a keyframe, each packet with the number of its frame.
fn camera(frames: u32) -> Vec<Packet> {
    let mut packets = Vec::new();
    for frame in 0..frames {
        let head: Vec<u8> = if frame % 30 == 0 { vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0] } else { vec![0x11] };
        let parts = 1 + frame % 3;
        for part in 0..parts {
            let mut payload = vec![if part == 0 { 0x10 } else { 0 }];
            if part == 0 {
                payload.extend(&head);
            }
            payload.extend(frame.to_be_bytes());
            packets.push(Packet {
                sequence: (65_000 + packets.len()) as u16,
                timestamp: frame.wrapping_mul(3000).wrapping_add(u32::MAX - 50_000),
                marker: part + 1 == parts,
                codec: Codec::Vp8,
                payload: payload.into(),
                at: Duration::from_millis(u64::from(frame) * 1000 / 30),
            });
        }
    }
    packets
}

/// Number of the frame, time and whether it is a keyframe, of each frame in a file.
fn pictures(file: &[u8]) -> Vec<(u32, u64, bool)> {
    let mut file = MatroskaFile::open(Cursor::new(file)).expect("a WebM file");
    let (mut frame, mut found) = (Frame::default(), Vec::new());
    while file.next_frame(&mut frame).expect("a whole file") {
        let data = &frame.data;
        let last: [u8; 4] = data[data.len() - 4..].try_into().expect("four bytes");
        found.push((u32::from_be_bytes(last), frame.timestamp, frame.is_keyframe == Some(true)));
    }
    found
}

#[test]
fn a_picture_has_every_frame_at_its_time_whatever_the_order_of_packets() {
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut track = Track::new(Kind::Video, 0, 1, String::new());
        let mut packets = camera(300);
        // The first stays: nothing before it is known to be missing.
        for block in packets[1..].chunks_mut(8) {
            block.shuffle(&mut rng);
        }
        let mut file = Vec::new();
        for packet in packets {
            let now = packet.at;
            track.packet(packet);
            if rng.random_ratio(1, 20) {
                file.extend(track.take(false).bytes);
                track.elapsed(now);
            }
        }
        file.extend(track.take(true).bytes);
        let expected: Vec<_> = (0..300).map(|frame| (frame, u64::from(frame) * 1000 / 30, frame % 30 == 0)).collect();
        assert_eq!(pictures(&file), expected, "seed {seed}");
    }
}

#[test]
fn a_picture_of_h264_is_a_file_of_h264() {
    let mut track = Track::new(Kind::Video, 0, 1, String::new());
    let parameters = [&[0x78, 0, 25][..], &h264::tests::SEQUENCE, &[0, 6], &h264::tests::PICTURE].concat();
    let frames: [(u32, &[&[u8]]); 3] = [
        (0, &[&parameters, &[0x7c, 0x85, 1], &[0x7c, 0x45, 2]]),
        (3000, &[&[0x41, 3]]),
        (6000, &[&[0x7c, 0x81, 4], &[0x7c, 0x41, 5]]),
    ];
    let mut sequence = 0;
    for (timestamp, packets) in frames {
        for (at, payload) in packets.iter().enumerate() {
            let marker = at + 1 == packets.len();
            let at = Duration::from_millis(u64::from(timestamp / 90));
            let payload = payload.to_vec().into();
            track.packet(Packet { sequence, timestamp, marker, codec: Codec::H264, payload, at });
            sequence += 1;
        }
    }
    assert_eq!((track.codec(), track.wants_keyframe()), (Codec::H264, false));
    let file = track.take(true).bytes;
    let mut file = MatroskaFile::open(Cursor::new(&file)).expect("a Matroska file");
    let video = file.tracks()[0].video().expect("a picture");
    assert_eq!((video.pixel_width().get(), video.pixel_height().get()), (640, 360));
    let (mut frame, mut found) = (Frame::default(), Vec::new());
    while file.next_frame(&mut frame).expect("a whole file") {
        found.push((frame.timestamp, frame.is_keyframe == Some(true), frame.data.len()));
    }
    assert_eq!(found, [(0, true, 4 + 25 + 4 + 6 + 4 + 3), (33, false, 4 + 2), (66, false, 4 + 3)]);
}

#[test]
fn after_a_loss_a_picture_goes_on_at_the_next_keyframe() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut track = Track::new(Kind::Video, 0, 1, String::new());
        let mut lost = std::collections::BTreeSet::new();
        for packet in camera(300).into_iter().skip(rng.random_range(0..3)) {
            if rng.random_ratio(1, 60) {
                let payload = &packet.payload;
                lost.insert(u32::from_be_bytes(payload[payload.len() - 4..].try_into().expect("four bytes")));
            } else {
                track.packet(packet);
            }
        }
        track.elapsed(Duration::from_secs(60));
        let found = pictures(&track.take(true).bytes);
        for (at, (frame, _, is_keyframe)) in found.iter().enumerate() {
            assert!(!lost.contains(frame), "seed {seed}: {frame} is not whole");
            let follows = at > 0 && found[at - 1].0 + 1 == *frame;
            assert!(follows || *is_keyframe, "seed {seed}: {frame} builds on what is not there");
        }
        let count = |range: std::ops::Range<u32>| found.iter().filter(|(frame, ..)| range.contains(frame)).count();
        // Of each run without a loss everything is there.
        for run in (30..300).step_by(30).filter(|run| !(run - 1..run + 30).any(|frame| lost.contains(&frame))) {
            assert_eq!(count(run..run + 30), 30, "seed {seed}: {run}");
        }
    }
}
