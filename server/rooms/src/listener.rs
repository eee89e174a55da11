//! Who is told of what happened once it is durable: one [`Listener`] for the whole process, set before anybody comes in.
//!
//! It costs a document that nobody wants to hear of one comparison for each record: whether anybody does is asked again only
//! when the listener says that its answers changed ([`Interest`]). Nothing is delivered to anybody here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_policy::Principal;

use crate::ports::RoomRecord;

/// Authors that are named at once. Whoever comes after is left out.
pub const MAX_AUTHORS: usize = 50;

/// See the module. Webhooks implement it, and tests.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Rises whenever [`Listener::wants`] may answer otherwise than before.
    fn interest(&self) -> &Interest;

    fn wants(&self, document: &DocumentName) -> bool;

    /// The updates up to number `seq` are durable, and `by` made the new ones. Called by the document's own task, so it must
    /// not wait for anything.
    fn changed(&self, document: &DocumentName, seq: u64, by: &[Principal]);

    /// Documents were deleted, together. Whoever deleted them gets no answer before this returns.
    async fn deleted(&self, documents: &[DocumentName], by: &Principal);

    /// A room was made. Whoever made it gets no answer before this returns.
    async fn room_created(&self, room: &RoomRecord, by: &Principal);
}

/// How often a listener's answers changed.
#[derive(Debug, Default)]
pub struct Interest(AtomicU64);

impl Interest {
    /// The answers changed; call it after they did.
    pub fn changed(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn version(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// One document's way to the listener.
pub(crate) struct Ear {
    listener: Arc<dyn Listener>,
    document: DocumentName,
    /// The version of the interest at which `wanted` was asked.
    asked_at: Option<u64>,
    wanted: bool,
    authors: Vec<Principal>,
}

impl Ear {
    pub(crate) fn new(listener: Arc<dyn Listener>, document: DocumentName) -> Self {
        Self { listener, document, asked_at: None, wanted: false, authors: Vec::new() }
    }

    /// Somebody changed the document, which is not durable yet.
    pub(crate) fn heard(&mut self, by: &Principal) {
        let version = self.listener.interest().version();
        if self.asked_at != Some(version) {
            self.asked_at = Some(version);
            self.wanted = self.listener.wants(&self.document);
        }
        if self.wanted && self.authors.len() < MAX_AUTHORS && !self.authors.contains(by) {
            self.authors.push(by.clone());
        }
    }

    /// Who changed it since the last call; nobody, if nobody wants to know.
    pub(crate) fn authors(&mut self) -> Vec<Principal> {
        std::mem::take(&mut self.authors)
    }

    /// What `authors` did up to number `seq` is durable.
    pub(crate) fn tell(&self, seq: u64, authors: &[Principal]) {
        if !authors.is_empty() {
            self.listener.changed(&self.document, seq, authors);
        }
    }
}
