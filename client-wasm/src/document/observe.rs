//! What changed, as plain data. Collected while a transaction ends, handed out when it is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use yrs::types::{Change as ListChange, Delta, EntryChange, Event, Events, PathSegment};
use yrs::{Any, BranchID, DeepObservable, Out, TransactionMut, XmlFragmentRef};

use super::{Document, Error, Kind, Seen as SeenValue, TypeId, Types, Value, seen_value, text};

/// The origin of what undo and redo change.
pub const UNDO: &str = "undo";

/// One type that one transaction changed, as somebody who observes it, or something around it, sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// What is observed.
    pub observed: TypeId,
    /// What changed: the same, or something within.
    pub target: TypeId,
    pub kind: Kind,
    /// The way from the observed type's root to what changed: keys of maps and indices of arrays.
    pub path: Vec<Any>,
    /// Of texts, arrays and nodes with children, from start to end.
    pub delta: Vec<Edit>,
    /// Of maps and elements, sorted by key.
    pub keys: Vec<(String, Entry)>,
    /// Of the transaction, [`UNDO`] if a step was taken back or done again; `None` if the change came from outside.
    pub origin: Option<String>,
}

/// A stretch of a list that is left, went or came.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    Retain(u32, Vec<(String, Any)>),
    Delete(u32),
    Insert(Vec<Value>, Vec<(String, Any)>),
}

/// What became of a key.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    Added,
    Updated { before: Value },
    Removed { before: Value },
}

/// What observers saw and nobody took. The lock is never waited for; yrs wants its observers `Sync`.
#[derive(Clone, Default)]
pub(super) struct Seen {
    raw: Arc<Mutex<Vec<Raw>>>,
    /// A step of a history is under way: yrs names it by an address, which nobody could read.
    is_undo: Arc<AtomicBool>,
}

struct Raw {
    observed: TypeId,
    target: (BranchID, Kind),
    path: Vec<Any>,
    delta: Vec<RawEdit>,
    keys: Vec<(String, RawEntry)>,
    origin: Option<String>,
}

enum RawEdit {
    Retain(u32, Vec<(String, Any)>),
    Delete(u32),
    Insert(Vec<SeenValue>, Vec<(String, Any)>),
}

enum RawEntry {
    Added,
    Updated(SeenValue),
    Removed(SeenValue),
}

impl Document {
    /// From now on changes of this type and of what is in it are in [`Document::take_changes`].
    pub fn observe(&mut self, of: TypeId) -> Result<(), Error> {
        let seen = self.seen.clone();
        let all = [Kind::Text, Kind::Map, Kind::Array, Kind::XmlFragment, Kind::XmlElement, Kind::XmlText];
        self.read(|txn, types| {
            // Which type it is taken for does not matter here.
            let branch = XmlFragmentRef::from(types.branch(txn, of, &all)?);
            branch.observe_deep(u64::from(of.0), move |txn, events| seen.collect(of, txn, events));
            Ok(())
        })
    }

    pub fn unobserve(&mut self, of: TypeId) -> Result<(), Error> {
        let all = [Kind::Text, Kind::Map, Kind::Array, Kind::XmlFragment, Kind::XmlElement, Kind::XmlText];
        self.read(|txn, types| {
            XmlFragmentRef::from(types.branch(txn, of, &all)?).unobserve_deep(u64::from(of.0));
            Ok(())
        })
    }

    /// What changed since the last call, transaction by transaction.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let raw = std::mem::take(&mut *self.seen.raw.lock().expect("nobody panics while collecting"));
        let types = &mut self.types;
        raw.into_iter().map(|raw| raw.resolve(types)).collect()
    }
}

impl Seen {
    pub(super) fn set_undo(&self, is_undo: bool) {
        self.is_undo.store(is_undo, Ordering::Relaxed);
    }

    fn collect(&self, observed: TypeId, txn: &TransactionMut<'_>, events: &Events<'_>) {
        let is_undo = self.is_undo.load(Ordering::Relaxed);
        let origin = match txn.origin() {
            Some(_) if is_undo => Some(UNDO.to_owned()),
            origin => origin.map(|origin| String::from_utf8_lossy(origin.as_ref()).into_owned()),
        };
        let mut all = self.raw.lock().expect("nobody panics while collecting");
        for event in events.iter() {
            let SeenValue::Type(id, kind) = seen_value(event.target()) else { continue };
            let path = event.path().into_iter().map(|segment| match segment {
                PathSegment::Key(key) => Any::String(key),
                PathSegment::Index(index) => Any::from(f64::from(index)),
            });
            let (mut delta, mut keys) = (Vec::new(), Vec::new());
            match event {
                Event::Text(event) => delta = of_text(event.delta(txn)),
                Event::Array(event) => delta = of_list(event.delta(txn)),
                Event::Map(event) => keys = of_keys(event.keys(txn)),
                Event::XmlFragment(event) => {
                    delta = of_list(event.delta(txn));
                    keys = of_keys(event.keys(txn));
                }
                Event::XmlText(event) => {
                    delta = of_text(event.delta(txn));
                    keys = of_keys(event.keys(txn));
                }
            }
            let (path, origin) = (path.collect(), origin.clone());
            all.push(Raw { observed, target: (id, kind), path, delta, keys, origin });
        }
    }
}

fn of_text(delta: &[Delta]) -> Vec<RawEdit> {
    let edit = |part: &Delta| match part {
        Delta::Inserted(value, attrs) => {
            RawEdit::Insert(vec![seen_value(value.clone())], text::attributes(attrs.clone()))
        }
        Delta::Deleted(len) => RawEdit::Delete(*len),
        Delta::Retain(len, attrs) => RawEdit::Retain(*len, text::attributes(attrs.clone())),
    };
    delta.iter().map(edit).collect()
}

fn of_list(delta: &[ListChange]) -> Vec<RawEdit> {
    let edit = |part: &ListChange| match part {
        ListChange::Added(values) => RawEdit::Insert(values.iter().cloned().map(seen_value).collect(), Vec::new()),
        ListChange::Removed(len) => RawEdit::Delete(*len),
        ListChange::Retain(len) => RawEdit::Retain(*len, Vec::new()),
    };
    delta.iter().map(edit).collect()
}

fn of_keys(keys: &HashMap<Arc<str>, EntryChange>) -> Vec<(String, RawEntry)> {
    // A type that went may be freed before this is read: it is told as gone, not named.
    let before = |value: &Out| match value {
        Out::Any(any) => SeenValue::Any(any.clone()),
        _ => SeenValue::Any(Any::Undefined),
    };
    let entry = |change: &EntryChange| match change {
        EntryChange::Inserted(_) => RawEntry::Added,
        EntryChange::Updated(old, _) => RawEntry::Updated(before(old)),
        EntryChange::Removed(old) => RawEntry::Removed(before(old)),
    };
    let mut all: Vec<_> = keys.iter().map(|(key, change)| (key.to_string(), entry(change))).collect();
    all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    all
}

impl Raw {
    fn resolve(self, types: &mut Types) -> Change {
        let (id, kind) = self.target;
        let target = types.intern(&id, kind);
        let mut delta = Vec::with_capacity(self.delta.len());
        for edit in self.delta {
            delta.push(match edit {
                RawEdit::Retain(len, attributes) => Edit::Retain(len, attributes),
                RawEdit::Delete(len) => Edit::Delete(len),
                RawEdit::Insert(values, attributes) => {
                    Edit::Insert(values.into_iter().map(|value| types.resolve(value)).collect(), attributes)
                }
            });
        }
        let mut keys = Vec::with_capacity(self.keys.len());
        for (key, entry) in self.keys {
            let entry = match entry {
                RawEntry::Added => Entry::Added,
                RawEntry::Updated(before) => Entry::Updated { before: types.resolve(before) },
                RawEntry::Removed(before) => Entry::Removed { before: types.resolve(before) },
            };
            keys.push((key, entry));
        }
        // The kind under which a caller knows the type counts: a root may have been integrated before anybody said what it is.
        let kind = types.all[target.0 as usize].1;
        Change { observed: self.observed, target, kind, path: self.path, delta, keys, origin: self.origin }
    }
}
