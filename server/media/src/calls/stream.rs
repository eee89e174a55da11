//! Taking part, or looking on, by one offer and one answer instead of a page: what WHIP and WHEP need of a call. It says to the actor
//! what a page would, and decides nothing.

use std::time::Duration;

use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::Authority;
use tokio::time::timeout;

use super::{Attached, Calls, Heard, Refusal, Said};
use crate::call::{Publishing, Refused, Source};
use crate::offer::{self, Unusable, Way};
use crate::ports::TransportError;
use crate::router::Kind;
use crate::sdp;
use crate::viewer::Choice;

/// How long an answer may take. It is made within milliseconds, or somebody who has to make it is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no stream, or it could not be changed. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Call(#[from] crate::Error),
    #[error(transparent)]
    Offer(#[from] Unusable),
    /// The transport cannot use the offer.
    #[error(transparent)]
    Description(TransportError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the server could not make a connection; try again in a moment")]
    Broken,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Call(refused) => Self::Refused(refused),
            Refusal::Unusable(unusable) => Self::Offer(unusable),
            Refusal::Offer(error) => Self::Description(error),
            // Streams ask for no recording.
            Refusal::Busy | Refusal::RecordingsFull(_) => Self::Broken,
        }
    }
}

/// A program's part in a call. Dropping it ends that.
#[derive(Debug)]
pub struct Stream {
    attached: Attached,
    offer: String,
    neg: u32,
    what: What,
}

/// What is said with each offer.
#[derive(Clone, Debug)]
enum What {
    Sends(Vec<(String, Source)>),
    Watches(Vec<Kind>, Choice),
}

impl Calls {
    /// Sends into the room's call what the offer has, at once and unmuted; `picture` says what its video is. Returns the answer too.
    pub async fn publish(
        &self,
        room: &RoomId,
        who: &Authority,
        offer: &str,
        picture: Source,
    ) -> Result<(Stream, String), Error> {
        let source = |kind| if kind == Kind::Audio { Source::Microphone } else { picture };
        let sections: Vec<_> =
            offer::sections(offer, Way::In)?.into_iter().map(|(mid, kind)| (mid, source(kind))).collect();
        let attached = self.attach(room, who).await?;
        attached.say(Said::Stream).await;
        for (_, source) in &sections {
            attached.say(Said::Set { source: *source, how: Publishing::On }).await;
        }
        let offer = sdp::with_direction(offer, "sendonly");
        Stream { attached, offer, neg: 0, what: What::Sends(sections) }.begun().await
    }

    /// Sends what of the room's call the offer has sections for. Returns the answer too.
    pub async fn watch(
        &self,
        room: &RoomId,
        who: &Authority,
        offer: &str,
        choice: Choice,
    ) -> Result<(Stream, String), Error> {
        let lines = offer::sections(offer, Way::Out)?.into_iter().map(|(_, kind)| kind).collect();
        let attached = self.attach(room, who).await?;
        let offer = sdp::with_direction(offer, "recvonly");
        Stream { attached, offer, neg: 0, what: What::Watches(lines, choice) }.begun().await
    }
}

impl Stream {
    async fn begun(mut self) -> Result<(Self, String), Error> {
        let answer = self.exchange().await?;
        Ok((self, answer))
    }

    /// Begins ICE anew with the other side's new name and password. Returns ours, as the answer to the offer with them.
    pub async fn restart(&mut self, fragment: &str, password: &str) -> Result<String, Error> {
        self.offer = sdp::with_credentials(&self.offer, fragment, password);
        self.exchange().await
    }

    /// Completes when it is over: left, dead, or never connected. Cancel-safe.
    pub async fn ended(&mut self) {
        while let Some(heard) = self.attached.heard.recv().await {
            if let Heard::Ended { .. } = heard {
                return;
            }
        }
    }

    async fn exchange(&mut self) -> Result<String, Error> {
        self.neg += 1;
        let (neg, sdp) = (self.neg, self.offer.clone());
        let said = match self.what.clone() {
            What::Sends(sections) => Said::Publish { neg, sdp, sections },
            What::Watches(sections, choice) => Said::Watch { neg, sdp, sections, choice },
        };
        self.attached.say(said).await;
        timeout(PATIENCE, self.answer()).await.unwrap_or(Err(Error::Broken))
    }

    async fn answer(&mut self) -> Result<String, Error> {
        loop {
            match self.attached.heard.recv().await {
                Some(Heard::Answer { neg, sdp }) if neg == self.neg => return Ok(sdp),
                Some(Heard::Refused(refusal)) => return Err(refusal.into()),
                Some(Heard::Ended { .. }) | None => return Err(Error::Broken),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
