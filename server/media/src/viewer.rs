//! What somebody is sent who takes no part and says nothing (WHEP): of all tracks of a call as many as their lines carry, the most
//! important ones. Pure.
//!
//! A line shows one track at a time: with one line for pictures that is a shared screen, or else whoever speaks, or who spoke last.

use std::collections::{BTreeMap, BTreeSet};

use buildspaces_kernel::ids::ParticipantId;

use crate::call::{Seen, Source, TrackId};
use crate::router::{Kind, Layer};

/// What a viewer wants of a call; all of it by default.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Choice {
    /// The id of a participant, or of a person or agent, who may come later.
    pub of: Option<String>,
    /// One kind of picture only.
    pub picture: Option<Source>,
}

/// Somebody who looks on.
#[derive(Debug)]
pub struct Viewer {
    lines: Vec<Kind>,
    choice: Choice,
    shown: BTreeSet<TrackId>,
}

impl Viewer {
    pub fn new(lines: Vec<Kind>, choice: Choice) -> Self {
        Self { lines, choice, shown: BTreeSet::new() }
    }

    /// What each of their lines carries.
    pub fn lines(&self) -> &[Kind] {
        &self.lines
    }

    /// What they are to be sent now. Each track up to its largest layer: how large it is shown nobody says.
    pub fn choose(&mut self, seen: &[Seen], speakers: &[ParticipantId]) -> BTreeMap<TrackId, Layer> {
        let is_wanted = |one: &&Seen| match &self.choice.of {
            Some(of) => one.id.as_str() == of || one.principal.id.as_str() == of,
            None => true,
        };
        let tracks = |one: &Seen| -> Vec<(TrackId, bool)> {
            one.tracks.iter().map(|(source, muted)| (TrackId { of: one.id.clone(), source: *source }, *muted)).collect()
        };
        let mut all: Vec<_> = seen.iter().filter(is_wanted).flat_map(tracks).collect();
        all.retain(|(track, _)| {
            track.source.kind() == Kind::Audio || self.choice.picture.is_none_or(|only| track.source == only)
        });
        // Stable, so that those of one importance keep the order in which they came.
        all.sort_by_key(|(track, muted)| {
            let speaks = speakers.contains(&track.of);
            (*muted, track.source != Source::Screen, !speaks, !self.shown.contains(track))
        });
        self.shown.clear();
        for kind in [Kind::Audio, Kind::Video] {
            let lines = self.lines.iter().filter(|line| **line == kind).count();
            let of_kind = all.iter().filter(|(track, _)| track.source.kind() == kind).take(lines);
            self.shown.extend(of_kind.map(|(track, _)| track.clone()));
        }
        self.shown.iter().map(|track| (track.clone(), Layer::HIGH)).collect()
    }
}

#[cfg(test)]
mod tests {
    use buildspaces_kernel::ids::PrincipalId;
    use buildspaces_policy::{Principal, PrincipalKind};

    use super::*;

    fn id(name: &str) -> ParticipantId {
        ParticipantId::parse(name).expect("an id")
    }

    fn seen(name: &str, tracks: &[(Source, bool)]) -> Seen {
        let person = PrincipalId::parse(&format!("person-{name}")).expect("an id");
        let principal = Principal { id: person, kind: PrincipalKind::Person, name: name.into() };
        let tracks = tracks.to_vec();
        Seen { id: id(name), principal, tracks, lost: false, is_stream: false, may_speak: true, quality: None }
    }

    fn names(chosen: &BTreeMap<TrackId, Layer>) -> Vec<String> {
        chosen.keys().map(ToString::to_string).collect()
    }

    const BOTH: [(Source, bool); 2] = [(Source::Microphone, false), (Source::Camera, false)];

    #[test]
    fn one_line_of_each_shows_who_speaks_and_stays_when_nobody_does() {
        let mut viewer = Viewer::new(vec![Kind::Audio, Kind::Video], Choice::default());
        let call = [seen("ada", &BOTH), seen("bob", &BOTH), seen("eve", &BOTH)];
        assert_eq!(names(&viewer.choose(&[], &[])), [""; 0]);
        assert_eq!(names(&viewer.choose(&call, &[])), ["ada/microphone", "ada/camera"]);
        assert_eq!(names(&viewer.choose(&call, &[id("bob")])), ["bob/microphone", "bob/camera"]);
        // Who interrupts is shown when the other has ended.
        assert_eq!(names(&viewer.choose(&call, &[id("ada"), id("bob")])), ["bob/microphone", "bob/camera"]);
        assert_eq!(names(&viewer.choose(&call, &[id("ada")])), ["ada/microphone", "ada/camera"]);
        assert_eq!(names(&viewer.choose(&call, &[])), ["ada/microphone", "ada/camera"]);
        assert_eq!(names(&viewer.choose(&call[1..], &[])), ["bob/microphone", "bob/camera"]);
    }

    #[test]
    fn a_screen_comes_before_a_face_and_what_is_muted_last() {
        let mut viewer = Viewer::new(vec![Kind::Video], Choice::default());
        let muted = [(Source::Camera, true)];
        let screen = [(Source::Camera, false), (Source::Screen, false)];
        let call = [seen("ada", &muted), seen("bob", &BOTH)];
        assert_eq!(names(&viewer.choose(&call, &[])), ["bob/camera"]);
        assert_eq!(names(&viewer.choose(&call[..1], &[])), ["ada/camera"]);
        let call = [seen("ada", &BOTH), seen("bob", &screen)];
        assert_eq!(names(&viewer.choose(&call, &[id("ada")])), ["bob/screen"]);
        let mut two = Viewer::new(vec![Kind::Video, Kind::Video], Choice::default());
        assert_eq!(names(&two.choose(&call, &[id("bob")])), ["bob/camera", "bob/screen"]);
    }

    #[test]
    fn one_participant_or_one_kind_of_picture_can_be_chosen() {
        let call = [seen("ada", &BOTH), seen("bob", &[(Source::Camera, false), (Source::Screen, false)])];
        let chosen = |of: Option<&str>, picture| {
            let choice = Choice { of: of.map(str::to_owned), picture };
            names(&Viewer::new(vec![Kind::Audio, Kind::Video], choice).choose(&call, &[]))
        };
        assert_eq!(chosen(Some("ada"), None), ["ada/microphone", "ada/camera"]);
        assert_eq!(chosen(Some("person-ada"), None), ["ada/microphone", "ada/camera"]);
        assert_eq!(chosen(Some("bob"), Some(Source::Camera)), ["bob/camera"]);
        assert_eq!(chosen(None, Some(Source::Camera)), ["ada/microphone", "ada/camera"]);
        assert_eq!(chosen(Some("nobody"), None), [""; 0]);
    }
}
