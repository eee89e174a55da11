//! One document that only takes checked updates, and whose edits come out as updates.
//!
//! It wraps a `yrs` document. It does not know who edits, nor what is saved. Every offset in a text
//! counts UTF-16 units, as Yjs does.
//!
//! **Invariant:** what the gate knows is what the `yrs` document holds. So every change passes [`Replica::apply`], [`Replica::load`]
//! or [`Replica::edit`], or is reported by [`Replica::note`]; any other transaction opened on [`Replica::doc`] only reads.

mod snapshot;
mod trial;

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::{
    Any, Doc, GetString, IdSet, Map, Number, OffsetKind, Options, ReadTxn, StateVector, Transact, TransactionMut,
    Update,
};

use crate::Malformed;
use crate::text;
use crate::update::gate::{Gate, Source, Verdict};
use crate::update::work::{self, Model};
use crate::update::{self, Binary, Deletion, Parsed, hidden};
pub use snapshot::SnapshotError;
use trial::{Trial, Way};

/// A document of this process.
#[derive(Debug)]
pub struct Replica {
    doc: Lazy,
    gate: Gate,
    trial: Trial,
    /// Others hold on to the yrs document, see [`Replica::pinned`].
    is_pinned: bool,
    /// What it holds for yrs is not what it is: see [`hidden`].
    is_disguised: bool,
    has_subdocument: bool,
    has_formats: bool,
    /// What is new of the update that was taken last, and all that it does, if it is not just that: see [`Replica::completed`].
    completed: Option<Vec<u8>>,
}

/// What became of an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The document is another one now.
    Changed,
    /// Everything in it was known.
    Nothing,
    /// It builds on something unknown and was not applied.
    Missing,
}

/// Why an update was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The bytes break the format's rules; the document is as it was.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `yrs` would work on it for longer than one update may take; the document is as it was.
    #[error(
        "an update that would take too long to integrate: too much of it was inserted at the same place as the rest"
    )]
    TooMuch,
    /// `yrs` failed half-way. The document must be thrown away and loaded again; until then it may be empty.
    #[error("the update could not be integrated: {0}")]
    Broken(String),
}

/// Why a document could not be rebuilt from what is stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// Number `index` (the snapshot is 0 if there is one) breaks the format's rules or could not be integrated.
    #[error("update {index} of the log cannot be read: {cause}")]
    Unreadable { index: usize, cause: String },
    /// Number `index` builds on something that none before it brings.
    #[error("update {index} of the log builds on one that is not there")]
    Missing { index: usize },
    /// `yrs` would work on it for hours.
    #[error("it would take too long to put the document together: too much of it was inserted at the same place")]
    TooMuch,
}

impl Default for Replica {
    fn default() -> Self {
        Self::new()
    }
}

impl Replica {
    /// An empty document under a new random client id.
    ///
    /// The id is never one used before: an update that was lost in a crash after others saw it must
    /// not share ids with what is written next.
    pub fn new() -> Self {
        Self {
            doc: Lazy::default(),
            gate: Gate::default(),
            trial: Trial::default(),
            is_pinned: false,
            is_disguised: false,
            has_subdocument: false,
            has_formats: false,
            completed: None,
        }
    }

    /// As [`Replica::new`], but what is deleted stays in memory, so that it can come back.
    pub fn keeping_deleted() -> Self {
        Self { doc: new_doc(true).into(), ..Self::new() }
    }

    /// The same, whose yrs document is never exchanged for another one. Whoever has types or observers of it needs that; then an update
    /// takes as long as it takes.
    pub fn pinned(self) -> Self {
        Self { is_pinned: true, ..self }
    }

    /// Rebuilds a document from a snapshot and the updates that were accepted after it, in order.
    ///
    /// The gate looks at each, so a log that lost an update is noticed; yrs gets them merged, which is several times faster. It gets a
    /// snapshot with nothing behind it only when somebody asks for more than the snapshot: until then nobody waits for yrs.
    pub fn load(snapshot: Option<&Bytes>, updates: &[Bytes]) -> Result<Self, LoadError> {
        let mut replica = Self::new();
        let mut parsed = Vec::with_capacity(updates.len() + 1);
        let mut implied = Vec::new();
        for (index, bytes) in snapshot.into_iter().chain(updates).enumerate() {
            let unreadable = |error: Malformed| LoadError::Unreadable { index, cause: error.to_string() };
            let update = update::parse(bytes).map_err(unreadable)?;
            match replica.gate.admit(&update, Source::Own).map_err(unreadable)? {
                Verdict::Ready => {
                    parsed.push(update);
                    if cfg!(feature = "budget") {
                        implied.extend_from_slice(replica.gate.implied());
                    }
                }
                Verdict::Missing => return Err(LoadError::Missing { index }),
                Verdict::TooMuch => return Err(LoadError::TooMuch),
            }
        }
        let outcome = match (snapshot, parsed.as_slice()) {
            (_, []) => return Ok(replica),
            (Some(snapshot), [one]) if implied.is_empty() => {
                let settled = replica.settled(one)?;
                replica.count(one);
                replica.doc = Lazy::from(settled.map_or_else(|| snapshot.clone(), Bytes::from));
                return Ok(replica);
            }
            (_, many) => replica.integrate_merged(many, &implied),
        };
        match outcome {
            Ok(_) => Ok(replica),
            Err(Error::TooMuch) => Err(LoadError::TooMuch),
            // Nothing is known that yrs takes alone and not merged; if there is, the document is worth the time.
            Err(_) => Self::load_one_by_one(snapshot, updates),
        }
    }

    fn integrate_merged(&mut self, updates: &[Parsed<'_>], implied: &[Deletion]) -> Result<Applied, Error> {
        let merged = update::complete(&updates.iter().collect::<Vec<_>>(), implied)?;
        let merged = update::parse(&merged)?;
        let settled = self.settled(&merged).map_err(|_| Error::TooMuch)?;
        let settled = settled.as_deref().map(update::parse).transpose()?;
        let decoded = decode_pieces(settled.as_ref().unwrap_or(&merged))?;
        self.integrate(&merged, decoded)
    }

    /// Looks whether yrs can put the document together in time. `state` is all of it, which the gate has let in. If that could take long, it is
    /// to be read in the form that is returned.
    fn settled(&self, state: &Parsed<'_>) -> Result<Option<Vec<u8>>, LoadError> {
        if !cfg!(feature = "budget") || self.gate.is_quick(state) {
            return Ok(None);
        }
        let mut model = Model::to_settle();
        model.integrate(state, work::BUDGET_OF_ALL).map_err(|work::TooMuch| LoadError::TooMuch)?;
        // What has no such form is read as it is.
        Ok(update::settled(state, &model).ok())
    }

    fn load_one_by_one(snapshot: Option<&Bytes>, updates: &[Bytes]) -> Result<Self, LoadError> {
        let mut replica = Self::new();
        for (index, bytes) in snapshot.into_iter().chain(updates).enumerate() {
            match replica.apply(bytes) {
                Ok(Applied::Changed | Applied::Nothing) => {}
                Ok(Applied::Missing) => return Err(LoadError::Missing { index }),
                Err(Error::TooMuch) => return Err(LoadError::TooMuch),
                Err(error) => return Err(LoadError::Unreadable { index, cause: error.to_string() }),
            }
        }
        Ok(replica)
    }

    /// Checks `update` and applies it if it can take effect entirely.
    pub fn apply(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.take(update, Source::Own)
    }

    /// As [`Replica::apply`], for an update from outside of this process: it may not make the document one that `yrs` can
    /// only handle with great amounts of time or stack, and not weave its lists into each other. What was let in once is never
    /// held to that again.
    pub fn apply_foreign(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.take(update, Source::Foreign)
    }

    /// As [`Replica::apply_foreign`], for what brings a whole document or a part of its log that was merged. It may be of as many clients as a
    /// document, which takes as much stack as loading one.
    pub fn apply_whole(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.take(update, Source::Whole)
    }

    /// True if nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.gate.is_empty()
    }

    fn take(&mut self, update: &[u8], source: Source) -> Result<Applied, Error> {
        self.completed = None;
        let whole = update::parse(update)?;
        if whole.is_empty() {
            return Ok(Applied::Nothing);
        }
        if self.gate.check(&whole, source)? != Verdict::Ready {
            return Ok(Applied::Missing);
        }
        // What it says of elements that are known may not be so. Then yrs would put the rest elsewhere than whoever has it from the log.
        let rest = update::unknown(&whole, |client| self.gate.clock(client))?;
        let rest_parsed = rest.as_deref().map(update::parse).transpose()?;
        let parsed = rest_parsed.as_ref().unwrap_or(&whole);
        let decoded = decode(parsed)?;
        let Self { doc, trial, is_pinned, is_disguised, .. } = self;
        let mut way = Way::Behind;
        let verdict = self.gate.admit_if(&whole, source, |steps, implied| {
            if !*is_pinned {
                let state = || (doc.encode(&StateVector::default(), *is_disguised), doc.get().skip_gc());
                way = trial.way(parsed, source, steps, implied, state);
            }
            way != Way::None
        })?;
        match verdict {
            Verdict::Ready => {
                let completed = if cfg!(feature = "budget") { self.complete(parsed)? } else { None };
                let applied = match (way, &completed) {
                    (Way::Together(all), _) if cfg!(feature = "budget") => self.put_together(parsed, &all),
                    (_, None) => self.integrate(parsed, decoded),
                    (_, Some(completed)) => {
                        let broken = |error: Malformed| Error::Broken(error.to_string());
                        let completed = update::parse(completed).map_err(broken)?;
                        let decoded = decode_pieces(&completed).map_err(broken)?;
                        self.integrate(&completed, decoded)
                    }
                };
                self.completed = completed.or(rest).filter(|_| applied == Ok(Applied::Changed));
                applied
            }
            Verdict::Missing => Ok(Applied::Missing),
            Verdict::TooMuch => Err(Error::TooMuch),
        }
    }

    /// The update that the gate has let in, with all that it does, if it does not say it.
    fn complete(&self, update: &Parsed<'_>) -> Result<Option<Vec<u8>>, Error> {
        match self.gate.implied() {
            implied if !implied.is_empty() => {
                let completed = update::complete(&[update], implied);
                Ok(Some(completed.map_err(|error| Error::Broken(error.to_string()))?))
            }
            _ => Ok(None),
        }
    }

    /// What is to be stored and passed on of an update that was applied just now: the update itself, or another one that has nothing that was known,
    /// and says besides which values of keys it replaces. Otherwise it would not be the same update any more once it was merged.
    pub fn completed(&mut self, update: Bytes) -> Bytes {
        self.completed.take().map_or(update, Bytes::from)
    }

    /// Exchanges the yrs document for one that is made of `all` at once, after the gate let in the update that came to it.
    fn put_together(&mut self, update: &Parsed<'_>, all: &[u8]) -> Result<Applied, Error> {
        let broken = |error: Malformed| Error::Broken(error.to_string());
        let all = update::parse(all).map_err(broken)?;
        let decoded = decode_pieces(&all).map_err(broken)?;
        self.doc = new_doc(self.doc.get().skip_gc()).into();
        self.integrate(&all, decoded)?;
        self.count(update);
        Ok(Applied::Changed)
    }

    /// Has yrs apply what the gate let in.
    fn integrate(&mut self, update: &Parsed<'_>, decoded: Update) -> Result<Applied, Error> {
        self.count(update);
        match integrate(self.doc.get_to_change(), decoded) {
            Ok(true) => Ok(Applied::Changed),
            Ok(false) => Ok(Applied::Nothing),
            Err(Failure::Refused(cause)) => Err(Error::Broken(cause)),
            Err(Failure::Panicked) => {
                // Whatever touches a half-changed document may panic again, even to free it; so it is left where it is.
                std::mem::forget(std::mem::take(&mut self.doc));
                self.gate = Gate::default();
                self.trial = Trial::default();
                Err(Error::Broken("yrs panicked".to_owned()))
            }
        }
    }

    /// Remembers what kind of content is let in.
    fn count(&mut self, update: &Parsed<'_>) {
        self.is_disguised |= update.needs_rewrite();
        self.has_subdocument |= update.has_subdocument();
        self.has_formats |= update.has_formats();
    }

    /// True if the replica has all that `update` brings and takes away, so that applying it would change nothing.
    pub fn knows(&self, update: &[u8]) -> bool {
        let Ok(parsed) = update::parse(update) else { return false };
        !parsed.has_tangled_deletes()
            && self.gate.knows(&parsed)
            && parsed.deletes_only(|| self.doc.get().transact().snapshot().delete_set)
    }

    /// Bytes of an update without what is known already.
    pub fn weight_of_new(&self, update: &[u8]) -> usize {
        let rest = update::parse(update).and_then(|update| update::unknown(&update, |client| self.gate.clock(client)));
        rest.ok().flatten().map_or(update.len(), |rest| rest.len())
    }

    /// What a replica with `state_vector` lacks. Contains only what is integrated.
    pub fn diff(&self, state_vector: &[u8]) -> Result<Vec<u8>, Malformed> {
        Ok(self.encode(&update::state_vector(state_vector, |client| self.gate.clock(client) > 0)?))
    }

    /// The whole document as one update.
    pub fn state(&self) -> Vec<u8> {
        self.encode(&StateVector::default())
    }

    fn encode(&self, state: &StateVector) -> Vec<u8> {
        self.doc.encode(state, self.is_disguised)
    }

    /// False as long as nobody asked for more than what it was loaded from: the first who does waits for yrs.
    pub fn is_built(&self) -> bool {
        self.doc.doc.get().is_some()
    }

    pub fn state_vector(&self) -> Vec<u8> {
        self.gate.state_vector()
    }

    /// True if text lies in an array, or in the root type `root`, which is to be read as one.
    pub(crate) fn has_text_in_array(&self, root: Option<&str>) -> bool {
        let state = self.state();
        // What cannot even be parsed is nothing to walk.
        update::parse(&state).map_or(true, |state| self.gate.has_text_in_array(&state, root))
    }

    /// True if a subdocument was ever let in. It is kept as opaque content, so nothing of it takes effect here.
    pub fn has_subdocument(&self) -> bool {
        self.has_subdocument
    }

    /// True if anything in it is deleted.
    pub fn has_deleted(&self) -> bool {
        !self.doc.get().transact().snapshot().delete_set.is_empty()
    }

    /// True if a text may ever have been formatted. Then its list has marks that are not seen and yet have a place.
    pub fn has_formats(&self) -> bool {
        self.has_formats
    }

    /// True if both have the same elements, and the same of them deleted: then they are the same document.
    pub fn is_same(&self, other: &Self) -> bool {
        let (own, other) = (self.doc.get().transact().snapshot(), other.doc.get().transact().snapshot());
        let lacks = |a: &IdSet, b: &IdSet| !a.diff(b).is_empty();
        own.state_map == other.state_map
            && !lacks(&own.delete_set, &other.delete_set)
            && !lacks(&other.delete_set, &own.delete_set)
    }

    /// The text at `root`; empty if there is none.
    pub fn text(&self, root: &str) -> String {
        let txn = self.doc.get().transact();
        txn.get_text(root).map_or_else(String::new, |text| text.get_string(&txn))
    }

    /// Turns the text at `root` into `wanted` by few edits. Returns the update, or `None` if it is that
    /// already.
    pub fn set_text(&mut self, root: &str, wanted: &str) -> Option<Vec<u8>> {
        let edits = text::diff(&self.text(root), wanted);
        let root = self.doc.get().get_or_insert_text(root);
        self.edit(|txn| text::apply(&root, txn, &edits))
    }

    /// Runs a local edit and returns its update, or `None` if it changed nothing.
    pub fn edit(&mut self, edit: impl FnOnce(&mut TransactionMut<'_>)) -> Option<Vec<u8>> {
        let mut txn = self.doc.get_to_change().transact_mut();
        edit(&mut txn);
        let update = txn.has_changes().then(|| txn.encode_update_v1())?;
        drop(txn);
        let noted = self.note(update);
        Some(noted.expect("an edit builds on what is in the document, and yrs writes what the gate can read"))
    }

    /// Tells the gate of a change that was made to [`Replica::doc`] directly: one that yrs made by itself, or in a transaction
    /// that stays open for longer than [`Replica::edit`] lasts. Nothing else may be applied before. Returns it as others may see it.
    pub fn note(&mut self, written: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        let update = update::parse(&written)?;
        self.has_formats |= update.has_formats();
        self.is_disguised |= update.needs_rewrite();
        match self.gate.admit(&update, Source::Own)? {
            Verdict::Ready => {
                self.trial.follow(&update, self.gate.implied());
                if update.needs_rewrite() { hidden::reveal(&written) } else { Ok(written) }
            }
            Verdict::Missing | Verdict::TooMuch => {
                Err(Malformed("a change of this document that builds on another one"))
            }
        }
    }

    /// To be called from time to time: gives memory back that was of use only while large updates came.
    pub fn rest(&mut self) {
        self.trial.rest();
    }

    /// The map at `root` as JSON, key by key.
    pub fn map(&self, root: &str) -> Vec<(String, Value)> {
        let txn = self.doc.get().transact();
        let Some(map) = txn.get_map(root) else { return Vec::new() };
        map.iter(&txn).map(|(key, value)| (key.to_owned(), to_json(&value.to_json(&txn)))).collect()
    }

    /// Sets (`Some`) and removes (`None`) keys of the map at `root`; what is there already is not
    /// written again. Returns the update, or `None` if nothing differed.
    pub fn set_map(&mut self, root: &str, entries: &[(String, Option<Value>)]) -> Option<Vec<u8>> {
        let map = self.doc.get().get_or_insert_map(root);
        self.edit(|txn| {
            for (key, wanted) in entries {
                let present = map.get(txn, key).map(|value| to_json(&value.to_json(txn)));
                match wanted {
                    Some(wanted) if present.as_ref() != Some(wanted) => {
                        map.insert(txn, key.as_str(), to_any(wanted));
                    }
                    None if present.is_some() => {
                        map.remove(txn, key);
                    }
                    _ => {}
                }
            }
        })
    }

    /// The wrapped document: to read it, and to name the types that [`Replica::edit`] changes.
    pub fn doc(&self) -> &Doc {
        self.doc.get()
    }
}

/// A yrs document that is built when it is first needed.
#[derive(Debug, Default)]
struct Lazy {
    doc: OnceLock<Doc>,
    /// What it is built from: a state that the gate has let in. Empty once it is built and has changed, or if there is nothing to begin with.
    state: Bytes,
}

impl From<Doc> for Lazy {
    fn from(doc: Doc) -> Self {
        Self { doc: doc.into(), state: Bytes::new() }
    }
}

impl From<Bytes> for Lazy {
    fn from(state: Bytes) -> Self {
        Self { doc: OnceLock::new(), state }
    }
}

impl Lazy {
    fn get(&self) -> &Doc {
        self.doc.get_or_init(|| {
            let doc = new_doc(false);
            if !self.state.is_empty() {
                let decoded = update::parse(&self.state).and_then(|parsed| decode(&parsed));
                let integrated = decoded.map(|decoded| integrate(&doc, decoded));
                assert!(matches!(integrated, Ok(Ok(_))), "yrs wrote this state and cannot read it: {integrated:?}");
            }
            doc
        })
    }

    fn encode(&self, state: &StateVector, is_disguised: bool) -> Vec<u8> {
        let update = self.get().transact().encode_diff_v1(state);
        if !is_disguised {
            return update;
        }
        hidden::reveal(&update).expect("what yrs writes of an accepted document is well-formed")
    }

    /// The same, to change it.
    fn get_to_change(&mut self) -> &Doc {
        self.get();
        self.state = Bytes::new();
        self.get()
    }
}

#[derive(Debug)]
enum Failure {
    Refused(String),
    Panicked,
}

/// Has yrs apply an update. Returns whether it changed anything.
fn integrate(doc: &Doc, decoded: Update) -> Result<bool, Failure> {
    let mut txn = ManuallyDrop::new(doc.transact_mut());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        txn.apply_update(decoded).map_err(|e| e.to_string())?;
        if txn.has_missing_updates() {
            return Err("parts of it were left over".to_owned());
        }
        let has_changes = txn.has_changes();
        txn.commit();
        Ok(has_changes)
    }));
    let outcome = outcome.map_err(|_| Failure::Panicked)?;
    drop(ManuallyDrop::into_inner(txn));
    outcome.map_err(Failure::Refused)
}

/// Reads an update as yrs does. What is in it that must not reach yrs is disguised, and what was inserted at once is one struct: yrs would
/// join the structs one by one, and copy with each what it has joined. What is deleted several times is deleted once.
fn decode(update: &Parsed<'_>) -> Result<Update, Malformed> {
    if update.has_chains() || update.has_tangled_deletes() {
        let joined = update::complete(&[update], &[])?;
        return decode_pieces(&update::parse(&joined)?);
    }
    decode_pieces(update)
}

fn decode_pieces(update: &Parsed<'_>) -> Result<Update, Malformed> {
    let disguised = update.needs_rewrite().then(|| hidden::hide(update));
    let bytes = disguised.as_deref().unwrap_or(update.bytes());
    let decoded = catch_unwind(|| Update::decode_v1(bytes).ok()).ok().flatten();
    decoded.ok_or(Malformed("content that cannot be decoded, such as an embed that is not JSON"))
}

fn new_doc(skip_gc: bool) -> Doc {
    Doc::with_options(Options { offset_kind: OffsetKind::Utf16, skip_gc, ..Options::default() })
}

/// JSON as Yjs clients see it: whole numbers stay numbers, never `BigInt`.
fn to_any(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(value) => Any::from(*value),
        Value::Number(value) => Any::from(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Any::from(value.as_str()),
        Value::Array(values) => Any::from(values.iter().map(to_any).collect::<Vec<_>>()),
        Value::Object(entries) => Any::from(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_any(value)))
                .collect::<std::collections::HashMap<_, _>>(),
        ),
    }
}

pub(crate) fn to_json(any: &Any) -> Value {
    match any {
        Any::Null | Any::Undefined => Value::Null,
        Any::Buffer(held) => match Binary::of(held) {
            Binary::BigInt(value) => Value::from(value),
            Binary::Bytes(_) | Binary::Subdocument => Value::Null,
        },
        Any::Bool(value) => Value::Bool(*value),
        Any::Number(Number::Int(value)) => Value::from(*value),
        Any::Number(Number::Float(value)) => whole(*value).map_or_else(|| Value::from(*value), Value::from),
        Any::String(value) => Value::String(value.to_string()),
        Any::Array(values) => Value::Array(values.iter().map(to_json).collect()),
        Any::Map(entries) => Value::Object(entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()),
    }
}

/// JavaScript has one kind of number, so an integer comes back as a float without a fraction.
fn whole(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() < LIMIT).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use yrs::Text;

    fn typed(replica: &mut Replica, at: u32, text: &str) -> Vec<u8> {
        let root = replica.doc().get_or_insert_text("text");
        replica.edit(|txn| root.insert(txn, at, text)).expect("typing changes the document")
    }

    #[test]
    fn an_update_is_applied_once_and_only_when_it_can_be() {
        let mut author = Replica::new();
        let first = typed(&mut author, 0, "hello");
        let second = typed(&mut author, 5, " world");
        let mut other = Replica::new();
        assert_eq!(other.apply(&second), Ok(Applied::Missing));
        assert_eq!(other.text("text"), "");
        assert_eq!(other.apply(&first), Ok(Applied::Changed));
        assert_eq!(other.apply(&second), Ok(Applied::Changed));
        assert_eq!(other.apply(&second), Ok(Applied::Nothing));
        assert_eq!(other.apply(&author.state()), Ok(Applied::Nothing));
        assert_eq!(other.text("text"), "hello world");
        assert!(other.knows(&first) && other.knows(&author.state()));
        let third = typed(&mut author, 0, "!");
        assert!(!other.knows(&third) && !other.knows(&author.state()) && !other.knows(b"nonsense"));
        other.apply(&third).expect("valid");
        let root = author.doc().get_or_insert_text("text");
        let deletion = author.edit(|txn| root.remove_range(txn, 0, 1)).expect("changed");
        assert!(other.knows(&third) && !other.knows(&deletion));
        other.apply(&deletion).expect("valid");
        assert!(other.knows(&deletion));
    }

    #[test]
    fn a_diff_brings_exactly_what_is_missing() {
        let mut author = Replica::new();
        let mut other = Replica::new();
        other.apply(&typed(&mut author, 0, "a😀b")).expect("valid");
        typed(&mut author, 4, "c");
        let diff = author.diff(&other.state_vector()).expect("valid");
        assert_eq!(other.apply(&diff), Ok(Applied::Changed));
        assert_eq!(other.text("text"), "a😀bc");
        assert!(author.diff(&[0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    #[test]
    fn a_map_is_written_only_where_it_differs() {
        let mut replica = Replica::new();
        let entry = |value: Value| vec![("k".to_owned(), Some(value))];
        let value = json!({"name": "ä", "rev": 3, "parent": null, "list": [1, 2.5, true]});
        assert!(replica.set_map("nodes", &entry(value.clone())).is_some());
        assert_eq!(replica.map("nodes"), vec![("k".to_owned(), value.clone())]);
        assert_eq!(replica.set_map("nodes", &entry(value)), None);
        assert!(replica.set_map("nodes", &[("k".to_owned(), None)]).is_some());
        assert_eq!(replica.set_map("nodes", &[("k".to_owned(), None)]), None);
    }
}
