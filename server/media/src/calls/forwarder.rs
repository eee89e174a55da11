//! The task of one track: takes its packets from the publisher's connection and passes them on as [`Router`] says.
//!
//! It waits for nobody: a line that has no room drops the packet, and only that receiver misses it. It ends with the publisher's
//! connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::ParticipantId;
use tokio::sync::{mpsc, watch};

use super::actor;
use super::traffic::Traffic;
use crate::allocator::Rates;
use crate::codec::Codec;
use crate::meters;
use crate::ports::{Incoming, Line, Received};
use crate::rewrite::Rewriter;
use crate::router::{Effects, Input, Layer, OVERHEAD, Packet, Router, SubscriberId};
use crate::speaker::Loudness;

/// How often it is told at most what comes in.
const RATES_EVERY: Duration = Duration::from_millis(200);

/// Changes that wait for one track's task. When it is full, whoever brings one waits.
#[cfg(not(test))]
const CHANGES: usize = 64;
#[cfg(test)]
const CHANGES: usize = 1;

pub(super) enum Change {
    Subscribe {
        id: SubscriberId,
        want: Option<Layer>,
        line: Arc<dyn Line>,
        rewriter: Arc<Mutex<Rewriter>>,
    },
    /// `None`: nothing for now.
    Want {
        id: SubscriberId,
        layer: Option<Layer>,
    },
    KeyframeWanted(SubscriberId),
    Unsubscribe(SubscriberId),
}

/// One that no other subscriber has.
pub(super) fn subscriber_id() -> SubscriberId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    SubscriberId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What others have of a track's task.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) codec: Codec,
    pub(super) open: Arc<watch::Sender<bool>>,
    /// What comes in, as of a moment ago.
    pub(super) rates: watch::Receiver<Rates>,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarder")
    }
}

impl Forwarder {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.changes.same_channel(&other.changes)
    }
}

/// The task's handle and the task, which ends when the track does.
pub(super) fn forwarder(
    of: ParticipantId,
    codec: Codec,
    incoming: Box<dyn Incoming>,
    levels: mpsc::WeakSender<actor::Command>,
    traffic: Arc<Traffic>,
) -> (Forwarder, impl Future<Output = ()> + Send + 'static) {
    let (changes, mailbox) = mpsc::channel(CHANGES);
    let (open, opened) = watch::channel(false);
    let (told, rates) = watch::channel(Rates::default());
    let (router, out, effects) = (Router::new(codec.kind()), HashMap::new(), Effects::default());
    let forwarding = Forwarding { of, router, out, effects, incoming, rates: told, rates_at: now(), traffic };
    (Forwarder { changes, codec, open: Arc::new(open), rates }, forwarding.run(mailbox, opened, levels))
}

/// Where a subscriber's packets go. A line's numbering is used by one task at a time.
type Out = (Arc<dyn Line>, Arc<Mutex<Rewriter>>);

struct Forwarding {
    of: ParticipantId,
    router: Router,
    out: HashMap<SubscriberId, Out>,
    effects: Effects,
    incoming: Box<dyn Incoming>,
    rates: watch::Sender<Rates>,
    rates_at: Instant,
    traffic: Arc<Traffic>,
}

impl Forwarding {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Change>,
        mut open: watch::Receiver<bool>,
        levels: mpsc::WeakSender<actor::Command>,
    ) {
        let mut loudness = Loudness::default();
        open.mark_changed();
        let mut has_owner = true;
        loop {
            let deadline = self.router.deadline();
            let elapsed = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = open.changed(), if has_owner => {
                    has_owner = changed.is_ok();
                    let is_open = has_owner && *open.borrow_and_update();
                    self.handle(Input::Open(is_open)).await;
                }
                change = mailbox.recv(), if has_owner => match change {
                    Some(change) => self.change(change).await,
                    None => has_owner = false,
                },
                // Before packets, of which there may always be one.
                () = elapsed => {
                    self.handle(Input::Elapsed).await;
                    self.tell_rates(now());
                }
                received = self.incoming.next() => {
                    let Some(received) = received else { return };
                    meters::PACKETS_RECEIVED.increment(1);
                    if let Some(level) = received.level.and_then(|level| loudness.heard(now(), level))
                        && let Some(levels) = levels.upgrade()
                    {
                        // A level that finds no room is not missed: the next follows in a moment.
                        let _ = levels.try_send(actor::Command::Level { of: self.of.clone(), level });
                    }
                    self.pass_on(&received).await;
                }
            }
        }
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Subscribe { id, want, line, rewriter } => {
                self.out.insert(id, (line, rewriter));
                self.handle(Input::Subscribed { id, want }).await;
            }
            Change::Want { id, layer } => self.handle(Input::Want { id, layer }).await,
            Change::KeyframeWanted(id) => self.handle(Input::KeyframeWanted(id)).await,
            Change::Unsubscribe(id) => {
                self.out.remove(&id);
                self.handle(Input::Unsubscribed(id)).await;
            }
        }
    }

    async fn pass_on(&mut self, received: &Received) {
        let Received { ssrc, layer, codec, ref payload, .. } = *received;
        let packet = Packet { ssrc, layer, codec, payload };
        let now = now();
        self.router.handle(now, Input::Packet(packet), &mut self.effects);
        if self.effects.flooded {
            meters::FLOODED.increment(1);
        }
        let (mut sent, mut full) = (0, 0);
        for (id, source) in &self.effects.forward {
            let Some((line, rewriter)) = self.out.get(id) else { continue };
            let numbers = lock(rewriter).step(now, *source, received.sequence, received.timestamp);
            match numbers.map(|(sequence, timestamp)| line.send(received, sequence, timestamp)) {
                Some(true) => sent += 1,
                Some(false) => full += 1,
                None => {}
            }
        }
        for (id, source) in &self.effects.skip {
            if let Some((_, rewriter)) = self.out.get(id) {
                lock(rewriter).skip(*source, received.sequence);
            }
        }
        self.traffic.passed(payload.len() + OVERHEAD, sent);
        meters::PACKETS_FORWARDED.increment(sent);
        meters::RECEIVER_FULL.increment(full);
        if now >= self.rates_at + RATES_EVERY {
            self.tell_rates(now);
        }
        self.ask().await;
    }

    fn tell_rates(&mut self, now: Instant) {
        self.rates_at = now;
        let rates = self.router.rates(now);
        self.rates.send_if_modified(|told| std::mem::replace(told, rates) != rates);
    }

    async fn handle(&mut self, input: Input<'_>) {
        self.router.handle(now(), input, &mut self.effects);
        self.ask().await;
    }

    async fn ask(&mut self) {
        for ssrc in std::mem::take(&mut self.effects.keyframes) {
            meters::KEYFRAMES_ASKED.increment(1);
            self.incoming.request_keyframe(ssrc).await;
        }
    }
}

fn lock(rewriter: &Mutex<Rewriter>) -> std::sync::MutexGuard<'_, Rewriter> {
    rewriter.lock().expect("numbering does not panic")
}

/// Tokio's clock, which tests stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
