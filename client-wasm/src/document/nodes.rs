//! XML: fragments and elements with children and attributes. The text within is a text like any other.

use yrs::{
    Any, GetString, Xml, XmlElementPrelim, XmlElementRef, XmlFragment, XmlFragmentRef, XmlOut, XmlTextPrelim,
    XmlTextRef,
};

use super::sequence::within;
use super::{Document, Error, Kind, TypeId, Value};

const PARENTS: &[Kind] = &[Kind::XmlFragment, Kind::XmlElement];

/// A new node.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    Element(&'a str),
    Text(&'a str),
}

impl Document {
    pub fn xml_len(&mut self, of: TypeId) -> Result<u32, Error> {
        self.read(|txn, types| Ok(XmlFragmentRef::from(types.branch(txn, of, PARENTS)?).len(txn)))
    }

    pub fn xml_children(&mut self, of: TypeId) -> Result<Vec<Value>, Error> {
        self.read(|txn, types| {
            let parent = XmlFragmentRef::from(types.branch(txn, of, PARENTS)?);
            let children: Vec<XmlOut> = parent.children(txn).collect();
            Ok(children.into_iter().map(|child| types.value(child.into())).collect())
        })
    }

    pub fn xml_insert(&mut self, now: u64, of: TypeId, index: u32, node: Node<'_>) -> Result<TypeId, Error> {
        let id = self.edit(now, |txn, types| {
            let parent = XmlFragmentRef::from(types.branch(txn, of, PARENTS)?);
            within(index, parent.len(txn))?;
            let out = match node {
                Node::Element(tag) => XmlOut::Element(parent.insert(txn, index, XmlElementPrelim::empty(tag))),
                Node::Text(text) => XmlOut::Text(parent.insert(txn, index, XmlTextPrelim::new(text))),
            };
            match types.value(out.into()) {
                Value::Type(id, _) => Ok(id),
                Value::Any(_) => Err(Error::Gone),
            }
        })?;
        if let Node::Text(text) = node {
            self.has_pairs |= text.bytes().any(|byte| byte >= 0xf0);
        }
        Ok(id)
    }

    pub fn xml_delete(&mut self, now: u64, of: TypeId, index: u32, len: u32) -> Result<(), Error> {
        self.edit(now, |txn, types| {
            let parent = XmlFragmentRef::from(types.branch(txn, of, PARENTS)?);
            within(index.saturating_add(len), parent.len(txn))?;
            if len > 0 {
                parent.remove_range(txn, index, len);
            }
            Ok(())
        })
    }

    /// An element's tag.
    pub fn xml_tag(&mut self, of: TypeId) -> Result<String, Error> {
        self.read(|txn, types| {
            let element = XmlElementRef::from(types.branch(txn, of, &[Kind::XmlElement])?);
            Ok(element.try_tag().map(ToString::to_string).unwrap_or_default())
        })
    }

    pub fn xml_attributes(&mut self, of: TypeId) -> Result<Vec<(String, Value)>, Error> {
        self.read(|txn, types| {
            let element = XmlElementRef::from(types.branch(txn, of, &[Kind::XmlElement])?);
            let mut all: Vec<_> = element.attributes(txn).map(|(key, value)| (key.to_owned(), value)).collect();
            all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Ok(all.into_iter().map(|(key, value)| (key, types.value(value))).collect())
        })
    }

    /// Sets an attribute; `None` takes it away.
    pub fn xml_set_attribute(&mut self, now: u64, of: TypeId, key: &str, value: Option<Any>) -> Result<(), Error> {
        self.edit(now, |txn, types| {
            let element = XmlElementRef::from(types.branch(txn, of, &[Kind::XmlElement])?);
            match value {
                Some(value) => {
                    element.insert_attribute(txn, key, value);
                }
                None => element.remove_attribute(txn, &key),
            }
            Ok(())
        })
    }

    /// Node and everything in it as XML.
    pub fn xml_string(&mut self, of: TypeId) -> Result<String, Error> {
        let kind = self.kind(of);
        self.read(|txn, types| {
            let branch = types.branch(txn, of, &[Kind::XmlFragment, Kind::XmlElement, Kind::XmlText])?;
            Ok(match kind {
                Kind::XmlElement => XmlElementRef::from(branch).get_string(txn),
                Kind::XmlText => XmlTextRef::from(branch).get_string(txn),
                _ => XmlFragmentRef::from(branch).get_string(txn),
            })
        })
    }
}
