//! One publisher with three layers, receivers behind lines that lose, delay and reorder, and a check that what each receiver gets
//! can be decoded: seeded, so that a failure can be seen again.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::rewrite::Rewriter;
use crate::vp8;

/// A frame in so many packets, 20 a second.
const PACKETS: u16 = 4;
const FRAME: Duration = Duration::from_millis(50);

/// One encoding of the camera.
struct Encoder {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Packets made since its last keyframe; a keyframe if it is asked for.
    asked: bool,
    frames: u32,
}

/// What the network between does.
#[derive(Clone, Copy, Debug)]
struct Line {
    loss: f64,
    /// Up to so many milliseconds later, each packet for itself.
    jitter: u64,
}

/// A packet on its way, with what the check needs to know: the frame, and which of its packets.
#[derive(Clone, Debug)]
struct Made {
    ssrc: u32,
    layer: Layer,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// One receiver, which can show a frame when all of it is there and so is the frame before, or it is a keyframe.
#[derive(Default)]
struct Receiver {
    /// By the number under which it was sent: where it is from, its own number, first of a keyframe?
    got: BTreeMap<i64, (Source, u16, bool, u32)>,
    last: i64,
    switches: BTreeSet<u32>,
    /// Streams and numbers of packets without contents, none of which may come here.
    padding: BTreeSet<(u32, u16)>,
}

impl Receiver {
    fn take(&mut self, sequence: u16, timestamp: u32, source: Source, made: &Made) {
        let at = self.last + i64::from(sequence.wrapping_sub(self.last as u16) as i16);
        let keyframe = vp8::starts_keyframe(&made.payload);
        let before = self.got.insert(at, (source, made.sequence, keyframe, timestamp));
        assert_eq!(before, None, "two packets under one number");
        self.last = self.last.max(at);
        self.switches.insert(made.ssrc);
    }

    /// **Invariant:** where the stream changes, a keyframe begins, and numbers and times only rise.
    fn check(&self) {
        let mut previous: Option<(i64, (Source, u16, bool, u32))> = None;
        for (&at, &packet) in &self.got {
            if let Some((before, previous)) = previous {
                if previous.0 == packet.0 {
                    let theirs = packet.1.wrapping_sub(previous.1);
                    let between = (1..theirs).map(|step| (packet.0.ssrc, previous.1.wrapping_add(step)));
                    let padding = between.filter(|packet| self.padding.contains(packet)).count() as i64;
                    // Padding that was lost or overtaken leaves its gap.
                    let (ours, theirs) = (at - before, i64::from(theirs));
                    assert!((theirs - padding..=theirs).contains(&ours), "a gap of our making, or one hidden");
                } else {
                    // Its first packet may be lost on the way to us, but then nothing of it is sent.
                    assert!(packet.2, "the stream changed without a keyframe");
                    assert!(packet.3.wrapping_sub(previous.3) < 90_000 * 60, "time goes on");
                }
            } else {
                assert!(packet.2, "the first thing sent is a keyframe");
            }
            previous = Some((at, packet));
        }
    }
}

fn simulate(seed: u64, line: Line) -> Vec<Receiver> {
    let mut random = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut router = Router::new(Kind::Video);
    let mut effects = Effects::default();
    let mut encoders: Vec<Encoder> = (0..3_u32)
        .map(|layer| Encoder {
            ssrc: 100 + layer,
            sequence: random.random(),
            timestamp: random.random(),
            asked: true,
            frames: 0,
        })
        .collect();
    let mut rewriters: Vec<Rewriter> = (0..4).map(|_| Rewriter::new(90_000)).collect();
    let mut receivers: Vec<Receiver> = (0..4).map(|_| Receiver::default()).collect();
    // By when they arrive; the second number keeps them apart.
    let mut uplink: BTreeMap<(Instant, u64), Made> = BTreeMap::new();
    let mut requests: BTreeMap<(Instant, u64), u32> = BTreeMap::new();
    // Whose picture is paused, and until when.
    let mut paused: Vec<(Instant, SubscriberId)> = Vec::new();
    let mut count = 0;
    let mut padding = BTreeSet::new();
    router.handle(start, Input::Open(true), &mut effects);
    for id in 0..4 {
        router.handle(start, Input::Subscribed { id: SubscriberId(id), want: Some(Layer(id as u8 % 3)) }, &mut effects);
    }
    let end = start + Duration::from_secs(20);
    let mut frame_at = start;
    let mut now = start;
    while now < end {
        if frame_at <= now {
            frame_at += FRAME;
            for (layer, encoder) in encoders.iter_mut().enumerate() {
                let keyframe = std::mem::take(&mut encoder.asked);
                encoder.timestamp = encoder.timestamp.wrapping_add(4500);
                encoder.frames += 1;
                // Some of the time the browser tries how much its line takes.
                let probes = if random.random_bool(0.1) { random.random_range(1..60) } else { 0 };
                for part in 0..PACKETS + probes {
                    let head = if part == 0 { 0x10 } else { 0x00 };
                    let made = Made {
                        ssrc: encoder.ssrc,
                        layer: Layer(layer as u8),
                        sequence: encoder.sequence,
                        timestamp: encoder.timestamp,
                        payload: if part < PACKETS { vec![head, u8::from(!keyframe), 0] } else { Vec::new() },
                    };
                    if made.payload.is_empty() {
                        padding.insert((made.ssrc, made.sequence));
                    }
                    encoder.sequence = encoder.sequence.wrapping_add(1);
                    if !random.random_bool(line.loss) {
                        let delay = Duration::from_millis(5 + random.random_range(0..=line.jitter));
                        count += 1;
                        uplink.insert((now + delay, count), made);
                    }
                }
            }
        }
        while let Some(entry) = uplink.first_entry().filter(|entry| entry.key().0 <= now) {
            let made = entry.remove();
            let packet = Packet { ssrc: made.ssrc, layer: made.layer, codec: Codec::Vp8, payload: &made.payload };
            router.handle(now, Input::Packet(packet), &mut effects);
            for (id, source) in &effects.forward {
                let at = id.0 as usize;
                let Some((sequence, timestamp)) = rewriters[at].step(now, *source, made.sequence, made.timestamp)
                else {
                    continue;
                };
                receivers[at].take(sequence, timestamp, *source, &made);
            }
            for (id, source) in &effects.skip {
                rewriters[id.0 as usize].skip(*source, made.sequence);
            }
            count += 1;
            requests.extend(effects.keyframes.iter().map(|ssrc| ((now + Duration::from_millis(30), count), *ssrc)));
        }
        while let Some(entry) = requests.first_entry().filter(|entry| entry.key().0 <= now) {
            let ssrc = entry.remove();
            // Requests are lost like everything else.
            if let Some(encoder) = encoders.iter_mut().find(|encoder| encoder.ssrc == ssrc) {
                encoder.asked |= !random.random_bool(line.loss);
            }
        }
        if router.deadline().is_some_and(|deadline| deadline <= now) {
            router.handle(now, Input::Elapsed, &mut effects);
            count += 1;
            requests.extend(effects.keyframes.iter().map(|ssrc| ((now + Duration::from_millis(30), count), *ssrc)));
        }
        while let Some(at) = paused.iter().position(|(until, _)| *until <= now) {
            let (_, id) = paused.swap_remove(at);
            router.handle(now, Input::Want { id, layer: Some(Layer::LOW) }, &mut effects);
            count += 1;
            requests.extend(effects.keyframes.iter().map(|ssrc| ((now + Duration::from_millis(30), count), *ssrc)));
        }
        // People look at other things, some of the time.
        if random.random_bool(0.002) {
            let id = SubscriberId(random.random_range(0..4));
            let input = if random.random_bool(0.5) {
                let layer = random.random_bool(0.8).then(|| Layer(random.random_range(0..3)));
                if layer.is_none() {
                    paused.push((now + Duration::from_millis(700), id));
                }
                Input::Want { id, layer }
            } else {
                Input::KeyframeWanted(id)
            };
            router.handle(now, input, &mut effects);
            count += 1;
            requests.extend(effects.keyframes.iter().map(|ssrc| ((now + Duration::from_millis(30), count), *ssrc)));
        }
        now += Duration::from_millis(1);
    }
    for receiver in &mut receivers {
        receiver.padding.clone_from(&padding);
    }
    receivers
}

#[test]
fn what_receivers_get_can_be_shown_whatever_the_line_does() {
    for (seed, line) in [
        Line { loss: 0.0, jitter: 0 },
        Line { loss: 0.05, jitter: 0 },
        Line { loss: 0.05, jitter: 30 },
        Line { loss: 0.3, jitter: 80 },
        Line { loss: 0.0, jitter: 80 },
    ]
    .into_iter()
    .enumerate()
    .flat_map(|(at, line)| (0..8).map(move |seed| (100 * at as u64 + seed, line)))
    {
        for (at, receiver) in simulate(seed, line).iter().enumerate() {
            let got = receiver.got.len() as f64;
            // 20 s of 20 frames of 4 packets, less what is lost, the wait for keyframes and the pauses.
            let least = 1600.0 * (1.0 - line.loss) * 0.55;
            assert!(got > least, "seed {seed}, {line:?}: receiver {at} got {got} packets");
            receiver.check();
        }
    }
}
