//! The task that owns one document and performs its effects.
//!
//! Loading is its first state: whoever opens the document meanwhile waits in the mailbox. It appends to
//! the log with one request under way at a time; what gathers meanwhile is the next request, so the log's
//! order is the document's order. What waits in the mailbox is taken at once: that is a turn, see [`crate::document`]. At its end each
//! socket that got something is written to. It ends when nobody has used the document for a while, when the store
//! fails (then clients connect again and bring what was not acknowledged), or at shutdown.

mod reading;
mod saving;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_crdt::DocumentName;
use buildspaces_crdt::protocol::Message;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{ConnectionId, NodeId};
use buildspaces_kernel::tasks::{Tasks, lengthy};
use buildspaces_policy::{Authority, Principal};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::budget::{Place, Share};
use crate::copies;
use crate::document::{Access, Dialect, Document, Effect, Input, Recipients, Refused, Ticket};
use crate::listener::Ear;
use crate::outbox::{CloseReason, Full, Lane};
use crate::ports::{Deletion, Record, Store, StoredDocument};
use crate::{Error, Position, RoomEvent, meters};
use reading::Readers;
use saving::{Append, ended};
pub(crate) use saving::{is_worth_a_state, weight};

/// Requests that wait for one document. When it is full, senders wait: a connection stops reading its socket.
#[cfg(not(test))]
pub(crate) const MAILBOX: usize = 256;
#[cfg(test)]
pub(crate) const MAILBOX: usize = 1;

/// How long an unused document stays loaded.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// How often presence is looked through for what expired.
const TICK: Duration = Duration::from_secs(5);

/// Weight of the log behind the last state that was kept, from which on the state is kept when the document leaves memory.
const SNAPSHOT_AT_END_FROM: usize = 8 << 10;

/// Bytes of updates that take milliseconds to check and apply.
const LARGE_UPDATE: usize = 256 << 10;

/// Bytes of an update times those of its document from which on it may take a tenth of a second, if somebody means harm: see
/// `buildspaces_crdt::update`. A keystroke is smaller than the least that is looked at.
const LONG_WORK: usize = 1 << 27;
const KEYSTROKE: usize = 128;

/// Requests that make one turn. More wait for the next, so that receivers hear of the first in time.
const MAX_TURN: usize = 128;

/// A request to the actor. Each is boxed: a mailbox has room for many as long as its document is open.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(Box<Newcomer>),
    Authorize { peer: ConnectionId, authority: Box<Authority> },
    Receive { peer: ConnectionId, message: Message, place: Option<Place> },
    Stateless { peer: ConnectionId, payload: Bytes, place: Option<Place> },
    Disconnect { peer: ConnectionId },
    Submit { by: Box<Principal>, update: Bytes, reply: oneshot::Sender<Result<(), Error>> },
    Project(Box<Projection>),
    Diff { state_vector: Vec<u8>, reply: oneshot::Sender<Result<Vec<u8>, Error>> },
    Text { reply: oneshot::Sender<Result<String, Error>> },
    Map { map: &'static str, reply: oneshot::Sender<Result<Vec<(String, Value)>, Error>> },
    Replace { by: Box<Principal>, text: Box<str>, reply: oneshot::Sender<Result<(), Error>> },
    CloseAll { reason: Box<CloseReason> },
    Propose(Box<Proposal>),
    Read(Reader),
    Remove(Box<Removal>),
}

/// A deletion; if it says what is `expected`, only while the last update is that one.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) expected: Option<u64>,
    pub(crate) deletion: Deletion,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

/// An update from outside that did not come over a connection, to be taken only while the last update is the one `expected`.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) by: Principal,
    pub(crate) update: Bytes,
    pub(crate) expected: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

/// Somebody who wants to know how the document is.
#[derive(Debug)]
pub(crate) struct Reader {
    /// All of it, and not only where it stands.
    pub(crate) with_state: bool,
    /// Where a copy of it may be held, if the reader waited for that.
    pub(crate) place: Option<copies::Place>,
    pub(crate) reply: oneshot::Sender<Result<(Position, Bytes), Error>>,
}

/// A client that connects.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) authority: Authority,
    pub(crate) stamp: bool,
    pub(crate) dialect: Dialect,
    pub(crate) lane: Lane,
}

/// What the server writes into a map.
#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) map: &'static str,
    pub(crate) entries: Vec<(String, Option<Value>)>,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

pub(crate) type Mailbox = mpsc::Receiver<Box<Command>>;

/// What an actor is made of.
pub(crate) struct Setup {
    pub(crate) name: DocumentName,
    pub(crate) access: Access,
    /// See [`crate::Config::max_document_bytes`].
    pub(crate) max_bytes: usize,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mailbox: Mailbox,
    /// Where edits of a room's text file are announced.
    pub(crate) events: Option<(NodeId, broadcast::Sender<RoomEvent>)>,
    /// Where durable changes of any document are told.
    pub(crate) ear: Option<Ear>,
    pub(crate) tasks: Tasks,
    /// Its part of the memory of all documents.
    pub(crate) share: Arc<Share>,
    /// Takes the document out of the registry if no handle is left and nothing waits in the mailbox; true if it did.
    pub(crate) retire: Box<dyn Fn(&Mailbox) -> bool + Send + Sync>,
}

/// Runs until the document is unloaded. What happens only at its beginning and its end is boxed, so that a document does not hold room
/// for it as long as it is open.
pub(crate) async fn run(setup: Setup) {
    let Some(mut actor) = Box::pin(load(setup)).await else { return };
    let _counted = meters::OpenDocument::new();
    let end = actor.run().await;
    tracing::debug!(document = %actor.setup.name, ?end, "document unloaded");
    Box::pin(async {
        actor.end(end).await;
        actor.keep_what_waits().await;
        // Last, so that nobody waits for it to hear that the server stops.
        if matches!(end, End::Idle | End::Stopping) && actor.behind >= SNAPSHOT_AT_END_FROM {
            actor.snapshot().await;
        }
    })
    .await;
}

/// Loads the document; if that fails, everyone who wants it hears why.
async fn load(mut setup: Setup) -> Option<Box<Actor>> {
    let error = match setup.store.load(&setup.name).await {
        Ok(stored) if stored.is_deleted => Error::Deleted,
        Ok(stored) => match lengthy(stored.bytes() >= LARGE_UPDATE, || Document::load(setup.access, &stored)) {
            Ok(document) => {
                let document = document.with_limit(setup.max_bytes);
                return Some(Box::new(Actor::new(setup, document, &stored)));
            }
            Err(cause) => {
                tracing::error!(document = %setup.name, cause, "a stored document cannot be read");
                Error::Storage(cause.into())
            }
        },
        Err(error) => error.into(),
    };
    refuse_all(&mut setup, error).await;
    None
}

/// Answers what waits when the document cannot be loaded, until no handle is left.
async fn refuse_all(setup: &mut Setup, error: Error) {
    let deleted = matches!(error, Error::Deleted);
    if deleted {
        // Its name may be used again at any moment, by an actor of its own.
        setup.mailbox.close();
    } else {
        tracing::error!(document = %setup.name, %error, "document not loaded");
    }
    while !(setup.retire)(&setup.mailbox) {
        let waited = tokio::time::timeout(Duration::from_millis(100), setup.mailbox.recv()).await;
        match waited.map(|command| command.map(|command| *command)) {
            Ok(Some(Command::Connect(newcomer))) => {
                newcomer.lane.close(if deleted { CloseReason::Gone } else { CloseReason::Failed });
            }
            Ok(Some(Command::Submit { reply, .. } | Command::Replace { reply, .. })) => {
                let _ = reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Project(projection))) => {
                let _ = projection.reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Propose(proposal))) => {
                let _ = proposal.reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Read(reader))) => {
                let _ = reader.reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Remove(removal))) => {
                let Removal { expected, deletion, reply } = *removal;
                // What cannot be read can be deleted.
                let result = match expected {
                    None if !deleted => setup.store.bury(&setup.name, &deletion).await.map_err(Error::from),
                    _ => Err(error.clone()),
                };
                let is_gone = matches!(result, Ok(true));
                let _ = reply.send(result.and_then(|done| if done { Ok(()) } else { Err(Error::Deleted) }));
                if is_gone {
                    // Whoever opens it from now on finds it deleted.
                    setup.mailbox.close();
                }
            }
            Ok(Some(Command::Diff { reply, .. })) => {
                let _ = reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Text { reply })) => {
                let _ = reply.send(Err(error.clone()));
            }
            Ok(Some(Command::Map { reply, .. })) => {
                let _ = reply.send(Err(error.clone()));
            }
            Ok(Some(
                Command::Authorize { .. }
                | Command::Receive { .. }
                | Command::Stateless { .. }
                | Command::Disconnect { .. }
                | Command::CloseAll { .. },
            ))
            | Err(_) => {}
            Ok(None) => return,
        }
        if setup.tasks.is_cancelled() {
            setup.mailbox.close();
            // See `Actor::end`.
            while setup.mailbox.recv().await.is_some() {}
            return;
        }
    }
}

/// Sockets that a turn wrote something for.
#[derive(Default)]
struct Touched {
    all: bool,
    some: Vec<ConnectionId>,
    slow: Vec<ConnectionId>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Idle,
    Failed,
    Stopping,
    Deleted,
}

struct Actor {
    setup: Setup,
    document: Document,
    peers: HashMap<ConnectionId, Lane>,
    /// What was taken from the mailbox at once.
    #[expect(clippy::vec_box, reason = "as they lie in the mailbox")]
    turn: Vec<Box<Command>>,
    effects: Vec<Effect>,
    /// Updates for the next append, and their bytes.
    unsaved: Vec<Record>,
    unsaved_bytes: usize,
    append: Option<Append>,
    requests: HashMap<Ticket, oneshot::Sender<Result<(), Error>>>,
    next_ticket: Ticket,
    readers: Readers,
    /// Number of the last update in the log.
    saved: u64,
    /// Weight of the log behind the last state that was kept, and that state's size.
    behind: usize,
    kept: usize,
    /// A state to keep once the log has reached its number.
    to_keep: Option<(u64, BoxFuture<'static, ()>)>,
    last_used: tokio::time::Instant,
    ticked: Instant,
    /// When the turn under way was taken from the mailbox, if it was.
    began: Option<Instant>,
    /// The deletion that comes next. What came behind it waits in `turn`.
    removal: Option<Box<Removal>>,
}

impl Actor {
    fn new(setup: Setup, document: Document, stored: &StoredDocument) -> Self {
        setup.share.grown(stored.bytes());
        Self {
            setup,
            document,
            peers: HashMap::new(),
            turn: Vec::new(),
            effects: Vec::new(),
            unsaved: Vec::new(),
            unsaved_bytes: 0,
            append: None,
            requests: HashMap::new(),
            next_ticket: 0,
            readers: Readers::default(),
            saved: stored.seq,
            behind: weight(stored.updates.iter().map(Bytes::len)),
            kept: stored.snapshot.as_ref().map_or(0, |(_, state)| state.len()),
            to_keep: None,
            last_used: tokio::time::Instant::now(),
            ticked: Instant::now(),
            began: None,
            removal: None,
        }
    }

    async fn run(&mut self) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let tasks = self.setup.tasks.clone();
        loop {
            tokio::select! {
                biased;
                () = tasks.cancelled() => return Box::pin(self.stop()).await,
                append = ended(&mut self.append) => if let Err(error) = self.appended(append) {
                    tracing::error!(document = %self.setup.name, %error, "an append failed");
                    return End::Failed;
                },
                count = self.setup.mailbox.recv_many(&mut self.turn, MAX_TURN) => {
                    if count == 0 {
                        return End::Idle;
                    }
                    lengthy(self.is_lengthy(), || self.take_turn());
                }
                () = sleep_until(self.document.wake_at()) => {
                    let is_lengthy = self.setup.share.is_large() && self.document.has_questions();
                    lengthy(is_lengthy, || self.document.end_turn(Instant::now(), &mut self.effects));
                }
                () = self.setup.share.asked_to_leave() => {
                    if self.document.is_idle() && self.append.is_none() && (self.setup.retire)(&self.setup.mailbox) {
                        meters::DOCUMENTS_EVICTED.increment(1);
                        return End::Idle;
                    }
                }
                _ = tick.tick() => {
                    self.ticked = Instant::now();
                    self.handle(Input::Tick);
                    if self.is_unused() && (self.setup.retire)(&self.setup.mailbox) {
                        return End::Idle;
                    }
                }
            }
            if !self.perform() {
                return End::Failed;
            }
            while let Some(removal) = self.removal.take() {
                if let Some(end) = Box::pin(self.remove(*removal)).await {
                    return end;
                }
                // It was not to be; what came behind it goes on.
                self.take_turn();
                if !self.perform() {
                    return End::Failed;
                }
            }
            self.start_append();
            self.keep_snapshot();
            self.look_after_the_log();
        }
    }

    fn is_unused(&self) -> bool {
        self.document.is_idle() && self.append.is_none() && self.last_used.elapsed() >= IDLE
    }

    /// True if what is to be done reads all of a large document, or has somebody's large update applied.
    fn is_lengthy(&self) -> bool {
        let is_large = self.setup.share.is_large();
        (is_large && !self.document.replica().is_built())
            || self.turn.iter().any(|command| match &**command {
                Command::Receive { message: Message::SyncStep2(update) | Message::Update(update), .. }
                | Command::Submit { update, .. } => {
                    let work = || update.len().saturating_mul(self.document.size_bytes());
                    update.len() >= LARGE_UPDATE
                        || (update.len() >= KEYSTROKE && work() >= LONG_WORK)
                        || (is_large && self.document.is_full(update.len()))
                }
                Command::Propose(proposal) => is_large || proposal.update.len() >= LARGE_UPDATE,
                Command::Receive { message: Message::SyncStep1(_), .. }
                | Command::Diff { .. }
                | Command::Text { .. }
                | Command::Map { .. }
                | Command::Replace { .. }
                | Command::Read(Reader { with_state: true, .. }) => is_large,
                _ => false,
            })
    }

    fn take_turn(&mut self) {
        self.last_used = tokio::time::Instant::now();
        self.setup.share.touch();
        let now = Instant::now();
        self.began = Some(now);
        if now.saturating_duration_since(self.ticked) > TICK * 2 {
            // There is always something in the mailbox, and the timer's turn does not come.
            self.ticked = now;
            self.handle(Input::Tick);
        }
        meters::TURN_COMMANDS.record(self.turn.len() as f64);
        let mut turn = std::mem::take(&mut self.turn);
        let mut commands = turn.drain(..);
        while self.removal.is_none()
            && let Some(command) = commands.next()
        {
            self.command(*command);
        }
        let rest: Vec<_> = commands.collect();
        self.turn = if rest.is_empty() { turn } else { rest };
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Connect(newcomer) => {
                let Newcomer { authority, stamp, dialect, lane } = *newcomer;
                let peer = lane.id();
                self.peers.insert(peer, lane);
                self.handle(Input::Connected { peer, authority, stamp, dialect });
            }
            Command::Authorize { peer, authority } => {
                self.handle(Input::Authorized { peer, authority: *authority });
            }
            Command::Receive { peer, message, place: _place } => self.handle(Input::Received { peer, message }),
            Command::Stateless { peer, payload, place: _place } => self.handle(Input::Stateless { peer, payload }),
            Command::Disconnect { peer } => {
                if let Some(lane) = self.peers.remove(&peer) {
                    lane.leave();
                }
                self.handle(Input::Disconnected { peer });
            }
            Command::Submit { by, update, reply } => {
                let ticket = self.ticket(reply);
                self.handle(Input::Submitted { by: *by, update, ticket });
            }
            Command::Project(projection) => {
                let Projection { map, entries, reply } = *projection;
                let ticket = self.ticket(reply);
                self.handle(Input::Projected { map, entries, ticket });
            }
            Command::Diff { state_vector, reply } => {
                let diff = self.document.replica().diff(&state_vector);
                let _ = reply.send(diff.map_err(|error| Error::InvalidUpdate(error.to_string())));
            }
            Command::Text { reply } => {
                let _ = reply.send(Ok(self.document.replica().text(buildspaces_crdt::text::ROOT)));
            }
            Command::Map { map, reply } => {
                let _ = reply.send(Ok(self.document.replica().map(map)));
            }
            Command::Replace { by, text, reply } => {
                let ticket = self.ticket(reply);
                self.handle(Input::Replaced { by: *by, text: text.into(), ticket });
            }
            Command::Propose(proposal) => {
                let Proposal { by, update, expected, reply } = *proposal;
                // What one author does within a turn has one number, so the number says something only at a turn's end.
                self.document.end_turn(Instant::now(), &mut self.effects);
                if expected.is_some_and(|expected| expected != self.document.seq()) {
                    let _ = reply.send(Err(Error::Changed));
                    return;
                }
                let ticket = self.ticket(reply);
                self.handle(Input::Proposed { by, update, ticket });
            }
            Command::Read(reader) => self.read(reader),
            Command::Remove(removal) => {
                self.document.end_turn(Instant::now(), &mut self.effects);
                if removal.expected.is_none_or(|expected| expected == self.document.seq()) {
                    self.removal = Some(removal);
                } else {
                    let _ = removal.reply.send(Err(Error::Changed));
                }
            }
            Command::CloseAll { reason } => {
                let peers: Vec<ConnectionId> = self.peers.keys().copied().collect();
                let close = |peer| Effect::Close { peer, reason: (*reason).clone() };
                self.effects.extend(peers.into_iter().map(close));
            }
        }
    }

    fn ticket(&mut self, reply: oneshot::Sender<Result<(), Error>>) -> Ticket {
        self.next_ticket += 1;
        self.requests.insert(self.next_ticket, reply);
        self.next_ticket
    }

    fn handle(&mut self, input: Input) {
        self.document.handle(Instant::now(), input, &mut self.effects);
    }

    /// Ends the turn: performs what it led to and writes to the sockets. False if the document must be loaded again.
    fn perform(&mut self) -> bool {
        let _step = tracing::trace_span!(target: "keystroke", "perform").entered();
        let mut sound = true;
        let mut touched = Touched::default();
        self.document.end_turn(Instant::now(), &mut self.effects);
        // Closing a connection produces effects of its own, so this goes on until there are none.
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                sound &= self.perform_one(effect, &mut touched);
            }
            if self.effects.is_empty() {
                // Its allocation serves the next turn.
                self.effects = effects;
            }
            for peer in std::mem::take(&mut touched.slow) {
                if self.close(peer, CloseReason::TooSlow) {
                    meters::SLOW_READERS_CLOSED.increment(1);
                }
            }
            self.document.end_turn(Instant::now(), &mut self.effects);
        }
        if touched.all {
            self.peers.values().for_each(Lane::flush);
            if let Some(began) = self.began {
                meters::FAN_OUT_SECONDS.record(began.elapsed().as_secs_f64());
            }
        } else {
            touched.some.iter().filter_map(|peer| self.peers.get(peer)).for_each(Lane::flush);
        }
        self.began = None;
        sound
    }

    fn perform_one(&mut self, effect: Effect, touched: &mut Touched) -> bool {
        match effect {
            Effect::Send { to, frame } => self.send(to, touched, |lane| lane.message(frame)),
            Effect::SendUpdate { to, frame } => self.send(to, touched, |lane| lane.update(frame)),
            Effect::SendState { to, frames } => self.send(to, touched, |lane| lane.state(frames.iter().cloned())),
            Effect::Broadcast { to, frame } => self.send_all(&to, touched, |lane| lane.update(frame.clone())),
            Effect::Announce { to, frame } => self.send_all(&to, touched, |lane| lane.message(frame.clone())),
            Effect::Presence { frame } => self.send_all(&Recipients::All, touched, |lane| lane.presence(&frame)),
            Effect::Append { seq, by, update } => {
                if let Some(ear) = &mut self.setup.ear {
                    ear.heard(&by);
                }
                self.unsaved_bytes += update.len();
                self.unsaved.push(Record { seq, by: by.id, at: unix_millis(), update });
            }
            Effect::Refused(reason) => meters::refused(reason, ""),
            Effect::BrokeRule(rule) => meters::refused("malformed", rule),
            Effect::Close { peer, reason } => {
                self.close(peer, reason);
            }
            Effect::Edited { by } => {
                if let Some((node, events)) = &self.setup.events {
                    let _step = tracing::trace_span!(target: "keystroke", "RoomEvent").entered();
                    // Nobody listening is fine: consumers look at everything when they begin.
                    let _ = events.send(RoomEvent::Edited { node: node.clone(), by });
                }
            }
            Effect::Done { ticket, result } => {
                if let Some(reply) = self.requests.remove(&ticket) {
                    let _ = reply.send(result.map_err(|refused| match refused {
                        Refused::Malformed(reason) => Error::InvalidUpdate(reason),
                        Refused::Missing => Error::InvalidUpdate("it builds on unknown changes".to_owned()),
                        Refused::Unsaved => Error::Full,
                        Refused::TooLarge => Error::TooLarge,
                    }));
                }
            }
            Effect::Broken { cause } => {
                tracing::error!(document = %self.setup.name, cause, "a document broke and is loaded again");
                return false;
            }
        }
        true
    }

    fn send(&self, to: ConnectionId, touched: &mut Touched, queue: impl FnOnce(&Lane) -> Result<(), Full>) {
        let Some(lane) = self.peers.get(&to) else { return };
        if queue(lane).is_err() {
            touched.slow.push(to);
        } else if !touched.all {
            touched.some.push(to);
        }
    }

    fn send_all(&self, to: &Recipients, touched: &mut Touched, queue: impl Fn(&Lane) -> Result<(), Full>) {
        touched.all = true;
        for (peer, lane) in &self.peers {
            let is_meant = match to {
                Recipients::All => true,
                Recipients::AllBut(others) => !others.contains(peer),
                Recipients::Others { dialect, than } => peer != than && self.document.dialect(*peer) == Some(*dialect),
            };
            if is_meant && queue(lane).is_err() {
                touched.slow.push(*peer);
            }
        }
    }

    /// False if it was closed before.
    fn close(&mut self, peer: ConnectionId, reason: CloseReason) -> bool {
        let Some(lane) = self.peers.remove(&peer) else { return false };
        lane.close(reason);
        self.handle(Input::Disconnected { peer });
        true
    }

    /// Takes what is in the mailbox, saves it, and says goodbye.
    async fn stop(&mut self) -> End {
        self.setup.mailbox.close();
        while let Ok(command) = self.setup.mailbox.try_recv() {
            self.command(*command);
        }
        if self.save().await { End::Stopping } else { End::Failed }
    }

    /// Saves everything. False if the log does not take it, or, while the server runs, has no room now; and if the document broke: then what is
    /// in the log counts and nothing else.
    async fn save(&mut self) -> bool {
        if !self.perform() {
            return false;
        }
        self.start_append();
        while let Some(append) = &self.append {
            if append.is_put_off() && !self.setup.tasks.is_cancelled() {
                return false;
            }
            let append = ended(&mut self.append).await;
            if let Err(error) = self.appended(append) {
                tracing::error!(document = %self.setup.name, %error, "an append failed while stopping");
                return false;
            }
            if !self.perform() {
                return false;
            }
            self.start_append();
        }
        true
    }

    /// Deletes the document in the state it is in. What came behind is answered accordingly, so that nothing that is acknowledged is
    /// deleted unseen. `None`: it could not be, and the document goes on.
    async fn remove(&mut self, removal: Removal) -> Option<End> {
        let Removal { deletion, reply, .. } = removal;
        // Without space there is no knowing when everything is saved, nor a way to note a deletion.
        self.look_after_the_log();
        if self.document.is_log_stuck() {
            let _ = reply.send(Err(Error::Full));
            return None;
        }
        let is_saved = self.save().await;
        self.look_after_the_log();
        let result = match is_saved {
            false if self.document.is_log_stuck() => Err(Error::Full),
            false => Err(Error::Closed),
            true => match self.setup.store.bury(&self.setup.name, &deletion).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::Deleted),
                Err(error) => Err(error.into()),
            },
        };
        if matches!(result, Err(Error::Full)) {
            // Nothing is broken, so nobody is sent away.
            let _ = reply.send(result);
            return None;
        }
        let is_deleted = matches!(result, Ok(()) | Err(Error::Deleted));
        let _ = reply.send(result);
        self.setup.mailbox.close();
        for command in self.turn.drain(..) {
            refuse(*command, is_deleted);
        }
        while let Ok(command) = self.setup.mailbox.try_recv() {
            refuse(*command, is_deleted);
        }
        Some(if is_deleted { End::Deleted } else { End::Failed })
    }

    async fn end(&mut self, end: End) {
        let reason = match end {
            End::Idle => return,
            End::Failed => CloseReason::Failed,
            End::Stopping => CloseReason::Stopping,
            End::Deleted => CloseReason::Gone,
        };
        // What is still on its way into the log must be there before somebody loads the document again.
        if self.append.is_some()
            && let (append, Ok(())) = ended(&mut self.append).await
        {
            self.tell(&append);
        }
        for (_, lane) in self.peers.drain() {
            lane.close(reason.clone());
        }
        self.setup.mailbox.close();
        for (_, reply) in self.requests.drain() {
            let _ = reply.send(Err(Error::Closed));
        }
        // Whoever had a place in the mailbox before it closed may be putting something there only now. The channel would keep that unseen for as
        // long as they wait for its answer, which is for ever.
        while let Some(command) = self.setup.mailbox.recv().await {
            refuse(*command, matches!(end, End::Deleted));
        }
    }
}

/// Answers what came behind a deletion. Who only waits for an answer learns from its absence that the document has ended.
fn refuse(command: Command, is_deleted: bool) {
    let error = || if is_deleted { Error::Deleted } else { Error::Closed };
    match command {
        Command::Connect(newcomer) => {
            newcomer.lane.close(if is_deleted { CloseReason::Gone } else { CloseReason::Failed });
        }
        Command::Propose(proposal) => {
            let _ = proposal.reply.send(Err(error()));
        }
        Command::Read(reader) => {
            let _ = reader.reply.send(Err(error()));
        }
        Command::Remove(removal) => {
            let _ = removal.reply.send(Err(error()));
        }
        _ => {}
    }
}

/// Sleeps until then; for ever if there is no such moment.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
