//! Whether a call is recorded, and who agreed to be. Pure.
//!
//! **Invariant:** nothing of anybody is recorded before they agreed to this recording, or after they took that back. Who starts it agrees by
//! that, for themselves alone.

use std::collections::BTreeSet;

use buildspaces_kernel::ids::{ParticipantId, PrincipalId};
use buildspaces_policy::{Capability, Principal};

use super::{Call, Effects, Refused, TrackId};
use crate::recording::State;

/// A recording that goes on.
#[derive(Debug)]
pub struct Recorded {
    /// Who started it.
    pub by: Principal,
    /// By person, not by page: who comes back, or sends a stream as well, has said it once.
    agreed: BTreeSet<PrincipalId>,
}

/// What becomes of the recording.
#[derive(PartialEq, Eq, Debug)]
pub enum Turn {
    Begins(Principal),
    Ends(State),
}

impl Call {
    pub fn recording(&self) -> Option<&Recorded> {
        self.recording.as_ref()
    }

    /// Who of those who take part agreed.
    pub fn agreed(&self) -> Vec<ParticipantId> {
        let agreed =
            |who: &PrincipalId| self.recording.as_ref().is_some_and(|recording| recording.agreed.contains(who));
        let all = self.participants.iter().filter(|(_, participant)| agreed(&participant.who.principal.id));
        all.map(|(id, _)| id.clone()).collect()
    }

    /// What is to be recorded, and whose it is.
    pub fn recorded(&self) -> Vec<(TrackId, Principal)> {
        let tracks = |of: ParticipantId| {
            let participant = &self.participants[&of];
            let who = participant.who.principal.clone();
            participant.tracks.keys().map(move |source| (TrackId { of: of.clone(), source: *source }, who.clone()))
        };
        self.agreed().into_iter().flat_map(tracks).collect()
    }

    /// Whether this call can be recorded at all. What makes that impossible is refused here, and here alone.
    fn recordable(&self) -> Result<(), Refused> {
        self.lets_look_in()?;
        if self.keeps_recordings { Ok(()) } else { Err(Refused::NotRecorded) }
    }

    /// May this one have the call recorded? Whether there is room for it is not known here.
    pub fn may_record(&self, by: &ParticipantId) -> Result<(), Refused> {
        self.recorder(by)?;
        self.recordable()
    }

    fn recorder(&self, by: &ParticipantId) -> Result<Principal, Refused> {
        let who = &self.participants.get(by).ok_or(Refused::Gone)?.who;
        who.check(Capability::Record)?;
        Ok(who.principal.clone())
    }

    pub(super) fn record(&mut self, by: &ParticipantId, on: bool, effects: &mut Effects) -> Result<(), Refused> {
        let by = self.recorder(by)?;
        if on == self.recording.is_some() {
            return Ok(());
        }
        if !on {
            self.recording_ends(State::Stopped, effects);
            return Ok(());
        }
        self.recordable()?;
        effects.recording = Some(Turn::Begins(by.clone()));
        (effects.changed, effects.subscriptions) = (true, true);
        self.recording = Some(Recorded { agreed: BTreeSet::from([by.id.clone()]), by });
        Ok(())
    }

    pub(super) fn agrees(&mut self, id: &ParticipantId, on: bool, effects: &mut Effects) -> Result<(), Refused> {
        let who = self.participants.get(id).ok_or(Refused::Gone)?.who.principal.id.clone();
        // It may have ended just now.
        if let Some(Recorded { agreed, .. }) = &mut self.recording {
            effects.changed = if on { agreed.insert(who) } else { agreed.remove(&who) };
            effects.subscriptions = effects.changed;
        }
        Ok(())
    }

    pub(super) fn recording_ends(&mut self, state: State, effects: &mut Effects) {
        if self.recording.take().is_some() {
            effects.recording = Some(Turn::Ends(state));
            (effects.changed, effects.subscriptions) = (true, true);
        }
    }
}
