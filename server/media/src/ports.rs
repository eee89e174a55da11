//! What a call needs from outside: connections over which packets come and go, and a place for what is kept of a room's calls.
//!
//! Each participant has two, with one fixed side that offers on each, so that offers never cross: on the *publisher* the page
//! offers, on the *subscriber* the server does, or else always the other side ([`Subscriber::answer`]). The real implementation is [`crate::webrtc`], the one in memory is for tests.
//! No decision is taken here.

use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_kernel::ids::RoomId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::codec::Codec;
use crate::encryption::Encryption;
use crate::router::{Kind, Layer};

/// A store's answer was an error. The cause is in the text, for the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is broken: the same works once there is space.
    #[error("call store: no space is left: {0}")]
    Full(String),
    #[error("call store: {0}")]
    Failed(String),
}

/// Rows of rooms whose calls are end-to-end encrypted. Each method is one transaction and durable on return.
#[async_trait]
pub trait CallStore: Send + Sync + 'static {
    /// `None`: the room's calls are not encrypted.
    async fn encryption(&self, room: &RoomId) -> Result<Option<Encryption>, StoreError>;
    async fn set_encryption(&self, room: &RoomId, encryption: Option<&Encryption>) -> Result<(), StoreError>;
}

/// Why a connection failed. The text is for the log; `Offer` is the page's fault and is told to it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransportError {
    /// The description cannot be used.
    #[error("the session description cannot be used: {0}")]
    Description(String),
    #[error("media transport: {0}")]
    Failed(String),
}

/// A packet as it came from a publisher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    pub ssrc: u32,
    pub layer: Layer,
    pub codec: Codec,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// Empty: padding.
    pub payload: Bytes,
    /// How loud it is, in -dBov, if the page says so.
    pub level: Option<u8>,
}

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    Connected,
    /// For good. A page that is there joins anew.
    Failed,
}

pub enum PublisherEvent {
    /// The first packet of a section came. `mid` names the section in the page's offer.
    Track {
        mid: String,
        codec: Codec,
        track: Box<dyn Incoming>,
    },
    Became(Condition),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscriberEvent {
    /// The line with this SSRC shows nothing until a keyframe comes.
    KeyframeWanted(u32),
    Became(Condition),
}

/// Makes connections. Events that find their channel full are dropped: requests for keyframes come again, and the channel has
/// room for every other event of a connection.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// `picture`: the codec of what it may send as a picture.
    async fn publisher(
        &self,
        picture: Codec,
    ) -> Result<(Box<dyn Publisher>, mpsc::Receiver<PublisherEvent>), TransportError>;
    async fn subscriber(&self) -> Result<(Box<dyn Subscriber>, mpsc::Receiver<SubscriberEvent>), TransportError>;
}

/// A connection over which a page sends. Dropping it closes it some time; `close` at once.
#[async_trait]
pub trait Publisher: Send + Sync {
    async fn answer(&mut self, offer: &str) -> Result<String, TransportError>;
    async fn close(&mut self);
}

/// One section of a publisher.
#[async_trait]
pub trait Incoming: Send + Sync {
    /// `None` at the end. Cancel-safe.
    async fn next(&mut self) -> Option<Received>;
    async fn request_keyframe(&self, ssrc: u32);
}

/// A connection over which a page receives.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// One more line. It can be sent on after the next offer is answered.
    async fn add(&mut self, kind: Kind) -> Result<Arc<dyn Line>, TransportError>;
    /// An offer of all lines, and the names of their sections in their order. `restart`: with a new ICE session, because the page moved to
    /// another network.
    async fn offer(&mut self, restart: bool) -> Result<(String, Vec<String>), TransportError>;
    async fn answered(&mut self, answer: &str) -> Result<(), TransportError>;
    /// Answers an offer of the other side, in place of making offers: its sections are the lines that were added, each kind in its
    /// order. They can be sent on at once.
    async fn answer(&mut self, offer: &str) -> Result<String, TransportError>;
    /// What the line to the page takes, in bits in a second; `None` until something is known. Whoever waits for changes is told when it falls.
    fn capacity(&self) -> watch::Receiver<Option<u64>>;
    async fn close(&mut self);
}

/// One line of a subscriber.
pub trait Line: Send + Sync {
    fn ssrc(&self) -> u32;
    /// Whether the receiver can show what is of this codec. Packets of another are none to send.
    fn decodes(&self, codec: Codec) -> bool;
    /// Sends without waiting. False if the packet was dropped, for this receiver alone.
    fn send(&self, packet: &Received, sequence: u16, timestamp: u32) -> bool;
}
