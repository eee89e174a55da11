//! The task of what one page sends: answers its offers and starts a [`forwarder`] for each of its tracks. It ends when its participant
//! is gone, and the connection with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::ParticipantId;
use buildspaces_kernel::tasks::Tasks;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::actor::Command;
use super::forwarder::forwarder;
use super::traffic::Traffic;
use super::{Heard, Refusal};
use crate::call::Source;
use crate::offer;
use crate::ports::{Condition, Publisher, PublisherEvent, Transport, TransportError};

/// Offers of one page that wait. When it is full, the next is refused.
pub(super) const OFFERS: usize = 4;

/// An offer, and which of its sections carries what.
pub(super) struct Offer {
    pub(super) neg: u32,
    pub(super) sdp: String,
    pub(super) sections: Vec<(String, Source)>,
}

pub(super) struct Publishing {
    pub(super) participant: ParticipantId,
    pub(super) offers: mpsc::Receiver<Offer>,
    /// Weak: it must not keep the call alive.
    pub(super) call: mpsc::WeakSender<Command>,
    pub(super) tasks: Tasks,
    /// How long it may take to connect, if there is no page that would say that it does not.
    pub(super) patience: Option<Duration>,
    pub(super) traffic: Arc<Traffic>,
}

impl Publishing {
    pub(super) async fn run(mut self, transport: &dyn Transport) {
        // Who only looks on never needs the connection.
        let Some(mut next) = self.offers.recv().await else { return };
        let (mut connection, mut events) = match transport.publisher(offer::picture(&next.sdp)).await {
            Ok(made) => made,
            Err(error) => return self.failed(&error).await,
        };
        let mut until = self.patience.map(|patience| Instant::now() + patience);
        loop {
            // Each offer says it of all its sections, so what was said before is not kept.
            let sections: HashMap<_, _> = next.sections.drain(..).collect();
            match connection.answer(&next.sdp).await {
                Ok(sdp) => self.tell(Heard::Answer { neg: next.neg, sdp }).await,
                Err(error) => {
                    self.failed(&error).await;
                    break;
                }
            }
            match self.until_next(&mut events, &sections, &mut until).await {
                Some(offer) => next = offer,
                None => break,
            }
        }
        close(connection.as_mut()).await;
    }

    /// `None` at the end. `until`: when it must be connected.
    async fn until_next(
        &mut self,
        events: &mut mpsc::Receiver<PublisherEvent>,
        sections: &HashMap<String, Source>,
        until: &mut Option<Instant>,
    ) -> Option<Offer> {
        loop {
            tokio::select! {
                biased;
                offer = self.offers.recv() => return offer,
                () = late(*until) => {
                    self.send(Command::Failed(self.participant.clone())).await;
                    return None;
                }
                event = events.recv() => match event? {
                    PublisherEvent::Track { mid, codec, track } => {
                        let is_it = |source: &Source| source.kind() == codec.kind();
                        let Some(source) = sections.get(&mid).copied().filter(is_it) else {
                            tracing::debug!(mid, "a section that the page did not say the use of is ignored");
                            continue;
                        };
                        let (of, levels, traffic) = (self.participant.clone(), self.call.clone(), self.traffic.clone());
                        let (forwarder, run) = forwarder(of, codec, track, levels, traffic);
                        self.tasks.spawn("media track", run);
                        self.send(Command::Arrived { of: self.participant.clone(), source, forwarder }).await;
                    }
                    PublisherEvent::Became(Condition::Connected) => *until = None,
                    PublisherEvent::Became(Condition::Failed) => {
                        self.send(Command::Failed(self.participant.clone())).await;
                        return None;
                    }
                },
            }
        }
    }

    async fn failed(&self, error: &TransportError) {
        tracing::info!(%error, "what a page sends could not be taken");
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

/// Until a moment, or for ever.
pub(super) async fn late(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn close(connection: &mut dyn Publisher) {
    connection.close().await;
}
