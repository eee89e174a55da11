//! The texts of a call's WebSocket, in JSON. See docs/protocols.md.

use std::time::Duration;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::ParticipantId;
use buildspaces_media::call::{Publishing, Seen, Source as MediaSource, TrackId};
use buildspaces_media::calls::{Heard, Said, View};
use buildspaces_media::quality::{Quality, Report, Trouble};
use buildspaces_media::router::Layer as MediaLayer;
use buildspaces_policy::{Principal, PrincipalKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Person;
use crate::media::ice::{IceServer, IceServers};

/// Sections of one offer. A page needs three.
const MAX_SECTIONS: usize = 16;

/// Characters of a section's name. Browsers count.
const MAX_MID: usize = 32;

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = CallSource)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Microphone,
    Camera,
    Screen,
}

impl From<Source> for MediaSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Microphone => Self::Microphone,
            Source::Camera => Self::Camera,
            Source::Screen => Self::Screen,
        }
    }
}

impl From<MediaSource> for Source {
    fn from(source: MediaSource) -> Self {
        match source {
            MediaSource::Microphone => Self::Microphone,
            MediaSource::Camera => Self::Camera,
            MediaSource::Screen => Self::Screen,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    Off,
    Muted,
    On,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layer {
    Low,
    Middle,
    High,
}

impl From<Layer> for MediaLayer {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Low => Self::LOW,
            Layer::Middle => Self::MIDDLE,
            Layer::High => Self::HIGH,
        }
    }
}

impl From<MediaLayer> for Layer {
    fn from(layer: MediaLayer) -> Self {
        match layer {
            MediaLayer::LOW => Self::Low,
            MediaLayer::MIDDLE => Self::Middle,
            _ => Self::High,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    mid: String,
    source: Source,
}

/// A text from a page.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromPage {
    Join {
        resume: Option<String>,
        /// It encrypts what it sends. A page that does not know of that does not.
        #[serde(default)]
        encrypted: bool,
    },
    /// The offer of what it sends.
    Offer {
        neg: u32,
        sdp: String,
        sections: Vec<Section>,
    },
    /// The answer to what it is sent.
    Answer {
        neg: u32,
        sdp: String,
    },
    /// What it is sent should be offered with a new ICE session.
    Restart {},
    Set {
        source: Source,
        state: How,
    },
    /// How large it shows a track; nothing if left out.
    Want {
        track: String,
        layer: Option<Layer>,
    },
    /// How its connections were since it said so last: packets in a thousand that did not arrive, milliseconds, bits in a second.
    Report {
        sent_lost: u16,
        received_lost: u16,
        round_trip: u16,
        sent: u64,
        received: u64,
    },
    Mute {
        track: String,
    },
    Ask {
        track: String,
    },
    /// This participant's raised hand should be taken down.
    LowerHand {
        participant: String,
    },
    /// The call should be recorded, or no more.
    Record {
        on: bool,
    },
    /// Agrees to be recorded, or no more.
    Agree {
        on: bool,
        /// Its `started_at`.
        recording: UnixMillis,
    },
    Leave {},
}

impl FromPage {
    /// `None` if it names what cannot be.
    pub(crate) fn into_said(self) -> Option<Said> {
        Some(match self {
            Self::Join { resume, encrypted } => Said::Join { resume, encrypted },
            Self::Offer { sections, .. }
                if sections.len() > MAX_SECTIONS || sections.iter().any(|section| section.mid.len() > MAX_MID) =>
            {
                return None;
            }
            Self::Offer { neg, sdp, sections } => {
                let sections = sections.into_iter().map(|section| (section.mid, section.source.into())).collect();
                Said::Publish { neg, sdp, sections }
            }
            Self::Answer { neg, sdp } => Said::Answer { neg, sdp },
            Self::Restart {} => Said::Restart,
            Self::Set { source, state } => {
                let how = match state {
                    How::Off => Publishing::Off,
                    How::Muted => Publishing::Muted,
                    How::On => Publishing::On,
                };
                Said::Set { source: source.into(), how }
            }
            Self::Want { track, layer } => Said::Want { track: TrackId::parse(&track)?, layer: layer.map(Into::into) },
            Self::Report { sent_lost, received_lost, .. } if sent_lost.max(received_lost) > 1000 => return None,
            Self::Report { sent_lost, received_lost, round_trip, sent, received } => {
                let round_trip = Duration::from_millis(round_trip.into());
                Said::Report(Report { sent_lost, received_lost, round_trip, sent, received })
            }
            Self::Mute { track } => Said::Mute { track: TrackId::parse(&track)? },
            Self::Ask { track } => Said::Ask { track: TrackId::parse(&track)? },
            Self::LowerHand { participant } => Said::LowerHand { of: ParticipantId::parse(&participant)? },
            Self::Record { on } => Said::Record { on },
            Self::Agree { on, recording } => Said::Agree { on, recording },
            Self::Leave {} => Said::Leave,
        })
    }
}

/// A text to a page.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToPage {
    /// Everybody who takes part. Sent whenever it changes.
    Call {
        /// Pages encrypt what they send, and only those that do may join.
        encrypted: bool,
        participants: Vec<Participant>,
    },
    /// Who is heard right now.
    Speakers {
        participants: Vec<String>,
    },
    /// Who is sent the call without taking part, once for each time.
    Viewers {
        people: Vec<Person>,
    },
    /// Whether the call is recorded. `failed`: why the last recording ended, as a sentence, if nobody wanted that.
    Recording {
        recording: Option<Recording>,
        failed: Option<&'static str>,
    },
    Joined {
        participant: String,
        /// Keep it: `join` with it within 20 s of a lost connection goes on with the same media.
        resume: String,
        resumed: bool,
        /// For both of its connections, from now on.
        ice_servers: Vec<IceServer>,
    },
    Offer {
        neg: u32,
        sdp: String,
    },
    Answer {
        neg: u32,
        sdp: String,
    },
    /// Which section of the last offer carries what.
    Slots {
        slots: Vec<Slot>,
    },
    /// Tracks for which the page's line has no room now: sent smaller than they are shown, and not at all. And those that are not sent because
    /// the page agreed to no codec that they have.
    Held {
        reduced: Vec<String>,
        paused: Vec<String>,
        undecodable: Vec<String>,
    },
    /// The largest layer of what this page publishes that anybody shows; without one nobody does. What is above need not be sent.
    Needed {
        source: Source,
        layer: Option<Layer>,
    },
    Muted {
        source: Source,
        by: String,
    },
    Asked {
        source: Source,
        by: String,
    },
    /// Somebody took the page's raised hand down.
    HandLowered {
        by: String,
    },
    /// The report was heard, and so is what else is said on this connection.
    Reported {},
    Refused {
        message: String,
    },
    /// `again`: a connection broke; join anew.
    Ended {
        again: bool,
    },
}

#[derive(Serialize)]
pub(crate) struct Participant {
    id: String,
    person: Person,
    kind: &'static str,
    tracks: Vec<Track>,
    /// The connection is lost; they may come back.
    away: bool,
    /// They may publish a voice, so they can be asked to.
    speaks: bool,
    /// How well they are connected: `good`, bad by `loss` or `delay`, or `lost`. Null: nobody says.
    quality: Option<&'static str>,
}

/// A recording that goes on.
#[derive(Serialize)]
pub(crate) struct Recording {
    /// Who started it.
    by: Person,
    started_at: UnixMillis,
    /// Participants who agreed to be recorded; nothing of anybody else is.
    agreed: Vec<String>,
}

#[derive(Serialize)]
struct Track {
    id: String,
    source: Source,
    muted: bool,
}

#[derive(Serialize)]
pub(crate) struct Slot {
    mid: String,
    track: String,
}

impl From<&Seen> for Participant {
    fn from(seen: &Seen) -> Self {
        let track = |(source, muted): &(MediaSource, bool)| Track {
            id: TrackId { of: seen.id.clone(), source: *source }.to_string(),
            source: (*source).into(),
            muted: *muted,
        };
        Self {
            id: seen.id.to_string(),
            person: Person::from(&seen.principal),
            kind: match seen.principal.kind {
                _ if seen.is_stream => "stream",
                PrincipalKind::Agent => "agent",
                _ => "person",
            },
            tracks: seen.tracks.iter().map(track).collect(),
            away: seen.lost,
            speaks: seen.may_speak,
            quality: seen.quality.map(|quality| match quality {
                Quality::Good => "good",
                Quality::Poor(Trouble::Loss) => "loss",
                Quality::Poor(Trouble::Delay) => "delay",
                Quality::Lost => "lost",
            }),
        }
    }
}

impl ToPage {
    pub(crate) fn of(heard: Heard, ice_servers: &IceServers) -> Self {
        let name = |by: Principal| by.name.to_string();
        match heard {
            Heard::Joined { participant, resume, resumed } => {
                let participant = participant.to_string();
                let ice_servers = ice_servers.for_user(&participant, unix_millis());
                Self::Joined { participant, resume, resumed, ice_servers }
            }
            Heard::Answer { neg, sdp } => Self::Answer { neg, sdp },
            Heard::Offer { neg, sdp } => Self::Offer { neg, sdp },
            Heard::Slots(slots) => {
                let slots = slots.into_iter().map(|(mid, track)| Slot { mid, track: track.to_string() }).collect();
                Self::Slots { slots }
            }
            Heard::Muted { source, by } => Self::Muted { source: source.into(), by: name(by) },
            Heard::Asked { source, by } => Self::Asked { source: source.into(), by: name(by) },
            Heard::HandLowered { by } => Self::HandLowered { by: name(by) },
            Heard::Held { reduced, paused, undecodable } => {
                let names = |tracks: Vec<TrackId>| tracks.iter().map(ToString::to_string).collect();
                Self::Held { reduced: names(reduced), paused: names(paused), undecodable: names(undecodable) }
            }
            Heard::Needed { source, layer } => Self::Needed { source: source.into(), layer: layer.map(Into::into) },
            Heard::Reported => Self::Reported {},
            Heard::Refused(refusal) => Self::Refused { message: refusal.to_string() },
            Heard::Ended { again } => Self::Ended { again },
        }
    }

    pub(crate) fn recording(view: &View) -> Self {
        let recording = view.recording.as_ref().map(|recording| Recording {
            by: Person::from(&recording.by),
            started_at: recording.started_at,
            agreed: recording.agreed.iter().map(ToString::to_string).collect(),
        });
        Self::Recording { recording, failed: view.recording_failed }
    }

    pub(crate) fn speakers(speakers: &[ParticipantId]) -> Self {
        Self::Speakers { participants: speakers.iter().map(ToString::to_string).collect() }
    }
}
