//! A room's call, as a pure state machine: who is in it, what they publish, who is sent what, who speaks. Inputs and `now` in, what
//! follows out.
//!
//! It sees no packet ([`crate::router`] does) and no session description. `media::actor` owns it.
//!
//! **Invariant:** nobody is ever unmuted by somebody else. A moderator mutes, and asks.

pub mod recorded;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::ParticipantId;
use buildspaces_policy::{Authority, Capability, Denied, Principal};
use serde::{Deserialize, Serialize};

use crate::quality::{Connection, Quality, Report};
use crate::recording::State;
use crate::router::{Kind, Layer};
use crate::speaker::Speakers;
use recorded::{Recorded, Turn};

/// How long somebody stays in the call whose connection is gone. Their media goes on meanwhile: losing the WebSocket is not losing
/// the line.
pub const KEPT_FOR: Duration = Duration::from_secs(20);

/// What somebody can publish, each once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Microphone,
    Camera,
    Screen,
}

impl Source {
    pub const ALL: [Self; 3] = [Self::Microphone, Self::Camera, Self::Screen];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Camera => "camera",
            Self::Screen => "screen",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Microphone => Kind::Audio,
            Self::Camera | Self::Screen => Kind::Video,
        }
    }

    fn capability(self) -> Capability {
        match self {
            Self::Microphone => Capability::PublishAudio,
            Self::Camera => Capability::PublishVideo,
            Self::Screen => Capability::ShareScreen,
        }
    }
}

/// One thing that one participant publishes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId {
    pub of: ParticipantId,
    pub source: Source,
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of, self.source.as_str())
    }
}

impl TrackId {
    pub fn parse(text: &str) -> Option<Self> {
        let (of, source) = text.split_once('/')?;
        Some(Self { of: ParticipantId::parse(of)?, source: Source::parse(source)? })
    }
}

/// How a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publishing {
    Off,
    /// There, but nothing of it is passed on.
    Muted,
    On,
}

/// How much one call takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub participants: usize,
    /// Pages, streams and players of one person that look at it, whether they take part or not.
    pub pages_per_user: usize,
    /// Cameras that are on at once, and screens.
    pub cameras: usize,
    pub screens: usize,
    /// What all who take part send together, in bits in a second. When so much comes in, no further picture is turned on.
    pub bits: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { participants: 50, pages_per_user: 20, cameras: 25, screens: 4, bits: 200_000_000 }
    }
}

/// What happens in a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Joined {
        id: ParticipantId,
        who: Authority,
        /// Sends and is sent nothing, and is gone with its connection: nobody is there who could come back.
        is_stream: bool,
        /// Their page encrypts what it sends, and expects that others do.
        encrypts: bool,
    },
    /// Said good-bye, or may not be here any more.
    Left(ParticipantId),
    /// The connection is gone.
    Lost(ParticipantId),
    /// And there again, with what they may do now.
    Back {
        id: ParticipantId,
        who: Authority,
    },
    Publishes {
        id: ParticipantId,
        source: Source,
        how: Publishing,
    },
    /// A moderator mutes somebody.
    Mute {
        by: ParticipantId,
        track: TrackId,
    },
    /// A moderator asks somebody to unmute.
    Ask {
        by: ParticipantId,
        track: TrackId,
    },
    /// A moderator takes somebody's raised hand down. Hands are shown by pages among themselves; this only asks theirs.
    LowerHand {
        by: ParticipantId,
        of: ParticipantId,
    },
    /// At most this layer of the track is to be sent; `None`: nothing.
    Want {
        id: ParticipantId,
        track: TrackId,
        layer: Option<Layer>,
    },
    /// A microphone's level, see [`crate::speaker`].
    Heard {
        id: ParticipantId,
        level: u8,
    },
    /// A page says how its connections are.
    Reported {
        id: ParticipantId,
        report: Report,
    },
    /// A moderator has the call recorded, or no more.
    Record {
        by: ParticipantId,
        on: bool,
    },
    /// Somebody agrees to be recorded, or no more.
    Agrees {
        id: ParticipantId,
        on: bool,
    },
    /// The recording ended by itself.
    RecordingEnded(State),
    /// [`Call::deadline`] has come.
    Elapsed,
}

/// What somebody is told who did not ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Somebody muted this.
    Muted { source: Source, by: Principal },
    /// Somebody would like to hear or see this.
    Asked { source: Source, by: Principal },
    /// Their hand is taken down.
    HandLowered { by: Principal },
}

/// What follows from an input.
#[derive(PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// What everybody sees of the call is different.
    pub changed: bool,
    /// Somebody began to speak or fell silent.
    pub speakers: bool,
    /// Who is sent what may be different: see [`Call::wanted`].
    pub subscriptions: bool,
    /// Tracks that are to be passed on, or not any more.
    pub open: Vec<(TrackId, bool)>,
    pub told: Vec<(ParticipantId, Told)>,
    /// Who is not in the call any more.
    pub gone: Vec<ParticipantId>,
    pub recording: Option<Turn>,
}

fn counted(most: usize, one: &str, more: &str) -> String {
    format!("{most} {}", if most == 1 { one } else { more })
}

/// Why something was not done. The texts are shown to people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("at most {} part in one call; try again when somebody has left", counted(*.0, "takes", "take"))]
    Full(usize),
    #[error("at most {} on in one call; you are heard all the same", counted(*.0, "camera is", "cameras are"))]
    TooManyCameras(usize),
    #[error(
        "at most {} Mbit/s are sent into one call, and so much is now; somebody has to turn off a camera or a screen first", .0 / 1_000_000
    )]
    TooMuch(u64),
    #[error("at most {} shared in one call; somebody has to stop first", counted(*.0, "screen is", "screens are"))]
    TooManyScreens(usize),
    /// The page is behind: what it names has gone meanwhile.
    #[error("that is not in the call any more")]
    Gone,
    #[error("nobody hears what is asked of a stream; whoever sends it begins it anew")]
    NobodyThere,
    #[error(
        "this room's calls are end-to-end encrypted, and your page joined without; load the page again, and join with the key"
    )]
    Encrypted,
    #[error("this room's calls are not end-to-end encrypted any more; join again if that is what you want")]
    NotEncrypted,
    /// Whoever has no page has no key.
    #[error(
        "this room's calls are end-to-end encrypted, so only pages take part in them and nothing is recorded; a host can turn that off"
    )]
    Sealed,
    #[error("calls are not recorded on this server; whoever runs it can set media.recording_mib")]
    NotRecorded,
}

/// One who takes part.
#[derive(Debug)]
struct Participant {
    who: Authority,
    /// Counts who joined, so that lists have an order that does not change.
    order: u64,
    /// True: muted.
    tracks: BTreeMap<Source, bool>,
    wants: BTreeMap<TrackId, Option<Layer>>,
    lost: Option<Instant>,
    is_stream: bool,
    /// `None` until it is reported.
    connection: Option<Connection>,
}

/// A participant, as others see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub id: ParticipantId,
    pub principal: Principal,
    /// What is published, and whether it is muted.
    pub tracks: Vec<(Source, bool)>,
    /// The connection is gone; they may come back.
    pub lost: bool,
    /// Not a page but a program that sends.
    pub is_stream: bool,
    /// May publish a voice, so can be asked to.
    pub may_speak: bool,
    /// `None`: nobody says how it is, as of streams.
    pub quality: Option<Quality>,
}

#[derive(Debug)]
pub struct Call {
    limits: Limits,
    encrypted: bool,
    participants: BTreeMap<ParticipantId, Participant>,
    joined: u64,
    speakers: Speakers<ParticipantId>,
    recording: Option<Recorded>,
    keeps_recordings: bool,
    incoming: u64,
}

impl Call {
    /// `keeps_recordings`: whether calls may be recorded on this server.
    pub fn new(limits: Limits, keeps_recordings: bool) -> Self {
        let (participants, speakers) = (BTreeMap::new(), Speakers::default());
        let (joined, incoming) = (0, 0);
        Self { limits, encrypted: false, participants, joined, speakers, recording: None, keeps_recordings, incoming }
    }

    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// **Invariant:** it stays as it was while anybody is in the call. Whoever calls sees to that.
    pub fn set_encrypted(&mut self, encrypted: bool) {
        self.encrypted = encrypted;
    }

    /// What comes in of all that is passed on, in bits in a second. It sees no packet and has to be told.
    pub fn set_incoming(&mut self, bits: u64) {
        self.incoming = bits;
    }

    /// May something be begun that needs what frames contain: a stream, a viewer, a recording?
    pub fn lets_look_in(&self) -> Result<(), Refused> {
        if self.encrypted { Err(Refused::Sealed) } else { Ok(()) }
    }

    /// Who takes part, in the order in which they joined.
    pub fn seen(&self) -> Vec<Seen> {
        let mut all: Vec<_> = self.participants.iter().collect();
        all.sort_by_key(|(_, participant)| participant.order);
        let seen = |(id, participant): (&ParticipantId, &Participant)| Seen {
            id: id.clone(),
            principal: participant.who.principal.clone(),
            tracks: participant.tracks.iter().map(|(source, muted)| (*source, *muted)).collect(),
            lost: participant.lost.is_some(),
            is_stream: participant.is_stream,
            may_speak: participant.who.check(Source::Microphone.capability()).is_ok(),
            quality: participant.connection.as_ref().map(Connection::quality),
        };
        all.into_iter().map(seen).collect()
    }

    pub fn speakers(&self) -> Vec<ParticipantId> {
        self.speakers.iter().cloned().collect()
    }

    /// What each page reported last whose connection is not lost.
    pub fn reports(&self) -> impl Iterator<Item = (&ParticipantId, &Report)> {
        let connections = self.participants.iter().filter_map(|(id, of)| Some((id, of.connection.as_ref()?)));
        connections.filter(|(_, of)| of.quality() != Quality::Lost).map(|(id, of)| (id, of.last()))
    }

    /// What somebody publishes.
    pub fn published(&self, id: &ParticipantId) -> impl Iterator<Item = Source> {
        self.participants.get(id).into_iter().flat_map(|participant| participant.tracks.keys().copied())
    }

    /// What somebody is to be sent: everything that others publish, but what they do not want.
    pub fn wanted(&self, id: &ParticipantId) -> BTreeMap<TrackId, Layer> {
        let Some(receiver) = self.participants.get(id).filter(|receiver| !receiver.is_stream) else {
            return BTreeMap::new();
        };
        let published = self.participants.iter().filter(|(of, _)| *of != id).flat_map(|(of, participant)| {
            participant.tracks.keys().map(|source| TrackId { of: of.clone(), source: *source })
        });
        let layer = |track: TrackId| {
            // Until the page says how large it shows it.
            let layer = *receiver.wants.get(&track).unwrap_or(&Some(Layer::LOW));
            layer.map(|layer| (track, layer))
        };
        published.filter_map(layer).collect()
    }

    /// Is this passed on now?
    pub fn is_open(&self, track: &TrackId) -> bool {
        let participant = self.participants.get(&track.of);
        participant.and_then(|participant| participant.tracks.get(&track.source)).is_some_and(|muted| !muted)
    }

    /// When [`Input::Elapsed`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let lost = self.participants.values().filter_map(|participant| participant.lost).min();
        let silent =
            self.participants.values().filter_map(|participant| participant.connection.as_ref()?.deadline()).min();
        [lost.map(|lost| lost + KEPT_FOR), silent, self.speakers.deadline()].into_iter().flatten().min()
    }

    pub fn handle(&mut self, now: Instant, input: Input) -> Result<Effects, Refused> {
        let mut effects = Effects::default();
        match input {
            Input::Joined { id, who, is_stream, encrypts } => {
                who.check(Capability::Read)?;
                match (self.encrypted, encrypts) {
                    (true, false) if is_stream => self.lets_look_in()?,
                    (true, false) => return Err(Refused::Encrypted),
                    (false, true) => return Err(Refused::NotEncrypted),
                    (true, true) | (false, false) => {}
                }
                if self.participants.len() >= self.limits.participants {
                    return Err(Refused::Full(self.limits.participants));
                }
                let order = self.joined;
                self.joined += 1;
                let (tracks, wants) = (BTreeMap::new(), BTreeMap::new());
                let participant = Participant { who, order, tracks, wants, lost: None, is_stream, connection: None };
                self.participants.insert(id, participant);
                (effects.changed, effects.subscriptions) = (true, true);
            }
            Input::Left(id) => self.remove(&id, &mut effects),
            Input::Lost(id) => {
                let participant = self.participants.get_mut(&id).ok_or(Refused::Gone)?;
                participant.lost.get_or_insert(now);
                effects.changed = true;
                if participant.is_stream {
                    self.remove(&id, &mut effects);
                }
            }
            Input::Back { id, who } => {
                let participant = self.participants.get_mut(&id).ok_or(Refused::Gone)?;
                effects.changed = participant.lost.take().is_some();
                participant.who = who;
                for source in Source::ALL {
                    if self.participants[&id].who.check(source.capability()).is_err() {
                        self.publishes(&id, source, Publishing::Off, &mut effects)?;
                    }
                }
            }
            Input::Publishes { id, source, how } => self.publishes(&id, source, how, &mut effects)?,
            Input::Mute { by, track } => {
                let by = self.moderator(&by)?;
                let participant = self.participants.get_mut(&track.of).ok_or(Refused::Gone)?;
                let muted = participant.tracks.get_mut(&track.source).ok_or(Refused::Gone)?;
                if !*muted {
                    *muted = true;
                    effects.changed = true;
                    if track.source == Source::Microphone {
                        effects.speakers = self.speakers.silence(&track.of);
                    }
                    effects.told.push((track.of.clone(), Told::Muted { source: track.source, by }));
                    effects.open.push((track, false));
                }
            }
            Input::Ask { by, track } => {
                let by = self.moderator(&by)?;
                let participant = self.participants.get(&track.of).ok_or(Refused::Gone)?;
                // Whoever may not publish it must not be asked to.
                participant.who.check(track.source.capability())?;
                if participant.is_stream {
                    return Err(Refused::NobodyThere);
                }
                effects.told.push((track.of, Told::Asked { source: track.source, by }));
            }
            Input::LowerHand { by, of } => {
                let by = self.moderator(&by)?;
                if !self.participants.contains_key(&of) {
                    return Err(Refused::Gone);
                }
                effects.told.push((of, Told::HandLowered { by }));
            }
            Input::Want { id, track, layer } => {
                let others = self.participants.contains_key(&track.of);
                let participant = self.participants.get_mut(&id).ok_or(Refused::Gone)?;
                // Only of who is here, so that it cannot grow beyond what can be published.
                if others && participant.wants.insert(track, layer) != Some(layer) {
                    effects.subscriptions = true;
                }
            }
            Input::Heard { id, level } => {
                if self.is_open(&TrackId { of: id.clone(), source: Source::Microphone }) {
                    effects.speakers = self.speakers.heard(now, &id, level);
                }
            }
            Input::Reported { id, report } => {
                let participant = self.participants.get_mut(&id).ok_or(Refused::Gone)?;
                let before = participant.connection.as_ref().map(Connection::quality);
                match &mut participant.connection {
                    Some(connection) => connection.reported(now, &report),
                    none => *none = Some(Connection::new(now, &report)),
                }
                effects.changed = participant.connection.as_ref().map(Connection::quality) != before;
            }
            Input::Record { by, on } => self.record(&by, on, &mut effects)?,
            Input::Agrees { id, on } => self.agrees(&id, on, &mut effects)?,
            Input::RecordingEnded(state) => self.recording_ends(state, &mut effects),
            Input::Elapsed => {
                let is_over = |participant: &Participant| participant.lost.is_some_and(|lost| now >= lost + KEPT_FOR);
                let over = self.participants.iter().filter(|(_, participant)| is_over(participant));
                let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
                for id in over {
                    self.remove(&id, &mut effects);
                }
                for connection in
                    self.participants.values_mut().filter_map(|participant| participant.connection.as_mut())
                {
                    let before = connection.quality();
                    connection.elapsed(now);
                    effects.changed |= connection.quality() != before;
                }
                effects.speakers |= self.speakers.elapsed(now);
            }
        }
        Ok(effects)
    }

    fn publishes(
        &mut self,
        id: &ParticipantId,
        source: Source,
        how: Publishing,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let all = self.participants.values().filter(|participant| participant.tracks.contains_key(&source)).count();
        let participant = self.participants.get_mut(id).ok_or(Refused::Gone)?;
        let before = participant.tracks.get(&source).copied();
        let track = TrackId { of: id.clone(), source };
        if how == Publishing::Off {
            if participant.tracks.remove(&source).is_some() {
                effects.open.push((track, false));
                (effects.changed, effects.subscriptions) = (true, true);
            }
        } else {
            participant.who.check(source.capability())?;
            match source {
                Source::Camera if before.is_none() && all >= self.limits.cameras => {
                    return Err(Refused::TooManyCameras(self.limits.cameras));
                }
                Source::Screen if before.is_none() && all >= self.limits.screens => {
                    return Err(Refused::TooManyScreens(self.limits.screens));
                }
                // A voice is too little to be refused for it.
                Source::Camera | Source::Screen
                    if how == Publishing::On && before != Some(false) && self.incoming >= self.limits.bits =>
                {
                    return Err(Refused::TooMuch(self.limits.bits));
                }
                _ => {}
            }
            let muted = how == Publishing::Muted;
            participant.tracks.insert(source, muted);
            effects.subscriptions |= before.is_none();
            if before != Some(muted) {
                effects.changed = true;
                effects.open.push((track, !muted));
            }
        }
        if how != Publishing::On && source == Source::Microphone {
            effects.speakers |= self.speakers.silence(id);
        }
        Ok(())
    }

    fn moderator(&self, by: &ParticipantId) -> Result<Principal, Refused> {
        let by = self.participants.get(by).ok_or(Refused::Gone)?;
        by.who.check(Capability::Moderate)?;
        Ok(by.who.principal.clone())
    }

    fn remove(&mut self, id: &ParticipantId, effects: &mut Effects) {
        if self.participants.remove(id).is_none() {
            return;
        }
        for participant in self.participants.values_mut() {
            participant.wants.retain(|track, _| track.of != *id);
        }
        effects.speakers |= self.speakers.silence(id);
        (effects.changed, effects.subscriptions) = (true, true);
        effects.gone.push(id.clone());
        if self.participants.is_empty() {
            self.recording_ends(State::Complete, effects);
        }
    }
}

#[cfg(test)]
mod tests;
