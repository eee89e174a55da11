//! The task of what one page is sent. It alone offers on the connection, one offer at a time, so offers never cross; what is wanted
//! meanwhile goes into the next. Which line carries which track says [`Slots`].
//!
//! A viewer without a page offers instead: their first offer has all the lines there will be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::ParticipantId;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::actor::Command;
use super::forwarder::{Change, Forwarder, subscriber_id};
use super::peer::CONNECTED_WITHIN;
use super::publisher::late;
use super::{Heard, Refusal};
use crate::allocator::{Allocator, Demand, Importance};
use crate::call::{Source, TrackId};
use crate::ports::{Condition, Line, Subscriber, SubscriberEvent, Transport, TransportError};
use crate::rewrite::Rewriter;
use crate::router::{Kind, Layer, SubscriberId};
use crate::slots::{SlotId, Slots};

/// How long it waits for more changes before it offers: people turn on microphone and camera together.
const GATHERED_FOR: Duration = Duration::from_millis(30);

/// How often what fits through the line is shared out anew, besides when the line takes less.
const ALLOCATED_EVERY: Duration = Duration::from_millis(200);

/// Answers of one page that wait. When it is full, the next is refused.
pub(super) const ANSWERS: usize = 4;

/// A track that is to be sent.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) layer: Layer,
    pub(super) importance: Importance,
    /// `None` before its first packet.
    pub(super) forwarder: Option<Forwarder>,
}

pub(super) type AllWanted = Arc<BTreeMap<TrackId, Wanted>>;

pub(super) enum ToSubscriber {
    Answer {
        neg: u32,
        sdp: String,
    },
    /// The page has another connection and may have missed what was said on the last.
    Again,
    /// The page moved to another network: the next offer begins a new ICE session.
    Restart,
    /// A viewer's own offer.
    Offer {
        neg: u32,
        sdp: String,
    },
}

pub(super) struct Subscribing {
    pub(super) participant: ParticipantId,
    pub(super) wanted: watch::Receiver<AllWanted>,
    pub(super) messages: mpsc::Receiver<ToSubscriber>,
    /// Weak: it must not keep the call alive.
    pub(super) call: mpsc::WeakSender<Command>,
    /// What the sections of a viewer's offer are for; of a page nothing is known before.
    pub(super) lines: Vec<Kind>,
}

/// One line and what it carries.
struct Slot {
    line: Arc<dyn Line>,
    /// The section that a page was offered; a viewer knows their own.
    mid: String,
    rewriter: Arc<Mutex<Rewriter>>,
    carries: Option<Carried>,
}

struct Carried {
    track: TrackId,
    subscription: Option<Subscription>,
}

/// A line's place at a track's task.
struct Subscription {
    id: SubscriberId,
    layer: Option<Layer>,
    forwarder: Forwarder,
}

/// An offer that is not answered.
struct Pending {
    neg: u32,
    sdp: String,
    mids: Vec<String>,
    lines: Vec<(Kind, Arc<dyn Line>)>,
    restarts: bool,
}

struct Connection {
    peer: Box<dyn Subscriber>,
    connected: bool,
    neg: u32,
    pending: Option<Pending>,
    /// The next offer restarts ICE.
    restart: bool,
    assigned: Slots<TrackId>,
    slots: Vec<Slot>,
    told: Vec<(String, TrackId)>,
    allocator: Allocator<TrackId>,
    capacity: watch::Receiver<Option<u64>>,
    /// What the page was told that its line has no room for.
    held: Held,
}

/// What is sent smaller than it is wanted, and what not at all, and why.
#[derive(Clone, PartialEq, Eq, Default)]
struct Held {
    reduced: Vec<TrackId>,
    paused: Vec<TrackId>,
    /// Of a codec that the receiver does not have. Nothing is sent of it, and no keyframe asked for.
    undecodable: Vec<TrackId>,
}

impl Subscribing {
    pub(super) async fn run(mut self, transport: &dyn Transport) {
        // Until somebody else publishes something, there is nothing to connect a page for.
        if self.lines.is_empty() && self.wanted.wait_for(|wanted| !wanted.is_empty()).await.is_err() {
            return;
        }
        let (peer, mut events) = match transport.subscriber().await {
            Ok(made) => made,
            Err(error) => return self.failed(&error).await,
        };
        let mut connection = Connection {
            capacity: peer.capacity(),
            peer,
            connected: false,
            neg: 0,
            pending: None,
            restart: false,
            assigned: Slots::default(),
            slots: Vec::new(),
            told: Vec::new(),
            allocator: Allocator::default(),
            held: Held::default(),
        };
        if let Err(error) = self.carry(&mut connection, &mut events).await {
            self.failed(&error).await;
        }
        connection.let_go().await;
        connection.peer.close().await;
    }

    async fn carry(
        &mut self,
        connection: &mut Connection,
        events: &mut mpsc::Receiver<SubscriberEvent>,
    ) -> Result<(), TransportError> {
        self.wanted.mark_changed();
        let mut again = tokio::time::interval(ALLOCATED_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = (!self.lines.is_empty()).then(|| tokio::time::Instant::now() + CONNECTED_WITHIN);
        loop {
            let is_thin = connection.connected && connection.capacity.borrow().is_some();
            tokio::select! {
                _ = again.tick(), if is_thin => {
                    self.share_out(connection).await;
                    continue;
                }
                Ok(()) = connection.capacity.changed() => {
                    if connection.connected {
                        self.share_out(connection).await;
                    }
                    continue;
                }
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    tokio::time::sleep(GATHERED_FOR).await;
                }
                message = self.messages.recv() => match message {
                    None => return Ok(()),
                    Some(ToSubscriber::Answer { neg, sdp }) => {
                        if connection.pending.as_ref().is_none_or(|pending| pending.neg != neg) {
                            continue;
                        }
                        connection.answered(&sdp).await?;
                    }
                    Some(ToSubscriber::Offer { neg, sdp }) => {
                        let sdp = connection.answer(&sdp, &self.lines).await?;
                        self.tell(Heard::Answer { neg, sdp }).await;
                    }
                    Some(ToSubscriber::Restart) => connection.restart |= connection.can_restart(),
                    Some(ToSubscriber::Again) => {
                        connection.told.clear();
                        connection.held = Held::default();
                        if let Some(pending) = &connection.pending {
                            self.tell(Heard::Offer { neg: pending.neg, sdp: pending.sdp.clone() }).await;
                        }
                    }
                },
                () = late(until.filter(|_| !connection.connected)) => {
                    return Err(TransportError::Failed("the viewer does not connect".to_owned()));
                }
                event = events.recv() => match event {
                    None => return Ok(()),
                    Some(SubscriberEvent::KeyframeWanted(ssrc)) => {
                        connection.keyframe_wanted(ssrc);
                        continue;
                    }
                    Some(SubscriberEvent::Became(Condition::Connected)) => connection.connected = true,
                    Some(SubscriberEvent::Became(Condition::Failed)) => {
                        return Err(TransportError::Failed("the line to the page is dead".to_owned()));
                    }
                },
            }
            let wanted = self.wanted.borrow_and_update().clone();
            if let Some(offer) = connection.reconcile(&wanted, self.lines.is_empty()).await? {
                self.tell(offer).await;
            }
            if connection.connected {
                self.share_out(connection).await;
            }
            let slots = connection.carried();
            if slots != connection.told {
                connection.told.clone_from(&slots);
                self.tell(Heard::Slots(slots)).await;
            }
        }
    }

    /// Has as much of everything sent as the line takes, and tells the page what that leaves out.
    async fn share_out(&self, connection: &mut Connection) {
        let wanted = self.wanted.borrow().clone();
        let held = connection.subscribe(&wanted).await;
        if held != connection.held {
            connection.held = held.clone();
            let Held { reduced, paused, undecodable } = held;
            self.tell(Heard::Held { reduced, paused, undecodable }).await;
        }
    }

    async fn failed(&self, error: &TransportError) {
        tracing::info!(%error, "a page cannot be sent anything");
        if let TransportError::Description(_) = error {
            self.tell(Heard::Refused(Refusal::Offer(error.clone()))).await;
        }
        self.send(Command::Failed(self.participant.clone())).await;
    }

    async fn tell(&self, heard: Heard) {
        self.send(Command::Tell { to: self.participant.clone(), heard }).await;
    }

    async fn send(&self, command: Command) {
        if let Some(call) = self.call.upgrade() {
            let _ = call.send(command).await;
        }
    }
}

impl Connection {
    /// Gives lines to what is wanted and takes them back. An offer, if there are too few and it may offer.
    async fn reconcile(&mut self, wanted: &AllWanted, may_offer: bool) -> Result<Option<Heard>, TransportError> {
        let kinds = wanted.keys().map(|track| (track.clone(), track.source.kind())).collect();
        let changes = self.assigned.assign(&kinds);
        for (SlotId(at), _) in changes.detach {
            self.detach(at).await;
        }
        for (SlotId(at), track) in changes.attach {
            self.slots[at].carries = Some(Carried { track, subscription: None });
        }
        if !may_offer || (changes.missing.is_empty() && !self.restart) || self.pending.is_some() {
            return Ok(None);
        }
        let mut lines = Vec::with_capacity(changes.missing.len());
        for kind in changes.missing {
            lines.push((kind, self.peer.add(kind).await?));
        }
        let restarts = std::mem::take(&mut self.restart);
        let (sdp, mids) = self.peer.offer(restarts).await?;
        self.neg += 1;
        let offer = Heard::Offer { neg: self.neg, sdp: sdp.clone() };
        self.pending = Some(Pending { neg: self.neg, sdp, mids, lines, restarts });
        Ok(Some(offer))
    }

    /// Not before there is a session, and not while one waits for its answer that is new already.
    fn can_restart(&self) -> bool {
        self.neg > 0 && self.pending.as_ref().is_none_or(|pending| !pending.restarts)
    }

    /// The answer to a viewer's offer, whose first makes the lines.
    async fn answer(&mut self, offer: &str, lines: &[Kind]) -> Result<String, TransportError> {
        for kind in lines.iter().skip(self.slots.len()) {
            let line = self.peer.add(*kind).await?;
            self.add_slot(*kind, line, String::new());
        }
        self.peer.answer(offer).await
    }

    fn add_slot(&mut self, kind: Kind, line: Arc<dyn Line>, mid: String) {
        let SlotId(at) = self.assigned.add(kind);
        debug_assert_eq!(at, self.slots.len());
        let rewriter = Arc::new(Mutex::new(Rewriter::new(kind.clock())));
        self.slots.push(Slot { line, mid, rewriter, carries: None });
    }

    async fn answered(&mut self, sdp: &str) -> Result<(), TransportError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        self.peer.answered(sdp).await?;
        for ((kind, line), mid) in pending.lines.into_iter().zip(pending.mids.into_iter().skip(self.slots.len())) {
            self.add_slot(kind, line, mid);
        }
        Ok(())
    }

    /// Sees to it that each line is subscribed to what it carries, in the layer that is wanted and fits through the line.
    async fn subscribe(&mut self, wanted: &AllWanted) -> Held {
        let demand = |slot: &Slot| {
            let track = &slot.carries.as_ref()?.track;
            let wanted = wanted.get(track)?;
            let forwarder = wanted.forwarder.as_ref().filter(|forwarder| slot.line.decodes(forwarder.codec))?;
            let rates = *forwarder.rates.borrow();
            let rates = if track.source == Source::Camera { rates.expected() } else { rates };
            let kind = track.source.kind();
            Some((track.clone(), Demand { kind, layer: wanted.layer, importance: wanted.importance, rates }))
        };
        let demands: BTreeMap<_, _> = self.slots.iter().filter_map(demand).collect();
        let capacity = *self.capacity.borrow_and_update();
        let shares = self.allocator.allocate(now(), capacity, &demands);
        let mut held = Held::default();
        for slot in &mut self.slots {
            let Some(carried) = &mut slot.carries else { continue };
            let Some(Wanted { forwarder: Some(forwarder), .. }) = wanted.get(&carried.track) else { continue };
            if !slot.line.decodes(forwarder.codec) {
                held.undecodable.push(carried.track.clone());
                unsubscribe(carried.subscription.take()).await;
                continue;
            }
            let Some((demand, &layer)) = demands.get(&carried.track).zip(shares.get(&carried.track)) else { continue };
            match layer {
                None => held.paused.push(carried.track.clone()),
                Some(layer) if demand.is_less(layer) => held.reduced.push(carried.track.clone()),
                Some(_) => {}
            }
            match &mut carried.subscription {
                Some(subscription) if subscription.forwarder.is_same(forwarder) => {
                    if subscription.layer != layer {
                        subscription.layer = layer;
                        let _ = forwarder.changes.send(Change::Want { id: subscription.id, layer }).await;
                    }
                }
                other => {
                    let id = subscriber_id();
                    let (line, rewriter) = (slot.line.clone(), slot.rewriter.clone());
                    let change = Change::Subscribe { id, want: layer, line, rewriter };
                    // A track that ended just now is told of in a moment.
                    let _ = forwarder.changes.send(change).await;
                    *other = Some(Subscription { id, layer, forwarder: forwarder.clone() });
                }
            }
        }
        held
    }

    async fn detach(&mut self, at: usize) {
        unsubscribe(self.slots[at].carries.take().and_then(|carried| carried.subscription)).await;
    }

    async fn let_go(&mut self) {
        for at in 0..self.slots.len() {
            self.detach(at).await;
        }
    }

    fn keyframe_wanted(&self, ssrc: u32) {
        let slot = self.slots.iter().find(|slot| slot.line.ssrc() == ssrc);
        let carried = slot.and_then(|slot| slot.carries.as_ref()?.subscription.as_ref());
        if let Some(Subscription { id, forwarder, .. }) = carried {
            // If there is no room the receiver asks again.
            let _ = forwarder.changes.try_send(Change::KeyframeWanted(*id));
        }
    }

    fn carried(&self) -> Vec<(String, TrackId)> {
        let tracks: HashMap<SlotId, &TrackId> = self.assigned.iter().collect();
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((slot.mid.clone(), (*tracks.get(&SlotId(at))?).clone()))).collect()
    }
}

async fn unsubscribe(subscription: Option<Subscription>) {
    if let Some(Subscription { id, forwarder, .. }) = subscription {
        let _ = forwarder.changes.send(Change::Unsubscribe(id)).await;
    }
}

/// Tokio's clock, which tests stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
