//! XML as Yjs' `toString` writes it: attributes in the order of their names, nothing escaped, the formats of a text as elements around it.
//!
//! yrs writes the same, with attributes in another order each time. Tags keep their capitals here. What lies in a fragment and is no XML is
//! left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use yrs::types::text::YChange;
use yrs::{Any, Out, ReadTxn, Text, Xml, XmlElementRef, XmlFragment, XmlOut, XmlTextRef};

use crate::replica::to_json;

/// What lies in `of`. It recurses no deeper than the gate lets types nest.
pub(super) fn children<T: ReadTxn>(of: &impl XmlFragment, txn: &T) -> String {
    let Some(first) = of.first_child() else { return String::new() };
    let rest: Vec<XmlOut> = match &first {
        XmlOut::Element(element) => element.siblings(txn).collect(),
        XmlOut::Text(text) => text.siblings(txn).collect(),
        XmlOut::Fragment(_) => Vec::new(),
    };
    let node = |node| match node {
        XmlOut::Element(inner) => element(&inner, txn),
        XmlOut::Fragment(inner) => children(&inner, txn),
        XmlOut::Text(inner) => text(&inner, txn),
    };
    std::iter::once(first).chain(rest).map(node).collect()
}

pub(super) fn element<T: ReadTxn>(of: &XmlElementRef, txn: &T) -> String {
    let attributes = of.attributes(txn).map(|(name, value)| (name.to_owned(), shown(value, txn))).collect();
    let tag = of.tag();
    format!("{}{}</{tag}>", begin(tag, &attributes), children(of, txn))
}

pub(super) fn text<T: ReadTxn>(of: &XmlTextRef, txn: &T) -> String {
    let mut out = String::new();
    for piece in of.diff(txn, YChange::identity) {
        let formats: BTreeMap<_, _> = piece.attributes.into_iter().flat_map(|formats| *formats).collect();
        for (name, format) in &formats {
            let attributes = match format {
                Any::Map(values) => values.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
                _ => BTreeMap::new(),
            };
            out.push_str(&begin(name, &attributes));
        }
        out.push_str(&shown(piece.insert, txn));
        for name in formats.keys().rev() {
            let _ = write!(out, "</{name}>");
        }
    }
    out
}

fn begin(name: &str, attributes: &BTreeMap<String, String>) -> String {
    let attributes: String = attributes.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
    format!("<{name}{attributes}>")
}

fn shown<T: ReadTxn>(value: Out, txn: &T) -> String {
    match value {
        Out::Any(value) => plain(&value),
        other => other.to_string(txn),
    }
}

/// A string as it is, and everything else as JSON.
fn plain(value: &Any) -> String {
    match value {
        Any::String(value) => value.to_string(),
        other => to_json(other).to_string(),
    }
}
