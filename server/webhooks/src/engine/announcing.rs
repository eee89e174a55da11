//! Turns changes that were gathered, or that nobody announced, into deliveries.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::StoreError;

use super::{STORE_PAUSE, Shared, now, scope_of};
use crate::event::{self, EventKind};
use crate::gather::Changed;
use crate::{Delivery, Scope};

/// What is due within this time is announced together, so that a thousand busy documents are a few transactions a second.
const GRAIN: Duration = Duration::from_millis(100);

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
        let changes = shared.gatherer().take_due(now());
        if let Err(error) = shared.announce_changes(&changes).await {
            tracing::warn!(%error, "changes are not announced to webhooks yet; trying again");
            shared.gatherer().put_back(now(), changes);
        }
        look |= shared.gatherer().overflowed();
    }
}

impl Shared {
    /// Stores a delivery for each webhook that asked for changes, and that they are announced, in one transaction.
    async fn announce_changes(&self, changes: &[Changed]) -> Result<(), StoreError> {
        let (mut deliveries, mut announced) = (Vec::new(), Vec::new());
        let at = (self.clock)();
        for Changed { document, seq, by } in changes {
            let listening = match scope_of(document) {
                Some(scope) => self.listening(&scope, EventKind::DocumentChanged),
                None => continue,
            };
            if listening.is_empty() {
                continue;
            }
            let body = event::changed(document, self.store.epoch(document).await?, *seq, by, at);
            announced.push((document.clone(), *seq));
            for webhook in listening {
                let name = Some(document.as_str().to_owned());
                deliveries.push(Delivery::new(&webhook.id, EventKind::DocumentChanged, name, body.clone(), at));
            }
        }
        if deliveries.is_empty() { Ok(()) } else { self.enqueue(&deliveries, &announced).await }
    }

    /// Announces what changed in `scope` since its webhooks began and was not announced: edits before a kill, or while they were off.
    pub(super) async fn announce_missed(&self, scope: &Scope) -> Result<(), StoreError> {
        let listening = self.listening(scope, EventKind::DocumentChanged);
        let Some(since) = listening.iter().map(|webhook| webhook.created_at).min() else { return Ok(()) };
        let is_missed =
            |document: &DocumentName| scope_of(document).is_some() && !self.gatherer().is_gathering(document);
        let missed = self.store.unannounced(scope, since, &is_missed).await?;
        self.announce_changes(&missed).await
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
