//! Webhooks: tells others over HTTP what changed in documents and rooms.
//!
//! 1. [`Engine`] is the listener of `rooms`: changes of a document are gathered until it is quiet ([`gather`]).
//! 2. For each webhook that asked for it an event becomes a [`Delivery`], a row of the store; so is a deletion or a new room, at once.
//! 3. One task sends what is due. After each attempt [`retry`] decides what becomes of the delivery and of its webhook.
//!
//! It knows nothing of HTTP or SQL: see [`ports`]. Order between deliveries is not kept, and one may come twice; its id says so.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod engine;
pub mod event;
pub mod gather;
#[cfg(any(test, feature = "contract"))]
pub mod memory;
pub mod ports;
pub mod retry;
pub mod secret;

use std::sync::Arc;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{DeliveryId, PrincipalId, RoomId, WebhookId};
use buildspaces_rooms::ports::StoreError;

pub use engine::{Config, Engine, OwnWebhook};
pub use event::EventKind;
pub use secret::Secret;

/// Webhooks of one room.
pub const MAX_WEBHOOKS: usize = 10;

/// Deliveries of one webhook that may wait. When there are more, those that have waited longest are dropped, which one sees in
/// the list of deliveries: the newest say more about how things are now.
pub const MAX_WAITING: u32 = 1000;

/// Deliveries of one webhook that are over and still shown.
pub const KEPT_DELIVERIES: u32 = 50;

/// What a webhook hears of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// One room and its documents.
    Room(RoomId),
    /// Documents outside of rooms, and new rooms: the operator's own.
    Server,
}

/// Somebody who wants to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    pub id: WebhookId,
    pub scope: Scope,
    pub url: Arc<str>,
    pub events: Vec<EventKind>,
    pub secret: Secret,
    pub created_at: UnixMillis,
    pub created_by: PrincipalId,
    pub health: Health,
}

impl Webhook {
    pub fn is_on(&self) -> bool {
        self.health.off.is_none()
    }
}

/// How a webhook fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Nothing is sent, and nothing new is queued.
    pub off: Option<Off>,
    /// When the first attempt failed after the last that did not.
    pub failing_since: Option<UnixMillis>,
}

/// Since when, and why; a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Off {
    pub at: UnixMillis,
    pub reason: String,
}

/// One event on its way to one webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Sent along, the same in every attempt.
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub event: EventKind,
    /// The document it is about, if it is about one.
    pub document: Option<String>,
    /// JSON, as it is signed and sent.
    pub body: String,
    pub created_at: UnixMillis,
    /// Attempts that were made.
    pub attempts: u32,
    pub state: State,
    /// What the last attempt was answered with.
    pub status: Option<u16>,
    /// Why the last attempt failed, for people.
    pub error: Option<String>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is sent at `next_at` or as soon after as can be.
    Waiting {
        next_at: UnixMillis,
    },
    Delivered {
        at: UnixMillis,
    },
    /// All attempts failed.
    GivenUp {
        at: UnixMillis,
    },
    /// There was no more place for it.
    Dropped {
        at: UnixMillis,
    },
}

impl Delivery {
    pub fn new(webhook: &WebhookId, event: EventKind, document: Option<String>, body: String, now: UnixMillis) -> Self {
        Self {
            id: DeliveryId::random(),
            webhook: webhook.clone(),
            event,
            document,
            body,
            created_at: now,
            attempts: 0,
            state: State::Waiting { next_at: now },
            status: None,
            error: None,
        }
    }
}

/// Why something about a webhook could not be done. The texts are for people.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such webhook; list the room's webhooks to see those there are")]
    NoSuchWebhook,
    /// Its address leads where a webhook may not, or its events are none; the sentence says why.
    #[error("{0}")]
    BadWebhook(String),
    #[error("a room has at most {MAX_WEBHOOKS} webhooks; delete one that is not needed")]
    TooManyWebhooks,
    /// A test of a webhook that is switched off.
    #[error("this webhook is switched off; switch it on first")]
    Off,
    /// Nothing was changed; the same works once there is space.
    #[error("{}", buildspaces_rooms::Error::Full)]
    Full,
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Full(_)) { Self::Full } else { Self::Store(error) }
    }
}
