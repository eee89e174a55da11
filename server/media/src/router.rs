//! What becomes of one track's packets, as a pure state machine: which subscriber gets which packet, of which simulcast layer, and
//! when a keyframe is asked for.
//!
//! It does not number what goes out ([`crate::rewrite`] does, for each receiver) and knows no connection. Its task is
//! `media::forwarder`.
//!
//! - A subscriber changes layers only at the first packet of a keyframe of the layer it goes to, and is on the old one until then.
//! - A keyframe is asked for until one has come, because the request or the frame may be lost: every [`ASK_AGAIN`], but for whoever has no picture
//!   yet when one has come, [`ASK_ANEW`] after it was asked for.
//! - A layer from which nothing came for [`ALIVE`] is not there: browsers stop the upper ones when their line is too thin.

use std::time::{Duration, Instant};

use crate::allocator::Rates;
use crate::codec::Codec;
use crate::rewrite::Source;

/// The pause between two requests for a keyframe of one layer. A keyframe is ten times as large as another frame: on a line that loses
/// packets because it is full, more of them would lose more.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The same where one has come meanwhile, and somebody came after it: many may come one after the other.
pub const ASK_ANEW: Duration = Duration::from_millis(250);

/// Without a packet for so long a layer counts as gone.
pub const ALIVE: Duration = Duration::from_millis(1500);

/// How often layers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most bytes of one track in a second and at once. What is above is dropped: it is more than the best camera needs, so it is a flood.
const VIDEO_BYTES: u64 = 1_500_000;
const AUDIO_BYTES: u64 = 64_000;

/// What a packet costs of that at least: each takes the same time for each receiver, however small it is. So of sound there are 640 in a second at
/// most, where browsers send 50, and of pictures 3,000, where the best camera needs 1,500.
const VIDEO_PACKET: u64 = 500;
const AUDIO_PACKET: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Audio,
    Video,
}

impl Kind {
    /// Ticks of an RTP timestamp in a second, for the codecs that are spoken here.
    pub fn clock(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

/// One of a camera's encodings, the smallest first. What is not simulcast is all [`Layer::LOW`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Layer(u8);

impl Layer {
    pub const LOW: Self = Self(0);
    pub const MIDDLE: Self = Self(1);
    pub const HIGH: Self = Self(2);
    pub const ALL: [Self; Self::COUNT] = [Self::LOW, Self::MIDDLE, Self::HIGH];
    pub const COUNT: usize = 3;

    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub fn below(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// By the name under which pages send it.
    pub fn of_rid(rid: &str) -> Option<Self> {
        match rid {
            "q" | "" => Some(Self::LOW),
            "h" => Some(Self::MIDDLE),
            "f" => Some(Self::HIGH),
            _ => None,
        }
    }
}

/// A subscriber of this track; numbers are the caller's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriberId(pub u64);

/// A packet, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub ssrc: u32,
    pub layer: Layer,
    pub codec: Codec,
    pub payload: &'a [u8],
}

#[derive(Debug)]
pub enum Input<'a> {
    Packet(Packet<'a>),
    Subscribed {
        id: SubscriberId,
        want: Option<Layer>,
    },
    Unsubscribed(SubscriberId),
    /// At most this layer; `None`: nothing until it is wanted again.
    Want {
        id: SubscriberId,
        layer: Option<Layer>,
    },
    /// The subscriber cannot show anything until a keyframe comes.
    KeyframeWanted(SubscriberId),
    /// Is anything passed on? Not while the track is muted.
    Open(bool),
    /// [`Router::deadline`] has come.
    Elapsed,
}

/// What follows from an input. Kept by the caller and used again, because there is one for each packet.
#[derive(PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// Who gets the packet.
    pub forward: Vec<(SubscriberId, Source)>,
    /// Who does not get it but must close the gap that it leaves.
    pub skip: Vec<(SubscriberId, Source)>,
    /// Streams of which a keyframe is to be asked for.
    pub keyframes: Vec<u32>,
    /// The packet was one too many.
    pub flooded: bool,
}

impl Effects {
    fn clear(&mut self) {
        self.forward.clear();
        self.skip.clear();
        self.keyframes.clear();
        self.flooded = false;
    }
}

/// One track.
#[derive(Debug)]
pub struct Router {
    kind: Kind,
    streams: [Option<Stream>; Layer::COUNT],
    subscribers: Vec<Subscriber>,
    open: bool,
    /// Counts openings, so that what is sent after one is numbered as another source.
    epoch: u32,
    budget: Budget,
    looked: Option<Instant>,
}

/// What arrives of one layer.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    seen: Instant,
    rate: Rate,
    /// A keyframe is wanted and has not come.
    wanted: Option<Wanted>,
    asked: Option<Instant>,
    /// One has come since it was asked for.
    came: bool,
}

/// Why a keyframe is wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wanted {
    /// By a receiver that lost something.
    Again,
    /// For one that is on no layer, or on another.
    Anew,
}

impl Stream {
    /// When a keyframe may be asked for; `None`: at once.
    fn asks_at(&self) -> Option<Instant> {
        let is_new = self.came && self.wanted == Some(Wanted::Anew);
        Some(self.asked? + if is_new { ASK_ANEW } else { ASK_AGAIN })
    }
}

#[derive(Debug)]
struct Subscriber {
    id: SubscriberId,
    want: Option<Layer>,
    /// What it is sent; `None` before its first keyframe.
    current: Option<Layer>,
    /// What it is to be sent.
    target: Option<Layer>,
    /// Counts pauses, for the same reason as openings are counted.
    epoch: u32,
}

impl Router {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            streams: [None, None, None],
            subscribers: Vec::new(),
            open: false,
            epoch: 0,
            budget: Budget::new(kind),
            looked: None,
        }
    }

    pub fn handle(&mut self, now: Instant, input: Input<'_>, effects: &mut Effects) {
        effects.clear();
        match input {
            Input::Packet(packet) => self.packet(now, packet, effects),
            Input::Subscribed { id, want } => {
                self.subscribers.retain(|subscriber| subscriber.id != id);
                self.subscribers.push(Subscriber { id, want, current: None, target: None, epoch: 0 });
                self.look(now, effects);
            }
            Input::Unsubscribed(id) => self.subscribers.retain(|subscriber| subscriber.id != id),
            Input::Want { id, layer } => {
                if let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.id == id) {
                    subscriber.want = layer;
                    self.look(now, effects);
                }
            }
            Input::KeyframeWanted(id) => {
                let subscriber = self.subscribers.iter().find(|subscriber| subscriber.id == id);
                let layer = subscriber.and_then(|subscriber| subscriber.current.or(subscriber.target));
                if let Some(stream) = layer.and_then(|layer| self.stream(layer)) {
                    stream.wanted = stream.wanted.max(Some(Wanted::Again));
                    self.look(now, effects);
                }
            }
            Input::Open(open) => {
                if open && !self.open {
                    self.epoch += 1;
                    for subscriber in &mut self.subscribers {
                        subscriber.current = None;
                    }
                }
                self.open = open;
                self.look(now, effects);
            }
            Input::Elapsed => self.look(now, effects),
        }
    }

    /// When [`Input::Elapsed`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.kind == Kind::Video && self.open && !self.subscribers.is_empty();
        let look = self.looked.filter(|_| waits)? + LOOK_EVERY;
        let wanted = self.streams.iter().flatten().filter(|stream| stream.wanted.is_some());
        Some(wanted.filter_map(Stream::asks_at).fold(look, Instant::min))
    }

    fn packet(&mut self, now: Instant, packet: Packet<'_>, effects: &mut Effects) {
        if !self.budget.take(now, packet.payload.len()) {
            effects.flooded = true;
            return;
        }
        let known = self.stream(packet.layer).filter(|stream| stream.ssrc == packet.ssrc);
        let is_new = match known {
            Some(stream) => {
                let was_gone = now >= stream.seen + ALIVE;
                stream.seen = now;
                stream.rate.add(now, packet.payload.len());
                was_gone
            }
            None => {
                let mut rate = Rate::default();
                rate.add(now, packet.payload.len());
                let stream = Stream { ssrc: packet.ssrc, seen: now, rate, wanted: None, asked: None, came: false };
                self.streams[packet.layer.index()] = Some(stream);
                true
            }
        };
        if !self.open {
            return;
        }
        if is_new {
            self.look(now, effects);
        }
        let epoch = self.epoch;
        let source = |subscriber: &Subscriber| Source { ssrc: packet.ssrc, epoch: epoch + subscriber.epoch };
        if packet.payload.is_empty() {
            // Padding, with which browsers try how much a line takes.
            let on_it = self.subscribers.iter().filter(|subscriber| subscriber.current == Some(packet.layer));
            effects.skip.extend(on_it.map(|subscriber| (subscriber.id, source(subscriber))));
            return;
        }
        let keyframe = packet.codec.starts_keyframe(packet.payload);
        if keyframe && let Some(stream) = self.stream(packet.layer) {
            (stream.wanted, stream.came) = (None, true);
            // A layer that begins with one needs no other.
            if let Some(at) = effects.keyframes.iter().position(|ssrc| *ssrc == packet.ssrc) {
                effects.keyframes.swap_remove(at);
                stream.asked = None;
            }
        }
        for subscriber in &mut self.subscribers {
            if keyframe && subscriber.target == Some(packet.layer) {
                subscriber.current = subscriber.target;
            }
            if subscriber.current == Some(packet.layer) {
                effects.forward.push((subscriber.id, source(subscriber)));
            }
        }
    }

    /// Decides anew who is to be sent what, and asks for the keyframes that are missing for it.
    fn look(&mut self, now: Instant, effects: &mut Effects) {
        self.looked = Some(now);
        let is_alive = |stream: &Option<Stream>| stream.as_ref().is_some_and(|stream| now < stream.seen + ALIVE);
        let alive: [bool; Layer::COUNT] = [0, 1, 2].map(|layer| is_alive(&self.streams[layer]));
        let best = |want: Layer| {
            let below = (0..=want.0).rev().find(|layer| alive[usize::from(*layer)]);
            let above = || (want.0 + 1..Layer::COUNT as u8).find(|layer| alive[usize::from(*layer)]);
            below.or_else(above).map(Layer)
        };
        for subscriber in &mut self.subscribers {
            let Some(want) = subscriber.want else {
                subscriber.epoch += u32::from(subscriber.current.is_some());
                (subscriber.current, subscriber.target) = (None, None);
                continue;
            };
            // A shared screen on which nothing moves sends nothing: what is gone without another to take its place stays.
            subscriber.target = best(want).or(subscriber.target);
            if self.kind == Kind::Audio {
                subscriber.current = subscriber.target;
            } else if subscriber.current != subscriber.target
                && let Some(stream) = subscriber.target.and_then(|layer| self.streams[usize::from(layer.0)].as_mut())
            {
                stream.wanted = Some(Wanted::Anew);
            }
        }
        if !self.open || self.kind == Kind::Audio {
            return;
        }
        for stream in self.streams.iter_mut().flatten() {
            if stream.wanted.is_some() && stream.asks_at().is_none_or(|at| now >= at) {
                (stream.asked, stream.came) = (Some(now), false);
                effects.keyframes.push(stream.ssrc);
            }
        }
    }

    fn stream(&mut self, layer: Layer) -> Option<&mut Stream> {
        self.streams[layer.index()].as_mut()
    }

    /// What comes in of each layer; nothing while nothing of it is passed on.
    pub fn rates(&self, now: Instant) -> Rates {
        let rate = |stream: &Option<Stream>| match stream {
            Some(stream) if self.open && now < stream.seen + ALIVE => stream.rate.per_second as u32,
            _ => 0,
        };
        Rates([0, 1, 2].map(|layer| rate(&self.streams[layer])))
    }
}

/// What is sent of a packet besides its payload, on average.
pub(crate) const OVERHEAD: usize = 24;

/// Bits in a second, over the last few seconds: a keyframe or a scrolled page does not change it much.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    is_settled: bool,
    bits: f64,
    since: Option<Instant>,
}

impl Rate {
    const FOLDED_AFTER: f64 = 0.5;
    const AVERAGED_OVER: f64 = 2.0;

    fn add(&mut self, now: Instant, bytes: usize) {
        self.bits += (bytes + OVERHEAD) as f64 * 8.0;
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs_f64();
        if passed < Self::FOLDED_AFTER {
            if !self.is_settled {
                self.per_second = self.bits / passed.max(Self::FOLDED_AFTER / 2.0);
            }
            return;
        }
        let weight = if self.is_settled { 1.0 - (-passed / Self::AVERAGED_OVER).exp() } else { 1.0 };
        self.per_second += (self.bits / passed - self.per_second) * weight;
        (self.is_settled, self.bits, self.since) = (true, 0.0, Some(now));
    }
}

/// A bucket of bytes that fills with time.
#[derive(Debug)]
struct Budget {
    most: u64,
    /// What each packet costs at least.
    packet: u64,
    left: u64,
    at: Option<Instant>,
}

impl Budget {
    fn new(kind: Kind) -> Self {
        let (most, packet) = match kind {
            Kind::Video => (VIDEO_BYTES, VIDEO_PACKET),
            Kind::Audio => (AUDIO_BYTES, AUDIO_PACKET),
        };
        Self { most, packet, left: most, at: None }
    }

    fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let more = passed.as_nanos().saturating_mul(u128::from(self.most)) / 1_000_000_000;
        if more > 0 || self.at.is_none() {
            self.left = u64::try_from(more).unwrap_or(self.most).saturating_add(self.left).min(self.most);
            self.at = Some(now);
        }
        let cost = (bytes as u64 + 12).max(self.packet);
        if self.left < cost {
            return false;
        }
        self.left -= cost;
        true
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
