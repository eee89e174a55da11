//! Which line of a receiver's connection carries which track. Pure.
//!
//! A *slot* is one line of the session description that is ours to send on. It outlives the tracks that use it: when a camera goes
//! off and another goes on, the other takes its slot, and nothing is negotiated. So descriptions grow only to the most that was
//! ever sent at once.

use std::collections::BTreeMap;

use crate::router::Kind;

/// A slot's place in the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotId(pub usize);

/// Slots of one kind that one receiver may have. What is wanted beyond is not sent. Pictures are what a page can show; a voice that is not
/// sent would be missed by everybody, so there are as many as the largest call has participants.
pub fn max_slots(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 200,
        Kind::Video => 48,
    }
}

/// Slots in order of their making, and what they carry.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<(Kind, Option<T>)>,
}

/// What must happen so that what is wanted is carried.
#[derive(PartialEq, Eq, Debug)]
pub struct Changes<T> {
    pub detach: Vec<(SlotId, T)>,
    pub attach: Vec<(SlotId, T)>,
    /// Slots that are missing: make them, negotiate, [`Slots::add`] them, and look again.
    pub missing: Vec<Kind>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T: Ord + Clone> Slots<T> {
    pub fn add(&mut self, kind: Kind) -> SlotId {
        self.slots.push((kind, None));
        SlotId(self.slots.len() - 1)
    }

    /// Gives free slots to what is wanted, the first first, and takes back the slots of what is not wanted any more.
    pub fn assign(&mut self, wanted: &BTreeMap<T, Kind>) -> Changes<T> {
        let mut changes = Changes { detach: Vec::new(), attach: Vec::new(), missing: Vec::new() };
        for (at, (_, carries)) in self.slots.iter_mut().enumerate() {
            if let Some(track) = carries.take_if(|track| !wanted.contains_key(track)) {
                changes.detach.push((SlotId(at), track));
            }
        }
        for (track, kind) in wanted {
            if self.slots.iter().any(|(_, carries)| carries.as_ref() == Some(track)) {
                continue;
            }
            let free = self.slots.iter_mut().enumerate().find(|(_, (of, carries))| of == kind && carries.is_none());
            if let Some((at, (_, carries))) = free {
                *carries = Some(track.clone());
                changes.attach.push((SlotId(at), track.clone()));
                continue;
            }
            let have = self.slots.iter().filter(|(of, _)| of == kind).count();
            let coming = changes.missing.iter().filter(|of| *of == kind).count();
            if have + coming < max_slots(*kind) {
                changes.missing.push(*kind);
            }
        }
        changes
    }

    /// What is carried where.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        self.slots.iter().enumerate().filter_map(|(at, (_, carries))| Some((SlotId(at), carries.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(tracks: &[(&'static str, Kind)]) -> BTreeMap<&'static str, Kind> {
        tracks.iter().copied().collect()
    }

    #[test]
    fn a_slot_that_is_free_again_is_used_without_negotiation() {
        let mut slots = Slots::default();
        let (ada, bob) = (("ada", Kind::Video), ("bob", Kind::Video));
        assert_eq!(slots.assign(&wanted(&[ada])).missing, [Kind::Video]);
        let first = slots.add(Kind::Video);
        assert_eq!(slots.assign(&wanted(&[ada])).attach, [(first, "ada")]);
        assert_eq!(
            slots.assign(&wanted(&[bob])),
            Changes { detach: vec![(first, "ada")], attach: vec![(first, "bob")], missing: vec![] }
        );
        let both = slots.assign(&wanted(&[ada, bob]));
        assert_eq!((both.missing, both.attach.len()), (vec![Kind::Video], 0));
    }

    #[test]
    fn sound_does_not_take_the_place_of_pictures() {
        let mut slots = Slots::default();
        slots.add(Kind::Video);
        let changes = slots.assign(&wanted(&[("ada", Kind::Audio)]));
        assert_eq!((changes.attach.len(), changes.missing), (0, vec![Kind::Audio]));
    }

    #[test]
    fn what_is_wanted_beyond_the_bound_is_not_sent() {
        for (kind, most) in [(Kind::Audio, 200), (Kind::Video, 48)] {
            let mut slots = Slots::default();
            let many: BTreeMap<usize, Kind> = (0..most + 9).map(|track| (track, kind)).collect();
            let missing = slots.assign(&many).missing;
            assert_eq!(missing.len(), most);
            for kind in missing {
                slots.add(kind);
            }
            let changes = slots.assign(&many);
            assert_eq!((changes.attach.len(), changes.missing.len()), (most, 0));
            assert_eq!(slots.iter().count(), most);
        }
    }
}
