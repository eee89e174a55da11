//! Edits of a plain text whose places are known: written as an update, which yrs integrates by search instead of by walking.
//!
//! It is one text at a time, at the top of the document, without formats (their marks have a place among the elements, which nobody sees) and
//! without anything embedded. Whatever else changes the text makes its places unknown. They are found again, in one walk, after as many
//! edits were made by walking as cost about the same. That does not tell what is deleted between two pieces: the first insertion there walks,
//! and what yrs then writes tells.

use buildspaces_crdt::history;
use buildspaces_crdt::update::write::{self, Element};
use yrs::updates::decoder::Decode;
use yrs::{BranchID, ReadTxn, Update};

use super::places::Places;
use super::{Document, Error, Kind, TypeId, with};

/// Edits by walking before the places are looked for. Finding them costs about as much as a few of these.
pub(super) const PATIENCE: u32 = 8;

/// What is known of the places of one text.
#[derive(Default)]
pub(super) struct Quick {
    known: Option<(TypeId, Places)>,
    /// Edits by walking since the places were last looked for.
    pub(super) walked: u32,
}

impl Quick {
    /// The document is changed in another way.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// A text is edited in another way.
    pub(super) fn walk(&mut self, of: TypeId) {
        self.walked = self.walked.saturating_add(1);
        if self.knows(of) {
            self.forget();
        }
    }

    pub(super) fn knows(&self, of: TypeId) -> bool {
        self.known.as_ref().is_some_and(|(known, _)| *known == of)
    }
}

impl Document {
    /// False if it has to be done by walking; then nothing happened.
    pub(super) fn insert_quickly(&mut self, now: u64, of: TypeId, index: u32, chunk: &str) -> Result<bool, Error> {
        if chunk.is_empty() {
            return Ok(false);
        }
        self.edit_quickly(now, of, |places, first| {
            let (left, right) = places.insert(index, first, chunk)?;
            write::insertion(first, left, right, chunk)
        })
    }

    /// False if it has to be done by walking; then nothing happened.
    pub(super) fn delete_quickly(&mut self, now: u64, of: TypeId, index: u32, len: u32) -> Result<bool, Error> {
        if len == 0 {
            return Ok(false);
        }
        self.edit_quickly(now, of, |places, _| Some(write::deletion(&places.remove(index, len)?)))
    }

    /// What was just inserted by walking was inserted here.
    pub(super) fn learn(&mut self, index: u32, chunk: &str) {
        let Some((_, places)) = &mut self.quick.known else { return };
        let inserted = self.updates.last().and_then(|update| write::inserted(update));
        let is_learnt = inserted.is_some_and(|(first, left, right)| places.learn(index, first, (left, right), chunk));
        if !is_learnt {
            self.quick.forget();
        }
    }

    fn edit_quickly(
        &mut self,
        now: u64,
        of: TypeId,
        edit: impl FnOnce(&mut Places, Element) -> Option<Vec<u8>>,
    ) -> Result<bool, Error> {
        if !self.quick.knows(of) && !self.find_places(of) {
            return Ok(false);
        }
        let is_own = !self.is_open();
        if is_own {
            self.begin(now, None)?;
        }
        let client = self.client_id();
        let Self { open, replica, quick, .. } = self;
        let Some((_, places)) = &mut quick.known else { return Ok(false) };
        let written = with(open, replica, |txn| {
            let update = edit(places, Element { client, clock: txn.store().get_local_state() })?;
            let applied = Update::decode_v1(&update).map_err(|e| e.to_string());
            Some(applied.and_then(|decoded| txn.apply_update(decoded).map_err(|e| e.to_string())).map(|()| update))
        });
        match written {
            None => {
                if is_own {
                    self.commit()?;
                }
                Ok(false)
            }
            Some(Err(cause)) => Err(self.give_up(cause)),
            Some(Ok(update)) => {
                if is_own {
                    self.open = None;
                    self.note(update)?;
                }
                Ok(true)
            }
        }
    }

    fn find_places(&mut self, of: TypeId) -> bool {
        if self.is_open() || self.quick.walked < PATIENCE || self.replica.has_formats() {
            return false;
        }
        let Some((BranchID::Root(name), Kind::Text)) = self.types.all.get(of.0 as usize) else { return false };
        let places = Places::new(&history::pieces(&self.replica, name), !self.replica.has_deleted());
        self.quick.walked = 0;
        // What is embedded is no text, and has a place all the same.
        let is_whole = self.text_len(of) == Ok(places.len());
        if is_whole {
            self.quick.known = Some((of, places));
        }
        is_whole
    }
}

#[cfg(test)]
mod tests;
