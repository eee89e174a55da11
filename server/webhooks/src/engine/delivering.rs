//! Sends what is due, and stores how it went.
//!
//! The store says what is due; this task only knows what is under way. A delivery whose end could not be stored is due again:
//! its receiver sees the same id twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::DeliveryId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::StoreError;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{POISON, STORE_PAUSE, Shared};
use crate::ports::Request;
use crate::retry::Outcome;
use crate::{Delivery, Health, Scope, State, Webhook};

/// Attempts that are under way at the same time. What is due beyond waits.
const MAX_ATTEMPTS: usize = 64;

/// Attempts of one webhook, so that one that is slow does not keep the others waiting.
const MAX_EACH: u32 = 2;

/// Attempts of one room's webhooks, so that a few rooms whose receivers are slow do not keep all others waiting.
const MAX_OF_ROOM: usize = 8;

/// How often the store is asked although nothing seems to be due: the machine's clock may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Ends with the process; what is under way then is sent again by the next one.
pub(super) async fn run(shared: Arc<Shared>, tasks: Tasks) {
    let mut under_way = FuturesUnordered::new();
    let mut ids: HashMap<DeliveryId, Scope> = HashMap::new();
    loop {
        let sleep = match shared.look(&ids).await {
            Ok((due, sleep)) => {
                for (delivery, webhook) in due {
                    ids.insert(delivery.id.clone(), webhook.scope.clone());
                    under_way.push(shared.attempt(delivery, webhook));
                }
                sleep
            }
            Err(error) => {
                tracing::warn!(%error, "cannot see what is due for webhooks; trying again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = tasks.cancelled() => return,
            Some(done) = under_way.next() => {
                ids.remove(&done);
            }
            () = shared.queued.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Shared {
    /// What is due and not under way, and how long nothing else will be.
    async fn look(
        &self,
        under_way: &HashMap<DeliveryId, Scope>,
    ) -> Result<(Vec<(Delivery, Arc<Webhook>)>, Duration), StoreError> {
        let now = (self.clock)();
        let longest = UnixMillis::try_from(self.retry.longest_pause().as_millis()).unwrap_or(UnixMillis::MAX);
        let mut due = self.store.due(now, longest, MAX_EACH).await?;
        due.retain(|delivery| !under_way.contains_key(&delivery.id));
        let mut of_scope: HashMap<Scope, usize> = HashMap::new();
        under_way.values().for_each(|scope| *of_scope.entry(scope.clone()).or_default() += 1);
        let mut has_place = |(_, webhook): &(Delivery, Arc<Webhook>)| {
            let attempts = of_scope.entry(webhook.scope.clone()).or_default();
            *attempts += 1;
            webhook.scope == Scope::Server || *attempts <= MAX_OF_ROOM
        };
        let (next, count) = self.store.waiting(now).await?;
        metrics::gauge!("buildspaces_webhook_waiting").set(count as f64);
        // What is due already and was not taken waits for an attempt to end, which wakes this task.
        let until = next.and_then(|next| u64::try_from(next - now).ok());
        let sleep = until.map_or(LONGEST_SLEEP, Duration::from_millis).min(LONGEST_SLEEP);
        let with_webhook = |delivery: Delivery| self.webhook(&delivery).map(|webhook| (delivery, webhook));
        let due = due.into_iter().filter_map(with_webhook).filter(&mut has_place);
        Ok((due.take(MAX_ATTEMPTS.saturating_sub(under_way.len())).collect(), sleep))
    }

    /// The webhook a delivery is for, as it is now.
    fn webhook(&self, delivery: &Delivery) -> Option<Arc<Webhook>> {
        let webhooks = self.webhooks.read().expect(POISON);
        webhooks.values().flatten().find(|webhook| webhook.id == delivery.webhook).cloned()
    }

    async fn attempt(&self, delivery: Delivery, webhook: Arc<Webhook>) -> DeliveryId {
        let request = Request {
            url: webhook.url.clone(),
            trusted: webhook.scope == Scope::Server,
            headers: webhook.secret.headers(delivery.id.as_str(), (self.clock)(), &delivery.body),
            body: delivery.body.clone(),
        };
        let outcome = self.transport.post(request).await;
        let id = delivery.id.clone();
        let changing = self.changing.lock().await;
        let (delivery, health) = self.judge(delivery, &outcome);
        count(&delivery);
        let stored = self.store.finish(&delivery, &health).await;
        drop(changing);
        if let Err(error) = stored {
            tracing::warn!(%error, webhook = %delivery.webhook, "how a delivery ended was not stored; it will be sent again");
            tokio::time::sleep(STORE_PAUSE).await;
        }
        id
    }

    /// What becomes of the delivery and of its webhook, which may have changed since the attempt began.
    fn judge(&self, delivery: Delivery, outcome: &Outcome) -> (Delivery, Health) {
        let mut webhooks = self.webhooks.write().expect(POISON);
        let mut webhook = webhooks.values_mut().flatten().find(|webhook| webhook.id == delivery.webhook);
        let health = webhook.as_ref().map(|webhook| webhook.health.clone()).unwrap_or_default();
        let was_on = health.off.is_none();
        let (delivery, health) =
            self.retry.after(delivery, health, outcome, (self.clock)(), rand::random_range(0.0..=1.0));
        if let Some(webhook) = webhook.as_mut().filter(|webhook| webhook.health != health) {
            let changed = Webhook { health: health.clone(), ..(***webhook).clone() };
            **webhook = Arc::new(changed);
        }
        drop(webhooks);
        if let Some(off) = health.off.as_ref().filter(|_| was_on) {
            tracing::warn!(webhook = %delivery.webhook, reason = off.reason, "a webhook was switched off");
            metrics::counter!("buildspaces_webhook_switched_off_total").increment(1);
            self.interest.changed();
        }
        (delivery, health)
    }
}

fn count(delivery: &Delivery) {
    let result = match delivery.state {
        State::Waiting { .. } => "failed",
        State::Delivered { .. } => "delivered",
        State::GivenUp { .. } | State::Dropped { .. } => "given_up",
    };
    if let Some(error) = &delivery.error {
        tracing::debug!(webhook = %delivery.webhook, delivery = %delivery.id, error, "an attempt failed");
    }
    metrics::counter!("buildspaces_webhook_attempts_total", "result" => result).increment(1);
}
