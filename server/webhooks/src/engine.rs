//! The engine: knows all webhooks, hears what happens, and has it sent.
//!
//! 1. [`Engine::start`] reads the webhooks and starts two tasks, which look for what the last process did not announce or deliver.
//! 2. As the [`Listener`] of `rooms` it gathers changes; the task in [`announcing`] turns what is due into deliveries.
//! 3. The task in [`delivering`] sends what is due and stores how it went.
//!
//! What a webhook is, is stored first and then taken up in memory. Whether somebody *may* do a thing is asked by the caller.

mod announcing;
mod delivering;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId, WebhookId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use buildspaces_rooms::listener::{Interest, Listener};
use buildspaces_rooms::ports::{RoomRecord, StoreError};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::event::{self, EventKind};
use crate::gather::{Gatherer, Quiet};
use crate::ports::{Transport, WebhookStore};
use crate::retry::Policy;
use crate::{Delivery, Error, Health, KEPT_DELIVERIES, MAX_WAITING, MAX_WEBHOOKS, Off, Scope, Secret, Webhook};

/// How long the tasks wait before they try again what the store did not do.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Deliveries that are stored in one transaction.
const PART: usize = 500;

/// The id of the operator's own webhook.
const OWN: &str = "server";

/// What can be set about webhooks.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub quiet: Quiet,
    pub retry: Policy,
}

/// A webhook from the configuration: it hears of documents outside of rooms, and of new rooms.
#[derive(Clone, Debug)]
pub struct OwnWebhook {
    pub url: Arc<str>,
    pub secret: Secret,
}

/// What time it is.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// A cheap handle to the engine; clones share everything.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

struct Shared {
    store: Arc<dyn WebhookStore>,
    transport: Arc<dyn Transport>,
    clock: Clock,
    retry: Policy,
    webhooks: RwLock<HashMap<Scope, Vec<Arc<Webhook>>>>,
    interest: Interest,
    /// Whoever changes what a webhook is or how it fares. One at a time, so that memory and store agree.
    changing: AsyncMutex<()>,
    gatherer: Mutex<Gatherer>,
    /// Something is gathered, where nothing was.
    gathered: Notify,
    /// Something may be due.
    queued: Notify,
    tasks: OnceLock<Tasks>,
}

impl Engine {
    /// Does nothing until it is started.
    pub fn new(store: Arc<dyn WebhookStore>, transport: Arc<dyn Transport>, clock: Clock, config: &Config) -> Self {
        Self(Arc::new(Shared {
            store,
            transport,
            clock,
            retry: config.retry,
            webhooks: RwLock::default(),
            interest: Interest::default(),
            changing: AsyncMutex::default(),
            gatherer: Mutex::new(Gatherer::new(config.quiet)),
            gathered: Notify::new(),
            queued: Notify::new(),
            tasks: OnceLock::new(),
        }))
    }

    /// Takes up what the store has and begins. Let `rooms` tell it what happens before anybody comes in. `own` is the operator's webhook.
    pub async fn start(&self, tasks: &Tasks, own: Option<OwnWebhook>) -> Result<(), StoreError> {
        self.0.tasks.get_or_init(|| tasks.clone());
        self.0.put_own(own).await?;
        for webhook in self.0.store.webhooks().await? {
            self.0.take_up(webhook);
        }
        tasks.spawn("announcing changes to webhooks", announcing::run(self.0.clone(), tasks.clone()));
        tasks.spawn("delivering to webhooks", delivering::run(self.0.clone(), tasks.clone()));
        Ok(())
    }

    /// Makes a webhook of a room. Without `events` it hears of all there are.
    pub async fn create(
        &self,
        room: &RoomId,
        by: &Principal,
        url: &str,
        events: &[String],
    ) -> Result<Arc<Webhook>, Error> {
        self.0.transport.check(url).map_err(Error::BadWebhook)?;
        let events = parse_events(events)?;
        let webhook = Webhook {
            id: WebhookId::random(),
            scope: Scope::Room(room.clone()),
            url: url.into(),
            events: if events.is_empty() { EventKind::OF_ROOMS.to_vec() } else { events },
            secret: Secret::random(),
            created_at: (self.0.clock)(),
            created_by: by.id.clone(),
            health: Health::default(),
        };
        self.to_the_end(move |shared| async move { shared.create(webhook).await }).await
    }

    /// The webhooks of a scope, oldest first.
    pub fn webhooks(&self, scope: &Scope) -> Vec<Arc<Webhook>> {
        self.0.of(scope)
    }

    /// Switches a webhook on or off. One that is switched on hears of what changed meanwhile, each document once, and what waited
    /// for it is sent.
    pub async fn switch(&self, scope: &Scope, id: &WebhookId, on: bool) -> Result<Arc<Webhook>, Error> {
        let (scope, id) = (scope.clone(), id.clone());
        self.to_the_end(move |shared| async move { shared.switch(&scope, &id, on).await }).await
    }

    /// Forgets a webhook and what waits for it.
    pub async fn delete(&self, scope: &Scope, id: &WebhookId) -> Result<(), Error> {
        let (scope, id) = (scope.clone(), id.clone());
        self.to_the_end(move |shared| async move { shared.delete(&scope, &id).await }).await
    }

    /// Changes what a webhook is, in the store and in memory: to the end, also when whoever asked has gone.
    async fn to_the_end<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let done = self.0.tasks.get_or_init(Tasks::new).to_the_end("changing a webhook", work(self.0.clone())).await;
        done.unwrap_or_else(|| Err(Error::Store(StoreError::failed("changing a webhook panicked"))))
    }

    /// Sends something to a webhook, to see whether it arrives.
    pub async fn test(&self, scope: &Scope, id: &WebhookId, by: &Principal) -> Result<Delivery, Error> {
        let webhook = self.0.find(scope, id)?;
        if !webhook.is_on() {
            return Err(Error::Off);
        }
        let room = match scope {
            Scope::Room(room) => Some(room),
            Scope::Server => None,
        };
        let now = (self.0.clock)();
        let delivery = Delivery::new(id, EventKind::Test, None, event::test(id, room, by, now), now);
        self.0.enqueue(std::slice::from_ref(&delivery), &[]).await?;
        Ok(delivery)
    }

    /// A webhook's deliveries, newest first: all that wait and the last ones that are over.
    pub async fn deliveries(&self, scope: &Scope, id: &WebhookId) -> Result<Vec<Delivery>, Error> {
        self.0.find(scope, id)?;
        Ok(self.0.store.deliveries(id, MAX_WAITING + KEPT_DELIVERIES).await?)
    }
}

impl Shared {
    async fn create(&self, webhook: Webhook) -> Result<Arc<Webhook>, Error> {
        let _changing = self.changing.lock().await;
        if self.of(&webhook.scope).len() >= MAX_WEBHOOKS {
            return Err(Error::TooManyWebhooks);
        }
        self.store.put(&webhook).await?;
        Ok(self.take_up(webhook))
    }

    async fn switch(&self, scope: &Scope, id: &WebhookId, on: bool) -> Result<Arc<Webhook>, Error> {
        let _changing = self.changing.lock().await;
        let known = self.find(scope, id)?;
        if known.is_on() == on {
            return Ok(known);
        }
        let off = (!on).then(|| Off { at: (self.clock)(), reason: "somebody switched it off".to_owned() });
        let webhook = Webhook { health: Health { off, failing_since: None }, ..(*known).clone() };
        self.store.put(&webhook).await?;
        let webhook = self.take_up(webhook);
        if on {
            self.queued.notify_one();
            self.announce_missed(scope).await?;
        }
        Ok(webhook)
    }

    async fn delete(&self, scope: &Scope, id: &WebhookId) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        self.find(scope, id)?;
        self.store.delete(id).await?;
        let mut webhooks = self.webhooks.write().expect(POISON);
        if let Some(of_scope) = webhooks.get_mut(scope) {
            of_scope.retain(|webhook| webhook.id != *id);
            if of_scope.is_empty() {
                webhooks.remove(scope);
            }
        }
        drop(webhooks);
        self.interest.changed();
        Ok(())
    }

    fn of(&self, scope: &Scope) -> Vec<Arc<Webhook>> {
        self.webhooks.read().expect(POISON).get(scope).cloned().unwrap_or_default()
    }

    fn find(&self, scope: &Scope, id: &WebhookId) -> Result<Arc<Webhook>, Error> {
        self.of(scope).into_iter().find(|webhook| webhook.id == *id).ok_or(Error::NoSuchWebhook)
    }

    /// From now on the webhook is as given.
    fn take_up(&self, webhook: Webhook) -> Arc<Webhook> {
        let webhook = Arc::new(webhook);
        let mut webhooks = self.webhooks.write().expect(POISON);
        let of_scope = webhooks.entry(webhook.scope.clone()).or_default();
        match of_scope.iter_mut().find(|known| known.id == webhook.id) {
            Some(known) => *known = webhook.clone(),
            None => of_scope.push(webhook.clone()),
        }
        drop(webhooks);
        self.interest.changed();
        webhook
    }

    /// Those of the scope that are on and asked for such events.
    fn listening(&self, scope: &Scope, event: EventKind) -> Vec<Arc<Webhook>> {
        let webhooks = self.webhooks.read().expect(POISON);
        let of_scope = webhooks.get(scope).into_iter().flatten();
        of_scope.filter(|webhook| webhook.is_on() && webhook.events.contains(&event)).cloned().collect()
    }

    /// Stores the operator's webhook as the configuration has it now. A restart switches it on again.
    async fn put_own(&self, own: Option<OwnWebhook>) -> Result<(), StoreError> {
        let id = WebhookId::parse(OWN).expect("a fixed id is valid");
        let Some(OwnWebhook { url, secret }) = own else { return self.store.delete(&id).await };
        let known = self.store.webhooks().await?.into_iter().find(|webhook| webhook.id == id);
        let webhook = Webhook {
            id,
            scope: Scope::Server,
            url,
            events: EventKind::OF_THE_SERVER.to_vec(),
            secret,
            created_at: known.map_or_else(|| (self.clock)(), |known| known.created_at),
            created_by: PrincipalId::parse("system").expect("a fixed id is valid"),
            health: Health::default(),
        };
        self.store.put(&webhook).await
    }

    /// Stores deliveries, and has them sent.
    async fn enqueue(&self, deliveries: &[Delivery], announced: &[(DocumentName, u64)]) -> Result<(), StoreError> {
        let dropped = self.store.enqueue(deliveries, announced).await?;
        if dropped > 0 {
            tracing::warn!(deliveries = dropped, "dropped what waited longest for a webhook that is too slow");
            metrics::counter!("buildspaces_webhook_dropped_total").increment(dropped);
        }
        self.queued.notify_one();
        Ok(())
    }

    /// A delivery of one event to each who asked for such.
    fn deliveries(
        &self,
        scope: &Scope,
        event: EventKind,
        document: Option<&DocumentName>,
        body: &str,
    ) -> Vec<Delivery> {
        let now = (self.clock)();
        let name = || document.map(|document| document.as_str().to_owned());
        let deliver = |webhook: &Arc<Webhook>| Delivery::new(&webhook.id, event, name(), body.to_owned(), now);
        self.listening(scope, event).iter().map(deliver).collect()
    }

    /// Stores what is to be delivered, in parts, so that nobody who wants to write waits long. What fails is lost, and said so in the log: what
    /// it is about has happened already.
    async fn announce(&self, deliveries: &[Delivery]) {
        for part in deliveries.chunks(PART) {
            if let Err(error) = self.enqueue(part, &[]).await {
                let event = part[0].event.as_str();
                tracing::error!(event, %error, "webhooks will not hear of something that happened");
            }
        }
    }

    fn gatherer(&self) -> MutexGuard<'_, Gatherer> {
        self.gatherer.lock().expect(POISON)
    }
}

#[async_trait]
impl Listener for Engine {
    fn interest(&self) -> &Interest {
        &self.0.interest
    }

    fn wants(&self, document: &DocumentName) -> bool {
        scope_of(document).is_some_and(|scope| !self.0.listening(&scope, EventKind::DocumentChanged).is_empty())
    }

    fn changed(&self, document: &DocumentName, seq: u64, by: &[Principal]) {
        let mut gatherer = self.0.gatherer();
        let was_empty = gatherer.is_empty();
        gatherer.changed(now(), document, seq, by);
        drop(gatherer);
        if was_empty {
            self.0.gathered.notify_one();
        }
    }

    async fn deleted(&self, documents: &[DocumentName], by: &Principal) {
        {
            let mut gatherer = self.0.gatherer();
            documents.iter().for_each(|document| gatherer.forget(document));
        }
        let at = (self.0.clock)();
        let mut deliveries = Vec::new();
        // More would be dropped at once.
        for document in &documents[documents.len().saturating_sub(MAX_WAITING as usize)..] {
            let Some(scope) = scope_of(document) else { continue };
            let body = event::deleted(document, by, at);
            deliveries.extend(self.0.deliveries(&scope, EventKind::DocumentDeleted, Some(document), &body));
        }
        self.0.announce(&deliveries).await;
    }

    async fn room_created(&self, room: &RoomRecord, by: &Principal) {
        let body = event::room_created(room, by, (self.0.clock)());
        self.0.announce(&self.0.deliveries(&Scope::Server, EventKind::RoomCreated, None, &body)).await;
    }
}

/// Whose webhooks hear of a document; nobody's, of one that changes with each line of a run's output.
fn scope_of(document: &DocumentName) -> Option<Scope> {
    match document.kind() {
        Kind::Plain => Some(Scope::Server),
        Kind::File { room, .. } | Kind::Tree { room } => RoomId::parse(room).map(Scope::Room),
        Kind::Runs { .. } => None,
    }
}

/// Each once.
fn parse_events(names: &[String]) -> Result<Vec<EventKind>, Error> {
    let mut events = Vec::new();
    for name in names {
        let known = EventKind::parse(name).filter(|kind| EventKind::OF_ROOMS.contains(kind));
        let event = known.ok_or_else(|| {
            let known: Vec<&str> = EventKind::OF_ROOMS.into_iter().map(EventKind::as_str).collect();
            Error::BadWebhook(format!("there is no event {name:?}; there is {}", known.join(", ")))
        })?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    Ok(events)
}

/// The moment, as tasks that sleep see it.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Nothing that holds a lock can panic.
const POISON: &str = "what is locked is only read and written";
