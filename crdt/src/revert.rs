//! Takes a document of any shape back to what it was, by new operations.
//!
//! It replays the log without forgetting what was deleted, and then undoes everything that came after: what was inserted since is
//! deleted, and what was deleted since is inserted anew. The result is compared with the document as it was; if it is not the
//! same there is no answer, rather than one that is nearly right.
//!
//! For a text alone [`Replica::set_text`] does it with fewer operations.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use yrs::types::text::YChange;
use yrs::undo::{Options, StackItem, UndoManager};
use yrs::{ID, IdSet, Out, ReadTxn, Snapshot, Text, Transact};

use crate::Replica;
use crate::export::{self, Kind};
use crate::replica::{self, Applied, Error};

/// A document that is to go back: feed it the log, in order.
#[derive(Debug)]
pub struct Revert {
    replica: Replica,
    then: Option<(Snapshot, Vec<String>)>,
}

impl Default for Revert {
    fn default() -> Self {
        Self { replica: Replica::keeping_deleted(), then: None }
    }
}

impl Revert {
    /// Applies the log's next update.
    pub fn apply(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.replica.apply(update)
    }

    /// What was applied so far is what the document is to become again.
    pub fn mark(&mut self) {
        let snapshot = self.replica.doc().transact().snapshot();
        self.then = Some((snapshot, shape(&self.replica)));
    }

    /// The update that does it, for the document as it is after all that was applied. Empty if nothing is to be done, `None` if
    /// it cannot be done exactly.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let (then, shape_then) = self.then.take()?;
        if self.replica.has_text_in_array(None) {
            // It could not be compared.
            return None;
        }
        let doc = self.replica.doc().clone();
        let now = doc.transact().snapshot();
        let mut insertions = IdSet::new();
        for (client, clock) in now.state_map.iter() {
            let known = then.state_map.get(client);
            if known < *clock {
                insertions.insert(ID::new(*client, known), *clock - known);
            }
        }
        let deletions = now.delete_set.diff(&then.delete_set);
        if insertions.is_empty() && deletions.is_empty() {
            return Some(Vec::new());
        }
        let before = self.replica.state_vector();
        let item: StackItem<()> = StackItem::new(doc.guid(), deletions, insertions);
        // Nothing is captured, so no time is looked at; yrs has no default for it in a browser.
        let mut undo = UndoManager::with_options(Options {
            capture_timeout_millis: 0,
            tracked_origins: HashSet::new(),
            capture_transaction: None,
            timestamp: Arc::new(|| 0),
            init_undo_stack: vec![item],
            init_redo_stack: Vec::new(),
        });
        for name in names(&self.replica) {
            // Any type will do: only where it lies counts.
            let root = doc.get_or_insert_map(name.as_str());
            undo.expand_scope(&doc, &root);
        }
        undo.undo_blocking();
        drop(undo);
        let update = self.replica.diff(&before).ok()?;
        self.replica.note(update.clone()).ok()?;
        (shape(&self.replica) == shape_then).then_some(update)
    }
}

fn names(replica: &Replica) -> Vec<String> {
    let txn = replica.doc().transact();
    let mut names: Vec<String> = txn.root_refs().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// Everything that can be seen of a document, whatever its roots are: each is read as every type it could be.
fn shape(replica: &Replica) -> Vec<String> {
    let mut seen = Vec::new();
    for name in names(replica) {
        let name = name.as_str();
        // What is no such type reads as an empty one, or not at all.
        let read = [Kind::Map, Kind::Array, Kind::Xml].map(|kind| export::json(replica, name, kind));
        let mut parts: Vec<String> = read.into_iter().flatten().map(|value| value.to_string()).collect();
        let txn = replica.doc().transact();
        if let Some(text) = txn.get_text(name) {
            for piece in text.diff(&txn, YChange::identity) {
                let attrs: BTreeMap<String, String> = piece
                    .attributes
                    .iter()
                    .flat_map(|attrs| {
                        attrs.iter().map(|(key, value)| (key.to_string(), replica::to_json(value).to_string()))
                    })
                    .collect();
                let insert = match piece.insert {
                    Out::Any(value) => replica::to_json(&value).to_string(),
                    // What is in it is seen as JSON or XML.
                    _ => "a shared type".to_owned(),
                };
                parts.push(format!("{insert} {attrs:?}"));
            }
        }
        // A type that has nothing in it is the same as one that is not there.
        parts.retain(|part| !matches!(part.as_str(), "{}" | "[]" | "\"\""));
        if !parts.is_empty() {
            seen.push(format!("{name}: {parts:?}"));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::{Array, ArrayPrelim, Map, MapPrelim, WriteTxn, Xml, XmlElementPrelim, XmlFragment, XmlTextPrelim};

    /// Does each edit to one document, goes back to what it was after the first `back`, and looks at everything.
    fn check(back: usize, edits: &[&dyn Fn(&mut yrs::TransactionMut<'_>)]) {
        let (mut author, mut live, mut revert) = (Replica::new(), Replica::new(), Revert::default());
        let mut expected = None;
        for (at, edit) in edits.iter().enumerate() {
            if at == back {
                revert.mark();
                expected = Some(shape(&live));
            }
            let update = author.edit(|txn| edit(txn)).expect("it changes something");
            live.apply(&update).expect("valid");
            revert.apply(&update).expect("valid");
        }
        let update = revert.finish().expect("it can be done");
        live.apply(&update).expect("valid");
        assert_eq!(Some(shape(&live)), expected);
    }

    #[test]
    fn what_has_several_keys_or_attributes_goes_back_every_time() {
        for _ in 0..20 {
            check(
                1,
                &[
                    &|txn| {
                        let rows = txn.get_or_insert_array("rows");
                        rows.push_back(txn, MapPrelim::from([("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]));
                        let root = txn.get_or_insert_xml_fragment("x");
                        let heading = root.push_back(txn, XmlElementPrelim::empty("heading"));
                        for name in ["level", "align", "indent", "id"] {
                            heading.insert_attribute(txn, name, "1");
                        }
                    },
                    &|txn| {
                        txn.get_or_insert_array("rows").remove_range(txn, 0, 1);
                        txn.get_or_insert_xml_fragment("x").remove_range(txn, 0, 1);
                    },
                ],
            );
        }
    }

    #[test]
    fn a_document_of_any_shape_goes_back() {
        check(
            1,
            &[
                &|txn| {
                    let map = txn.get_or_insert_map("m");
                    map.insert(txn, "a", 1);
                    map.insert(txn, "nested", MapPrelim::from([("x", 1)]));
                    txn.get_or_insert_array("l").insert_range(txn, 0, [1, 2, 3]);
                },
                &|txn| {
                    let map = txn.get_or_insert_map("m");
                    map.insert(txn, "a", 2);
                    map.insert(txn, "b", 2);
                    map.remove(txn, "nested");
                },
                &|txn| {
                    let list = txn.get_or_insert_array("l");
                    list.remove_range(txn, 1, 2);
                    list.push_back(txn, ArrayPrelim::from([7, 8]));
                },
            ],
        );
        check(
            1,
            &[
                &|txn| {
                    let root = txn.get_or_insert_xml_fragment("x");
                    let paragraph = root.push_back(txn, XmlElementPrelim::empty("paragraph"));
                    paragraph.push_back(txn, XmlTextPrelim::new("hello"));
                },
                &|txn| {
                    let root = txn.get_or_insert_xml_fragment("x");
                    root.remove_range(txn, 0, 1);
                    root.push_back(txn, XmlElementPrelim::empty("other"));
                },
            ],
        );
        check(
            2,
            &[
                &|txn| txn.get_or_insert_text("t").insert(txn, 0, "one two three"),
                &|txn| {
                    let bold = yrs::types::Attrs::from([("bold".into(), true.into())]);
                    txn.get_or_insert_text("t").format(txn, 4, 3, bold);
                },
                &|txn| txn.get_or_insert_text("t").remove_range(txn, 2, 8),
                &|txn| txn.get_or_insert_text("t").insert(txn, 0, "zero "),
            ],
        );
    }

    #[test]
    fn nothing_to_undo_is_nothing_to_do() {
        let mut revert = Revert::default();
        revert.apply(&Replica::new().set_text("text", "a").expect("changed")).expect("valid");
        revert.mark();
        assert_eq!(revert.finish(), Some(Vec::new()));
    }
}
