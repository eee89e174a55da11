//! A document's contents as JSON, text or XML, for readers that are no Yjs clients.
//!
//! yrs walks a document without a bound on its steps: text with a character outside of the basic plane that lies in an array, or is
//! read as one, has it walk without end, and other mixtures make it panic. The first is refused here and the second becomes an error,
//! but nobody has proved that there is no third. So **whoever exports what clients wrote runs [`json`] on a thread of its own and waits for
//! it with a deadline.** A thread that does not end cannot be stopped; it keeps its replica. So give it one that was loaded for it
//! ([`Replica::load`]), never the one that people work in, and take no more exports once a few threads were lost.

mod xml;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use yrs::types::text::YChange;
use yrs::{Array, GetString, Map, Out, ReadTxn, Text, Transact};

use crate::Replica;
use crate::replica::to_json;

/// As what a root type is read: its name alone does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Map,
    Array,
    Xml,
}

/// The type cannot be read as what it was asked for, because clients put something else into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what is in this document cannot be read as what was asked for")]
pub struct Unreadable;

/// The root type `name`: a string for text and XML, an array, or an object. Binary content and subdocuments are `null`.
pub fn json(replica: &Replica, name: &str, kind: Kind) -> Result<Value, Unreadable> {
    if kind != Kind::Text && replica.has_text_in_array((kind == Kind::Array).then_some(name)) {
        return Err(Unreadable);
    }
    catch_unwind(AssertUnwindSafe(|| {
        let txn = replica.doc().transact();
        match kind {
            Kind::Text => Value::String(txn.get_text(name).map_or_else(String::new, |text| text.get_string(&txn))),
            Kind::Xml => {
                Value::String(txn.get_xml_fragment(name).map_or_else(String::new, |root| xml::children(&root, &txn)))
            }
            Kind::Map => {
                txn.get_map(name).map_or_else(|| Value::Object(Default::default()), |map| value(Out::YMap(map), &txn))
            }
            Kind::Array => {
                txn.get_array(name).map_or_else(|| Value::Array(Vec::new()), |list| value(Out::YArray(list), &txn))
            }
        }
    }))
    .map_err(|_| Unreadable)
}

/// A value and all in it. It recurses no deeper than the gate lets types nest.
fn value<T: ReadTxn>(of: Out, txn: &T) -> Value {
    match of {
        Out::Any(plain) => to_json(&plain),
        Out::YText(text) => Value::String(text.get_string(txn)),
        Out::YArray(list) => list.iter(txn).map(|inner| value(inner, txn)).collect(),
        Out::YMap(map) => map.iter(txn).map(|(key, inner)| (key.to_owned(), value(inner, txn))).collect(),
        Out::YXmlElement(element) => Value::String(xml::element(&element, txn)),
        Out::YXmlFragment(fragment) => Value::String(xml::children(&fragment, txn)),
        Out::YXmlText(text) => Value::String(xml::text(&text, txn)),
        Out::YDoc(_) | Out::UndefinedRef(_) => Value::Null,
    }
}

/// The names of the document's root types, in order.
pub fn roots(replica: &Replica) -> Vec<String> {
    let mut names: Vec<String> = replica.doc().transact().root_refs().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// The text at the root type `name`; empty if there is none.
pub fn text(replica: &Replica, name: &str) -> Result<String, Unreadable> {
    let text = replica.text(name);
    if text.is_empty() && guess(replica, name)? != Kind::Text { Err(Unreadable) } else { Ok(text) }
}

/// As what the root type `name` was most likely meant, by what is in it. An empty one counts as text.
pub fn guess(replica: &Replica, name: &str) -> Result<Kind, Unreadable> {
    // Types may lie in any list, but strings and what is embedded only in a text.
    let is_text = || {
        let txn = replica.doc().transact();
        let pieces = txn.get_text(name).map_or_else(Vec::new, |text| text.diff(&txn, YChange::identity));
        pieces.iter().any(|piece| matches!(piece.insert, Out::Any(_)))
    };
    if catch_unwind(AssertUnwindSafe(is_text)).map_err(|_| Unreadable)? {
        return Ok(Kind::Text);
    }
    if json(replica, name, Kind::Map)?.as_object().is_some_and(|map| !map.is_empty()) {
        return Ok(Kind::Map);
    }
    if replica.has_text_in_array(Some(name)) {
        return Err(Unreadable);
    }
    catch_unwind(AssertUnwindSafe(|| {
        let txn = replica.doc().transact();
        match txn.get_array(name).and_then(|list| list.get(&txn, 0)) {
            None => Kind::Text,
            Some(Out::YXmlElement(_) | Out::YXmlText(_) | Out::YXmlFragment(_)) => Kind::Xml,
            Some(_) => Kind::Array,
        }
    }))
    .map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::HashMap;
    use yrs::Any;
    use yrs::types::Attrs;
    use yrs::{ArrayPrelim, Xml, XmlElementPrelim, XmlFragment, XmlTextPrelim};

    #[test]
    fn a_document_is_read_as_what_it_is() {
        let mut replica = Replica::new();
        let doc = replica.doc().clone();
        let (text, list) = (doc.get_or_insert_text("text"), doc.get_or_insert_array("list"));
        let map = doc.get_or_insert_map("map");
        replica.edit(|txn| {
            text.insert(txn, 0, "a😀");
            list.push_back(txn, "x");
            list.push_back(txn, ArrayPrelim::from([1, 2]));
            map.insert(txn, "k", true);
        });
        assert_eq!(json(&replica, "text", Kind::Text), Ok(json!("a😀")));
        assert_eq!(json(&replica, "list", Kind::Array), Ok(json!(["x", [1, 2]])));
        assert_eq!(json(&replica, "map", Kind::Map), Ok(json!({"k": true})));
        assert_eq!(json(&replica, "nothing", Kind::Map), Ok(json!({})));
        // yrs would look for the rest of the emoji for ever.
        assert_eq!(json(&replica, "text", Kind::Array), Err(Unreadable));
        // So it would in an array inside of the map.
        let nested =
            [&[1, 2, 7, 0, 0x27, 1, 3][..], b"map", &[1, b'n', 0], &[4, 0, 7, 0, 4], "😀".as_bytes(), &[0]].concat();
        replica.apply_foreign(&nested).expect("well-formed");
        assert_eq!(json(&replica, "map", Kind::Map), Err(Unreadable));
        assert_eq!(json(&replica, "text", Kind::Text), Ok(json!("a😀")));
    }

    #[test]
    fn xml_is_the_same_each_time_wherever_it_lies() {
        let expected = "<p Align=\"b\" id=\"7\" level=\"\">1 < <b><i c=\"d\" e=\"1\">2</i></b></p>";
        for _ in 0..20 {
            let mut replica = Replica::new();
            let doc = replica.doc().clone();
            let (map, list, xml) =
                (doc.get_or_insert_map("m"), doc.get_or_insert_array("l"), doc.get_or_insert_xml_fragment("x"));
            replica.edit(|txn| {
                let made = [
                    xml.push_back(txn, XmlElementPrelim::empty("p")),
                    map.insert(txn, "k", XmlElementPrelim::empty("p")),
                    list.push_back(txn, XmlElementPrelim::empty("p")),
                ];
                for p in made {
                    p.insert_attribute(txn, "level", "");
                    p.insert_attribute(txn, "id", 7);
                    p.insert_attribute(txn, "Align", "b");
                    let text = p.push_back(txn, XmlTextPrelim::new("1 < 2"));
                    let format = HashMap::from([("e".to_owned(), Any::from(1)), ("c".to_owned(), "d".into())]);
                    let formats = Attrs::from([("i".into(), Any::from(format)), ("b".into(), true.into())]);
                    text.format(txn, 4, 1, formats);
                }
            });
            assert_eq!(json(&replica, "x", Kind::Xml), Ok(json!(expected)));
            assert_eq!(json(&replica, "m", Kind::Map), Ok(json!({"k": expected})));
            assert_eq!(json(&replica, "l", Kind::Array), Ok(json!([expected])));
        }
    }

    #[test]
    fn what_a_root_was_meant_as_is_guessed_by_what_is_in_it() {
        let mut replica = Replica::new();
        let (text, map) = (replica.doc().get_or_insert_text("text"), replica.doc().get_or_insert_map("map"));
        let image = replica.doc().get_or_insert_text("image");
        let (list, xml) = (replica.doc().get_or_insert_array("list"), replica.doc().get_or_insert_xml_fragment("xml"));
        replica.edit(|txn| {
            text.insert(txn, 0, "a😀");
            image.insert_embed(txn, 0, Any::from(HashMap::from([("image".to_owned(), Any::from("x.png"))])));
            map.insert(txn, "k", 1);
            list.insert(txn, 0, "text that is a value");
            xml.push_back(txn, XmlElementPrelim::empty("p"));
        });
        let mut loaded = Replica::new();
        loaded.apply(&replica.state()).expect("valid");
        let names = roots(&loaded);
        let guessed: Vec<_> = names.iter().map(|name| guess(&loaded, name).expect("readable")).collect();
        assert_eq!(names, ["image", "list", "map", "text", "xml"]);
        assert_eq!(guessed, [Kind::Text, Kind::Array, Kind::Map, Kind::Text, Kind::Xml]);
        assert_eq!(guess(&loaded, "nothing"), Ok(Kind::Text));
        let texts: Vec<_> = names.iter().map(|name| super::text(&loaded, name)).collect();
        assert_eq!(texts, [Ok(String::new()), Err(Unreadable), Err(Unreadable), Ok("a😀".to_owned()), Err(Unreadable)]);
        assert_eq!(super::text(&loaded, "nothing"), Ok(String::new()));
    }
}
