//! A store of webhooks in memory, and a transport that is told what to answer: for tests, and for nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::WebhookId;
use buildspaces_rooms::ports::StoreError;
use tokio::sync::Notify;

use crate::gather::Changed;
use crate::ports::{Request, Transport, WebhookStore};
use crate::retry::Outcome;
use crate::{Delivery, Health, KEPT_DELIVERIES, MAX_WAITING, Scope, State, Webhook};

/// It forgets everything when it is dropped; clones share their contents.
#[derive(Clone, Default, Debug)]
pub struct MemoryWebhooks(Arc<Mutex<Kept>>);

#[derive(Default, Debug)]
struct Kept {
    webhooks: Vec<Webhook>,
    /// In order of insertion.
    deliveries: Vec<Delivery>,
    announced: HashMap<DocumentName, u64>,
    /// What a store that has documents too would find in them.
    documents: Vec<(Scope, UnixMillis, Changed)>,
    /// Calls that are answered with an error from now on.
    failing: u32,
}

impl MemoryWebhooks {
    /// The next `calls` of any method fail.
    pub fn fail(&self, calls: u32) {
        self.lock().failing = calls;
    }

    /// The document's log has this, made at `at`.
    pub fn log(&self, scope: Scope, at: UnixMillis, changed: Changed) {
        self.lock().documents.push((scope, at, changed));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing that holds the lock panics")
    }

    fn call(&self) -> Result<MutexGuard<'_, Kept>, StoreError> {
        let mut kept = self.lock();
        if kept.failing > 0 {
            kept.failing -= 1;
            return Err(StoreError::failed("told to fail"));
        }
        Ok(kept)
    }
}

fn next_at(delivery: &Delivery) -> Option<UnixMillis> {
    match delivery.state {
        State::Waiting { next_at } => Some(next_at),
        _ => None,
    }
}

impl Kept {
    fn is_on(&self, id: &WebhookId) -> bool {
        self.webhooks.iter().any(|webhook| webhook.id == *id && webhook.is_on())
    }

    fn trim(&mut self, id: &WebhookId, now: UnixMillis) -> u64 {
        let mut waiting: Vec<&mut Delivery> =
            self.deliveries.iter_mut().filter(|d| d.webhook == *id && next_at(d).is_some()).collect();
        let excess = waiting.len().saturating_sub(MAX_WAITING as usize);
        for delivery in &mut waiting[..excess] {
            delivery.state = State::Dropped { at: now };
        }
        let over = |delivery: &Delivery| delivery.webhook == *id && next_at(delivery).is_none();
        let mut too_many = self.deliveries.iter().filter(|d| over(d)).count().saturating_sub(KEPT_DELIVERIES as usize);
        self.deliveries.retain(|delivery| {
            let goes = too_many > 0 && over(delivery);
            too_many -= usize::from(goes);
            !goes
        });
        excess as u64
    }
}

#[async_trait]
impl WebhookStore for MemoryWebhooks {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        Ok(self.call()?.webhooks.clone())
    }

    async fn put(&self, webhook: &Webhook) -> Result<(), StoreError> {
        {
            let mut kept = self.call()?;
            match kept.webhooks.iter_mut().find(|known| known.id == webhook.id) {
                Some(known) => *known = webhook.clone(),
                None => kept.webhooks.push(webhook.clone()),
            }
        }
        // A disk answers later than it writes.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn delete(&self, webhook: &WebhookId) -> Result<(), StoreError> {
        let mut kept = self.call()?;
        kept.webhooks.retain(|known| known.id != *webhook);
        kept.deliveries.retain(|delivery| delivery.webhook != *webhook);
        Ok(())
    }

    async fn enqueue(&self, deliveries: &[Delivery], announced: &[(DocumentName, u64)]) -> Result<u64, StoreError> {
        let mut kept = self.call()?;
        let mut dropped = 0;
        for delivery in deliveries {
            if kept.webhooks.iter().any(|webhook| webhook.id == delivery.webhook) {
                kept.deliveries.push(delivery.clone());
                dropped += kept.trim(&delivery.webhook, delivery.created_at);
            }
        }
        for (document, seq) in announced {
            let known = kept.announced.entry(document.clone()).or_default();
            *known = (*known).max(*seq);
        }
        Ok(dropped)
    }

    async fn due(&self, now: UnixMillis, longest: UnixMillis, each: u32) -> Result<Vec<Delivery>, StoreError> {
        let kept = self.call()?;
        let is_due = |delivery: &Delivery| next_at(delivery).is_some_and(|at| at <= now || at > now + longest);
        let mut due: Vec<Delivery> =
            kept.deliveries.iter().filter(|d| is_due(d) && kept.is_on(&d.webhook)).cloned().collect();
        due.sort_by_key(next_at);
        let mut taken: HashMap<WebhookId, u32> = HashMap::new();
        due.retain(|delivery| {
            let taken = taken.entry(delivery.webhook.clone()).or_default();
            *taken += 1;
            *taken <= each
        });
        Ok(due)
    }

    async fn waiting(&self, now: UnixMillis) -> Result<(Option<UnixMillis>, u64), StoreError> {
        let kept = self.call()?;
        let waiting = kept.deliveries.iter().filter(|delivery| next_at(delivery).is_some());
        let on = waiting.clone().filter(|delivery| kept.is_on(&delivery.webhook));
        let next = on.filter_map(next_at).filter(|at| *at > now).min();
        Ok((next, waiting.count() as u64))
    }

    async fn finish(&self, delivery: &Delivery, health: &Health) -> Result<(), StoreError> {
        let mut kept = self.call()?;
        if let Some(known) = kept.deliveries.iter_mut().find(|known| known.id == delivery.id) {
            *known = delivery.clone();
        }
        if let Some(known) = kept.webhooks.iter_mut().find(|known| known.id == delivery.webhook) {
            known.health = health.clone();
        }
        Ok(())
    }

    async fn deliveries(&self, webhook: &WebhookId, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let kept = self.call()?;
        let own = kept.deliveries.iter().rev().filter(|delivery| delivery.webhook == *webhook);
        Ok(own.take(limit as usize).cloned().collect())
    }

    async fn epoch(&self, _: &DocumentName) -> Result<u64, StoreError> {
        self.call().map(|_| 1)
    }

    async fn unannounced(
        &self,
        scope: &Scope,
        since: UnixMillis,
        of_interest: &(dyn for<'a> Fn(&'a DocumentName) -> bool + Sync),
    ) -> Result<Vec<(Changed, UnixMillis)>, StoreError> {
        let kept = self.call()?;
        let is_new = |changed: &Changed| kept.announced.get(&changed.document).is_none_or(|seq| changed.seq > *seq);
        let found = kept.documents.iter().filter(|(of, at, _)| of == scope && *at >= since);
        let wanted = found.filter(|(_, _, changed)| is_new(changed) && of_interest(&changed.document));
        let mut found: Vec<_> = wanted.map(|(_, at, changed)| (changed.clone(), *at)).collect();
        found.sort_by_key(|(_, at)| *at);
        Ok(found)
    }
}

/// Answers as it is told, in order, and with 200 after that.
#[derive(Clone, Default, Debug)]
pub struct FakeTransport(Arc<Answers>);

#[derive(Default, Debug)]
struct Answers {
    next: Mutex<VecDeque<Outcome>>,
    requests: Mutex<Vec<Request>>,
    arrived: Notify,
}

impl FakeTransport {
    /// The next attempts end like this.
    pub fn answer(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.0.next.lock().expect("nothing that holds the lock panics").extend(outcomes);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.0.requests.lock().expect("nothing that holds the lock panics").clone()
    }

    /// Waits until so many attempts were made in all.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        loop {
            let arrived = self.0.arrived.notified();
            let requests = self.requests();
            if requests.len() >= count {
                return requests;
            }
            arrived.await;
        }
    }
}

#[async_trait]
impl Transport for FakeTransport {
    fn check(&self, url: &str) -> Result<(), String> {
        if url.starts_with("https://") { Ok(()) } else { Err("url must begin with https://".to_owned()) }
    }

    async fn post(&self, request: Request) -> Outcome {
        self.0.requests.lock().expect("nothing that holds the lock panics").push(request);
        self.0.arrived.notify_waiters();
        let told = self.0.next.lock().expect("nothing that holds the lock panics").pop_front();
        told.unwrap_or(Outcome::Answered { status: 200, retry_after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        crate::contract::webhook_store(&MemoryWebhooks::default()).await;
    }
}
