//! Snapshots: what a document was at one moment, in the few bytes of its state vector and of what was deleted by then.

use yrs::updates::encoder::Encode;
use yrs::{ReadTxn, Transact};

use super::Replica;
use crate::Malformed;
use crate::update::{self, Snapshot};

/// Why a document cannot be read as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no snapshot.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What is deleted leaves the memory of this replica: begin with [`Replica::keeping_deleted`].
    #[error("this document does not keep what is deleted")]
    Forgotten,
    /// It is one of another document, or of a later state.
    #[error("the snapshot has something that this document has not")]
    Unknown,
}

impl Replica {
    /// What the document is now, as Yjs' `encodeSnapshot` writes it.
    pub fn snapshot(&self) -> Vec<u8> {
        self.doc().transact().snapshot().encode_v1()
    }

    /// What the document was at `snapshot`, as an update for an empty one. Only what this replica itself saw deleted is there again: what
    /// came deleted came without its content.
    pub fn state_at(&self, snapshot: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        let snapshot = Snapshot::parse(snapshot)?;
        if !self.doc().skip_gc() {
            return Err(SnapshotError::Forgotten);
        }
        if snapshot.clocks.iter().any(|(client, clock)| *clock > self.gate.clock(*client)) {
            return Err(SnapshotError::Unknown);
        }
        let state = self.state();
        let past = update::as_of(&update::parse(&state)?, snapshot)?;
        // A snapshot that was made up may have one element without what that builds on, or deletions of what it has not.
        match Self::new().apply(&past) {
            Ok(super::Applied::Missing) => Err(SnapshotError::Unknown),
            Ok(_) => Ok(past),
            Err(super::Error::Malformed(error)) => Err(error.into()),
            Err(super::Error::TooMuch | super::Error::Broken(_)) => Err(SnapshotError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::{Text, TextRef};

    fn edit(replica: &mut Replica, edit: impl FnOnce(&TextRef, &mut yrs::TransactionMut<'_>)) {
        let text = replica.doc().get_or_insert_text("text");
        replica.edit(|txn| edit(&text, txn)).expect("it changes something");
    }

    #[test]
    fn a_document_is_read_as_it_was_at_each_moment() {
        let mut replica = Replica::keeping_deleted();
        let mut moments = vec![(replica.snapshot(), String::new())];
        let mut seed = 3u32;
        let mut random = |bound: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % bound
        };
        for step in 0..300 {
            let len = replica.text("text").encode_utf16().count();
            if random(3) == 0 && len > 4 {
                // Never half of a pair: those are written in twos at even places.
                let at = random(len / 2 - 1) * 2;
                edit(&mut replica, |text, txn| text.remove_range(txn, at as u32, 2));
            } else {
                let at = if random(2) == 0 { len } else { random(len / 2 + 1) * 2 };
                let chunk = ["ab", "😀", "äö", "xy😀"][step % 4];
                edit(&mut replica, |text, txn| text.insert(txn, at as u32, chunk));
            }
            moments.push((replica.snapshot(), replica.text("text")));
        }
        for (snapshot, text) in &moments {
            let mut past = Replica::new();
            past.apply(&replica.state_at(snapshot).expect("it is one of this document")).expect("valid");
            assert_eq!(past.text("text"), *text);
        }
    }

    #[test]
    fn one_element_of_a_longer_struct_is_one_element() {
        let mut replica = Replica::keeping_deleted();
        edit(&mut replica, |text, txn| text.insert(txn, 0, "h"));
        let snapshot = replica.snapshot();
        edit(&mut replica, |text, txn| text.insert(txn, 1, "ello"));
        let mut past = Replica::new();
        past.apply(&replica.state_at(&snapshot).expect("known")).expect("valid");
        assert_eq!(past.text("text"), "h");
    }

    #[test]
    fn snapshots_of_others_and_nonsense_are_refused() {
        let mut replica = Replica::keeping_deleted();
        edit(&mut replica, |text, txn| text.insert(txn, 0, "mine"));
        let mut other = Replica::keeping_deleted();
        edit(&mut other, |text, txn| text.insert(txn, 0, "theirs"));
        assert_eq!(replica.state_at(&other.snapshot()), Err(SnapshotError::Unknown));
        assert!(matches!(replica.state_at(&[9, 9]), Err(SnapshotError::Malformed(_))));
        // Deletions of elements that the snapshot itself has not.
        edit(&mut replica, |text, txn| text.remove_range(txn, 0, 4));
        let snapshot = replica.snapshot();
        let only_deletions = [&snapshot[..snapshot.len() - replica.state_vector().len()], &[0]].concat();
        assert_eq!(replica.state_at(&only_deletions), Err(SnapshotError::Unknown));
        let mut forgetful = Replica::new();
        edit(&mut forgetful, |text, txn| text.insert(txn, 0, "x"));
        assert_eq!(forgetful.state_at(&forgetful.snapshot()), Err(SnapshotError::Forgotten));
    }
}
