//! Turns changes that were gathered, or that nobody announced, into deliveries.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::StoreError;

use super::{STORE_PAUSE, Shared, now, scope_of};
use crate::event::{self, EventKind};
use crate::gather::Changed;
use crate::{Delivery, MAX_WAITING, Scope};

/// What is due within this time is announced together, so that a thousand busy documents are a few transactions a second.
const GRAIN: Duration = Duration::from_millis(100);

/// Changes that are announced in one transaction, for which everybody waits who writes.
const PART: usize = 100;

/// Ends with the process; what is being gathered then is found by the next one.
pub(super) async fn run(shared: Arc<Shared>, tasks: Tasks) {
    let mut look = true;
    loop {
        if look {
            look = !shared.look_everywhere().await;
        }
        let deadline = shared.gatherer().deadline();
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until((deadline + GRAIN).into()).await,
                None => shared.gathered.notified().await,
            }
        };
        tokio::select! {
            () = tasks.cancelled() => return,
            () = due => {}
            () = tokio::time::sleep(STORE_PAUSE), if look => {}
        }
        let mut changes = shared.gatherer().take_due(now());
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(PART));
            // Made just now, whatever the clock says.
            let part: Vec<(Changed, UnixMillis)> =
                changes.iter().map(|changed| (changed.clone(), UnixMillis::MAX)).collect();
            if let Err(error) = shared.announce_changes(&part, true).await {
                tracing::warn!(%error, "changes are not announced to webhooks yet; trying again");
                changes.extend(rest);
                shared.gatherer().put_back(now(), changes);
                break;
            }
            changes = rest;
        }
        look |= shared.gatherer().overflowed();
    }
}

impl Shared {
    /// Stores a delivery for each webhook that asked for changes and was there when they were made, and that they are announced, in one
    /// transaction. `tell`: without it they are only announced, because newer ones would be in their place at once.
    async fn announce_changes(&self, changes: &[(Changed, UnixMillis)], tell: bool) -> Result<(), StoreError> {
        let (mut deliveries, mut announced) = (Vec::new(), Vec::new());
        let now = (self.clock)();
        for (Changed { document, seq, by }, at) in changes {
            let listening = match scope_of(document) {
                Some(scope) => self.listening(&scope, EventKind::DocumentChanged),
                None => continue,
            };
            if listening.is_empty() {
                continue;
            }
            announced.push((document.clone(), *seq));
            if !tell {
                continue;
            }
            let body = event::changed(document, self.store.epoch(document).await?, *seq, by, now);
            for webhook in listening.iter().filter(|webhook| webhook.created_at <= *at) {
                let name = Some(document.as_str().to_owned());
                deliveries.push(Delivery::new(&webhook.id, EventKind::DocumentChanged, name, body.clone(), now));
            }
        }
        if announced.is_empty() { Ok(()) } else { self.enqueue(&deliveries, &announced).await }
    }

    /// Announces what changed in `scope` since its webhooks began and was not announced: edits before a kill, or while they were off.
    pub(super) async fn announce_missed(&self, scope: &Scope) -> Result<(), StoreError> {
        let listening = self.listening(scope, EventKind::DocumentChanged);
        let Some(since) = listening.iter().map(|webhook| webhook.created_at).min() else { return Ok(()) };
        let is_missed = |document: &DocumentName| {
            scope_of(document).as_ref() == Some(scope) && !self.gatherer().is_gathering(document)
        };
        let missed = self.store.unannounced(scope, since, &is_missed).await?;
        let (too_many, told) = missed.split_at(missed.len().saturating_sub(MAX_WAITING as usize));
        if !too_many.is_empty() {
            tracing::warn!(documents = too_many.len(), "webhooks will not hear of the oldest changes that they missed");
            metrics::counter!("buildspaces_webhook_dropped_total").increment(too_many.len() as u64);
        }
        for (part, tell) in
            too_many.chunks(PART).map(|part| (part, false)).chain(told.chunks(PART).map(|part| (part, true)))
        {
            self.announce_changes(part, tell).await?;
        }
        Ok(())
    }

    /// The same for all scopes; false if the store did not answer.
    async fn look_everywhere(&self) -> bool {
        let scopes: Vec<Scope> = self.webhooks.read().expect(super::POISON).keys().cloned().collect();
        for scope in scopes {
            if let Err(error) = self.announce_missed(&scope).await {
                tracing::warn!(%error, "could not look for changes that webhooks missed; trying again");
                return false;
            }
        }
        true
    }
}
