//! What webhooks need from outside: a durable store, and something that sends.
//!
//! Each has an in-memory implementation for tests (`memory`) and a real one (`storage`, `gateway`). Read [`WebhookStore`]
//! together with `contract`, which says what every store must do.

use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::WebhookId;
use buildspaces_rooms::ports::StoreError;

use crate::gather::Changed;
use crate::retry::Outcome;
use crate::{Delivery, Health, Scope, Webhook};

/// Rows of webhooks and deliveries. Every method is one transaction and durable on return.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// All of them, oldest first.
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;

    /// Inserts the webhook, or replaces the one that has its id; what waits for that stays.
    async fn put(&self, webhook: &Webhook) -> Result<(), StoreError>;

    /// Removes a webhook and its deliveries.
    async fn delete(&self, webhook: &WebhookId) -> Result<(), StoreError>;

    /// Adds deliveries, and remembers up to which number changes of documents are announced. Of each webhook that got one, those
    /// that wait beyond the newest [`crate::MAX_WAITING`] are dropped, and of those that are over only the newest
    /// [`crate::KEPT_DELIVERIES`] stay. Deliveries of a webhook that is gone are left out. Returns how many were dropped.
    async fn enqueue(&self, deliveries: &[Delivery], announced: &[(DocumentName, u64)]) -> Result<u64, StoreError>;

    /// What is due at `now`: of each webhook that is on at most `each`, the longest due first. A delivery that would wait for longer than
    /// `longest` from now on is due too: the clock was wrong when it was stored.
    async fn due(&self, now: UnixMillis, longest: UnixMillis, each: u32) -> Result<Vec<Delivery>, StoreError>;

    /// When after `now` the next delivery of a webhook that is on is due, and how many wait in all.
    async fn waiting(&self, now: UnixMillis) -> Result<(Option<UnixMillis>, u64), StoreError>;

    /// What became of a delivery and of its webhook. Nothing happens for what is gone.
    async fn finish(&self, delivery: &Delivery, health: &Health) -> Result<(), StoreError>;

    /// A webhook's deliveries, newest first.
    async fn deliveries(&self, webhook: &WebhookId, limit: u32) -> Result<Vec<Delivery>, StoreError>;

    /// How often the document's name was used anew, counted from 1.
    async fn epoch(&self, document: &DocumentName) -> Result<u64, StoreError>;

    /// Documents of `scope` whose last update was made at `since` or later and is not announced, who made what is not, and when the last
    /// was made; the longest ago first. What is not `of_interest` is left out.
    async fn unannounced(
        &self,
        scope: &Scope,
        since: UnixMillis,
        of_interest: &(dyn for<'a> Fn(&'a DocumentName) -> bool + Sync),
    ) -> Result<Vec<(Changed, UnixMillis)>, StoreError>;
}

/// One attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub url: Arc<str>,
    /// The operator chose the address, so it may lead anywhere.
    pub trusted: bool,
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// Sends over HTTP.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// May a webhook of a room lead there, as far as one can tell without looking? The error is a sentence for people.
    fn check(&self, url: &str) -> Result<(), String>;

    /// Makes one attempt, which ends by itself within a bounded time. Dropping it gives it up.
    async fn post(&self, request: Request) -> Outcome;
}
