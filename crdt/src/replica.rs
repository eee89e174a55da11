//! One document that only takes checked updates, and whose edits come out as updates.
//!
//! It wraps a `yrs` document. It does not know who edits, nor what is saved. Every offset in a text
//! counts UTF-16 units, as Yjs does.

use serde_json::Value;
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Any, Doc, GetString, Map, Number, OffsetKind, Options, ReadTxn, StateVector, Transact, TransactionMut, Update,
};

use crate::Malformed;
use crate::text;
use crate::update::{self, MAX_CLIENTS_PER_DOCUMENT, MAX_CLIENTS_PER_UPDATE, MAX_NESTING, Nesting, Verdict};

/// A document of this process.
#[derive(Debug)]
pub struct Replica {
    doc: Doc,
    nesting: Nesting,
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
    /// `yrs` failed half-way. The document must be thrown away and loaded again.
    #[error("the update could not be integrated: {0}")]
    Broken(String),
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
        let doc = Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..Options::default() });
        Self { doc, nesting: Nesting::default() }
    }

    /// Checks `update` and applies it if it can take effect entirely.
    pub fn apply(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.integrate(update, false)
    }

    /// As [`Replica::apply`], for an update from outside of this process: it may not make the document one that `yrs` can
    /// only handle with great amounts of time or stack. What was let in once is never held to that again.
    pub fn apply_foreign(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.integrate(update, true)
    }

    fn integrate(&mut self, update: &[u8], is_foreign: bool) -> Result<Applied, Error> {
        let parsed = update::parse(update)?;
        if is_foreign && parsed.clients() > MAX_CLIENTS_PER_UPDATE {
            return Err(Malformed("changes of too many clients in one update").into());
        }
        let mut txn = self.doc.transact_mut();
        let state = txn.state_vector();
        let (verdict, addition) = self.nesting.weigh(&parsed, &state);
        if is_foreign {
            let new_clients = parsed.new_clients(&state);
            if new_clients > 0 && state.len() + new_clients > MAX_CLIENTS_PER_DOCUMENT {
                return Err(Malformed("too many clients have changed this document").into());
            }
            if addition.deepest > MAX_NESTING {
                return Err(Malformed("shared types nested more than 256 deep").into());
            }
        }
        if verdict == Verdict::Missing {
            return Ok(Applied::Missing);
        }
        let decoded = Update::decode_v1(update).map_err(|e| Error::Broken(e.to_string()))?;
        txn.apply_update(decoded).map_err(|e| Error::Broken(e.to_string()))?;
        if txn.has_missing_updates() {
            return Err(Error::Broken("parts of it were left over".to_owned()));
        }
        self.nesting.keep(addition);
        Ok(if txn.has_changes() { Applied::Changed } else { Applied::Nothing })
    }

    /// True if the replica has all that `update` brings and takes away, so that applying it would change nothing.
    pub fn knows(&self, update: &[u8]) -> bool {
        let txn = self.doc.transact();
        update::parse(update).is_ok_and(|parsed| parsed.is_known(&txn.state_vector(), || txn.snapshot().delete_set))
    }

    /// What a replica with `state_vector` lacks. Contains only what is integrated.
    pub fn diff(&self, state_vector: &[u8]) -> Result<Vec<u8>, Malformed> {
        update::check_state_vector(state_vector)?;
        let state = StateVector::decode_v1(state_vector).map_err(|_| Malformed("a state vector"))?;
        Ok(self.doc.transact().encode_diff_v1(&state))
    }

    /// The whole document as one update.
    pub fn state(&self) -> Vec<u8> {
        self.doc.transact().encode_diff_v1(&StateVector::default())
    }

    pub fn state_vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// The text at `root`; empty if there is none.
    pub fn text(&self, root: &str) -> String {
        let txn = self.doc.transact();
        txn.get_text(root).map_or_else(String::new, |text| text.get_string(&txn))
    }

    /// Turns the text at `root` into `wanted` by few edits. Returns the update, or `None` if it is that
    /// already.
    pub fn set_text(&mut self, root: &str, wanted: &str) -> Option<Vec<u8>> {
        let edits = text::diff(&self.text(root), wanted);
        let root = self.doc.get_or_insert_text(root);
        self.edit(|txn| text::apply(&root, txn, &edits))
    }

    /// Runs a local edit and returns its update, or `None` if it changed nothing.
    pub fn edit(&mut self, edit: impl FnOnce(&mut TransactionMut<'_>)) -> Option<Vec<u8>> {
        let mut txn = self.doc.transact_mut();
        edit(&mut txn);
        txn.has_changes().then(|| txn.encode_update_v1())
    }

    /// The map at `root` as JSON, key by key.
    pub fn map(&self, root: &str) -> Vec<(String, Value)> {
        let txn = self.doc.transact();
        let Some(map) = txn.get_map(root) else { return Vec::new() };
        map.iter(&txn).map(|(key, value)| (key.to_owned(), to_json(&value.to_json(&txn)))).collect()
    }

    /// Sets (`Some`) and removes (`None`) keys of the map at `root`; what is there already is not
    /// written again. Returns the update, or `None` if nothing differed.
    pub fn set_map(&mut self, root: &str, entries: &[(String, Option<Value>)]) -> Option<Vec<u8>> {
        let map = self.doc.get_or_insert_map(root);
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

    /// The wrapped document, for edits that this type has no word for.
    pub fn doc(&self) -> &Doc {
        &self.doc
    }
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

fn to_json(any: &Any) -> Value {
    match any {
        Any::Null | Any::Undefined | Any::Buffer(_) => Value::Null,
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
