//! A transport in memory: descriptions are names, packets go through channels, and tests see all of it. And a store that forgets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use buildspaces_kernel::ids::RoomId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::codec::Codec;
use crate::encryption::Encryption;
use crate::ports::{
    CallStore, Condition, Incoming, Line, Publisher, PublisherEvent, Received, StoreError, Subscriber, SubscriberEvent,
    Transport, TransportError,
};
use crate::router::{Kind, Layer};

/// More than any test sends at once.
const ROOM: usize = 4096;

/// Clones share everything.
#[derive(Clone, Default)]
pub struct MemoryTransport(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    publishers: Vec<mpsc::Sender<PublisherEvent>>,
    subscribers: Vec<mpsc::Sender<SubscriberEvent>>,
    lines: Vec<Arc<MemoryLine>>,
    capacities: Vec<watch::Sender<Option<u64>>>,
    keyframes: Vec<u32>,
    closed: usize,
    /// What receivers do not decode.
    lacks: Option<Codec>,
}

impl MemoryTransport {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("the state is only read and written")
    }

    /// A track of the `nth` publisher begins; what is sent into it arrives.
    pub fn track(&self, nth: usize, mid: &str, kind: Kind) -> mpsc::Sender<Received> {
        self.track_of(nth, mid, Codec::of(kind)[0])
    }

    pub fn track_of(&self, nth: usize, mid: &str, codec: Codec) -> mpsc::Sender<Received> {
        let (packets, arriving) = mpsc::channel(ROOM);
        let track = Box::new(MemoryIncoming { transport: self.clone(), arriving });
        let event = PublisherEvent::Track { mid: mid.to_owned(), codec, track };
        assert!(self.state().publishers[nth].try_send(event).is_ok(), "the publisher listens");
        packets
    }

    pub fn publisher_fails(&self, nth: usize) {
        self.publisher_becomes(nth, Condition::Failed);
    }

    pub fn publisher_becomes(&self, nth: usize, condition: Condition) {
        let event = PublisherEvent::Became(condition);
        assert!(self.state().publishers[nth].try_send(event).is_ok(), "the publisher listens");
    }

    /// What the line to the `nth` subscriber takes, from now on.
    pub fn takes(&self, nth: usize, capacity: u64) {
        self.state().capacities[nth].send_replace(Some(capacity));
    }

    /// Lines from now on lead to receivers that do not decode this.
    pub fn lacks(&self, codec: Codec) {
        self.state().lacks = Some(codec);
    }

    pub fn lines(&self) -> Vec<Arc<MemoryLine>> {
        self.state().lines.clone()
    }

    /// Connections made and closed.
    pub fn connections(&self) -> (usize, usize) {
        let state = self.state();
        (state.publishers.len() + state.subscribers.len(), state.closed)
    }

    pub fn keyframes(&self) -> usize {
        self.state().keyframes.len()
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn publisher(
        &self,
        _: Codec,
    ) -> Result<(Box<dyn Publisher>, mpsc::Receiver<PublisherEvent>), TransportError> {
        let (events, received) = mpsc::channel(ROOM);
        self.state().publishers.push(events);
        Ok((Box::new(MemoryPublisher(self.clone())), received))
    }

    async fn subscriber(&self) -> Result<(Box<dyn Subscriber>, mpsc::Receiver<SubscriberEvent>), TransportError> {
        let (events, received) = mpsc::channel(ROOM);
        let (sender, capacity) = watch::channel(None);
        let mut state = self.state();
        state.subscribers.push(events.clone());
        state.capacities.push(sender);
        let transport = self.clone();
        Ok((Box::new(MemorySubscriber { transport, events, capacity, lines: 0, offers: 0 }), received))
    }
}

struct MemoryPublisher(MemoryTransport);

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn answer(&mut self, offer: &str) -> Result<String, TransportError> {
        if offer == "nonsense" {
            return Err(TransportError::Description("nonsense".to_owned()));
        }
        Ok(format!("answer to {offer}"))
    }

    async fn close(&mut self) {
        self.0.state().closed += 1;
    }
}

struct MemoryIncoming {
    transport: MemoryTransport,
    arriving: mpsc::Receiver<Received>,
}

#[async_trait]
impl Incoming for MemoryIncoming {
    async fn next(&mut self) -> Option<Received> {
        self.arriving.recv().await
    }

    async fn request_keyframe(&self, ssrc: u32) {
        self.transport.state().keyframes.push(ssrc);
    }
}

struct MemorySubscriber {
    transport: MemoryTransport,
    events: mpsc::Sender<SubscriberEvent>,
    capacity: watch::Receiver<Option<u64>>,
    lines: usize,
    offers: usize,
}

#[async_trait]
impl Subscriber for MemorySubscriber {
    async fn add(&mut self, _: Kind) -> Result<Arc<dyn Line>, TransportError> {
        self.lines += 1;
        let mut state = self.transport.state();
        let (ssrc, lacks) = (state.lines.len() as u32, state.lacks);
        let line = Arc::new(MemoryLine { ssrc, lacks, sent: Mutex::default() });
        state.lines.push(line.clone());
        Ok(line)
    }

    async fn offer(&mut self, restart: bool) -> Result<(String, Vec<String>), TransportError> {
        self.offers += 1;
        let restarting = if restart { " that restarts" } else { "" };
        Ok((format!("offer {}{restarting}", self.offers), (0..self.lines).map(|at| at.to_string()).collect()))
    }

    async fn answered(&mut self, _: &str) -> Result<(), TransportError> {
        let _ = self.events.try_send(SubscriberEvent::Became(Condition::Connected));
        Ok(())
    }

    async fn answer(&mut self, offer: &str) -> Result<String, TransportError> {
        let _ = self.events.try_send(SubscriberEvent::Became(Condition::Connected));
        Ok(format!("answer to {offer}"))
    }

    fn capacity(&self) -> watch::Receiver<Option<u64>> {
        self.capacity.clone()
    }

    async fn close(&mut self) {
        self.transport.state().closed += 1;
    }
}

pub struct MemoryLine {
    ssrc: u32,
    lacks: Option<Codec>,
    sent: Mutex<Vec<(u16, Bytes)>>,
}

impl MemoryLine {
    /// What was sent since the last time.
    pub fn taken(&self) -> Vec<(u16, Bytes)> {
        std::mem::take(&mut *self.sent.lock().expect("a list is only pushed and taken"))
    }
}

impl Line for MemoryLine {
    fn ssrc(&self) -> u32 {
        self.ssrc
    }

    fn decodes(&self, codec: Codec) -> bool {
        self.lacks != Some(codec)
    }

    fn send(&self, packet: &Received, sequence: u16, _: u32) -> bool {
        self.sent.lock().expect("a list is only pushed and taken").push((sequence, packet.payload.clone()));
        true
    }
}

/// A packet of a microphone.
pub fn sound(sequence: u16, level: u8) -> Received {
    Received {
        ssrc: 7,
        layer: Layer::LOW,
        codec: Codec::Opus,
        sequence,
        timestamp: u32::from(sequence) * 960,
        marker: false,
        payload: Bytes::from_static(b"sound"),
        level: Some(level),
    }
}

/// A packet of a camera of one layer: a keyframe of so many bytes.
pub fn picture(sequence: u16, bytes: usize) -> Received {
    let mut payload = vec![0; bytes];
    payload[0] = 0x10;
    Received {
        ssrc: 8,
        layer: Layer::LOW,
        codec: Codec::Vp8,
        sequence,
        timestamp: u32::from(sequence) * 4500,
        marker: true,
        payload: payload.into(),
        level: None,
    }
}

/// Clones share everything.
#[derive(Clone, Default, Debug)]
pub struct MemoryCalls(Arc<Mutex<Stored>>);

#[derive(Default, Debug)]
struct Stored {
    encrypted: HashMap<RoomId, Encryption>,
    /// What everything is answered with.
    broken: Option<StoreError>,
}

impl MemoryCalls {
    /// From now on nothing can be read or written for this reason; or everything again.
    pub fn breaks(&self, error: Option<StoreError>) {
        self.0.lock().expect("the store is only read and written").broken = error;
    }

    fn stored(&self) -> Result<std::sync::MutexGuard<'_, Stored>, StoreError> {
        let stored = self.0.lock().expect("the store is only read and written");
        stored.broken.clone().map_or(Ok(stored), Err)
    }
}

#[async_trait]
impl CallStore for MemoryCalls {
    async fn encryption(&self, room: &RoomId) -> Result<Option<Encryption>, StoreError> {
        Ok(self.stored()?.encrypted.get(room).cloned())
    }

    async fn set_encryption(&self, room: &RoomId, encryption: Option<&Encryption>) -> Result<(), StoreError> {
        let mut stored = self.stored()?;
        match encryption {
            Some(encryption) => drop(stored.encrypted.insert(room.clone(), encryption.clone())),
            None => drop(stored.encrypted.remove(room)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        crate::contract::call_store(&super::MemoryCalls::default()).await;
    }
}
