//! Undo and redo of one's own changes, by their origin. What others did meanwhile stays.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use yrs::undo::{Options, UndoManager};
use yrs::{BranchID, Origin, XmlFragmentRef};

use super::{Document, Error, Kind, TypeId};

/// One history of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UndoId(pub u32);

/// Under which name changes are caught that yrs makes by itself.
const CATCH: &str = "undo";

impl Document {
    /// Begins to remember changes with one of `origins` (none: those without one) within types at the top of the document. Changes that
    /// follow each other within `pause_ms` are one step.
    pub fn new_undo(&mut self, scope: &[TypeId], origins: &[String], pause_ms: u64) -> Result<UndoId, Error> {
        self.not_open()?;
        for of in scope {
            // yrs holds pointers to them, and only these are never freed.
            if matches!(self.types.all.get(of.0 as usize), None | Some((BranchID::Nested(_), _))) {
                return Err(Error::WrongKind(self.kind(*of)));
            }
        }
        let now = self.now.clone();
        let tracked: HashSet<Origin> = match origins {
            [] => HashSet::from([Origin::from(super::LOCAL)]),
            some => some.iter().map(|origin| Origin::from(origin.as_str())).collect(),
        };
        let mut manager = UndoManager::with_options(Options {
            capture_timeout_millis: pause_ms,
            tracked_origins: tracked,
            capture_transaction: None,
            timestamp: Arc::new(move || now.load(Ordering::Relaxed)),
            init_undo_stack: Vec::new(),
            init_redo_stack: Vec::new(),
        });
        let doc = self.replica.doc().clone();
        let all = [Kind::Text, Kind::Map, Kind::Array, Kind::XmlFragment, Kind::XmlElement, Kind::XmlText];
        for of in scope {
            let branch = self.read(|txn, types| types.branch(txn, *of, &all))?;
            // Which type it is taken for does not matter here.
            manager.expand_scope(&doc, &XmlFragmentRef::from(branch));
        }
        self.undo.push(Some(manager));
        Ok(UndoId(u32::try_from(self.undo.len() - 1).expect("few")))
    }

    /// Takes the last step back. False if there is none.
    pub fn undo(&mut self, now: u64, id: UndoId) -> Result<bool, Error> {
        self.step(now, id, UndoManager::undo_blocking)
    }

    pub fn redo(&mut self, now: u64, id: UndoId) -> Result<bool, Error> {
        self.step(now, id, UndoManager::redo_blocking)
    }

    fn step(&mut self, now: u64, id: UndoId, step: impl FnOnce(&mut UndoManager<()>) -> bool) -> Result<bool, Error> {
        self.not_open()?;
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        self.now.store(now, Ordering::Relaxed);
        self.quick.forget();
        let doc = self.replica.doc().clone();
        let Some(Some(manager)) = self.undo.get_mut(id.0 as usize) else { return Ok(false) };
        let caught: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let catch = caught.clone();
        let caught_by = doc.observe_update_v1(CATCH, move |_, event| {
            catch.lock().expect("nobody panics while catching").push(event.update.clone());
        });
        caught_by.map_err(|_| Error::Busy)?;
        self.seen.set_undo(true);
        let is_done = step(manager);
        self.seen.set_undo(false);
        doc.unobserve_update_v1(CATCH).map_err(|_| Error::Busy)?;
        let caught = std::mem::take(&mut *caught.lock().expect("nobody panics while catching"));
        for update in caught {
            self.note(update)?;
        }
        Ok(is_done)
    }

    pub fn can_undo(&self, id: UndoId) -> bool {
        matches!(self.undo.get(id.0 as usize), Some(Some(manager)) if manager.can_undo())
    }

    pub fn can_redo(&self, id: UndoId) -> bool {
        matches!(self.undo.get(id.0 as usize), Some(Some(manager)) if manager.can_redo())
    }

    /// What follows is a step of its own, however soon it comes.
    pub fn cut_undo(&mut self, id: UndoId) {
        if let Some(Some(manager)) = self.undo.get_mut(id.0 as usize) {
            manager.reset();
        }
    }

    /// Forgets a history.
    pub fn end_undo(&mut self, id: UndoId) -> Result<(), Error> {
        self.not_open()?;
        if let Some(slot) = self.undo.get_mut(id.0 as usize) {
            *slot = None;
        }
        Ok(())
    }
}
