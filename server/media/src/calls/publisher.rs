//! The task of what one page sends: answers its offers and starts a [`forwarder`] for each of its tracks. It ends when its participant
//! is gone, and the connection with it.

use std::collections::HashMap;

use buildspaces_kernel::ids::ParticipantId;
use buildspaces_kernel::tasks::Tasks;
use tokio::sync::mpsc;

use super::Heard;
use super::actor::Command;
use super::forwarder::forwarder;
use crate::call::Source;
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
}

impl Publishing {
    pub(super) async fn run(mut self, transport: &dyn Transport) {
        // Who only looks on never needs the connection.
        let Some(mut next) = self.offers.recv().await else { return };
        let (mut connection, mut events) = match transport.publisher().await {
            Ok(made) => made,
            Err(error) => return self.failed(&error).await,
        };
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
            match self.until_next(&mut events, &sections).await {
                Some(offer) => next = offer,
                None => break,
            }
        }
        close(connection.as_mut()).await;
    }

    /// `None` at the end.
    async fn until_next(
        &mut self,
        events: &mut mpsc::Receiver<PublisherEvent>,
        sections: &HashMap<String, Source>,
    ) -> Option<Offer> {
        loop {
            tokio::select! {
                biased;
                offer = self.offers.recv() => return offer,
                event = events.recv() => match event? {
                    PublisherEvent::Track { mid, kind, track } => {
                        let Some(source) = sections.get(&mid).copied().filter(|source| source.kind() == kind) else {
                            tracing::debug!(mid, "a section that the page did not say the use of is ignored");
                            continue;
                        };
                        let (forwarder, run) = forwarder(self.participant.clone(), kind, track, self.call.clone());
                        self.tasks.spawn("media track", run);
                        self.send(Command::Arrived { of: self.participant.clone(), source, forwarder }).await;
                    }
                    PublisherEvent::Became(Condition::Connected) => {}
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
            self.tell(Heard::Refused(error.to_string())).await;
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

async fn close(connection: &mut dyn Publisher) {
    connection.close().await;
}
