//! Texts, plain and formatted.

use yrs::types::Attrs;
use yrs::types::text::YChange;
use yrs::{Any, GetString, ReadTxn, Text, TextRef, TransactionMut};

use super::{Document, Error, Kind, TypeId, Types, Value};

const TEXTS: &[Kind] = &[Kind::Text, Kind::XmlText];

/// A stretch of a text with the same attributes, or something embedded.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    pub insert: Value,
    pub attributes: Vec<(String, Any)>,
}

impl Document {
    /// How many UTF-16 units the text has; something embedded counts as one.
    pub fn text_len(&mut self, of: TypeId) -> Result<u32, Error> {
        self.read(|txn, types| Ok(text(txn, types, of)?.len(txn)))
    }

    pub fn text(&mut self, of: TypeId) -> Result<String, Error> {
        self.read(|txn, types| Ok(text(txn, types, of)?.get_string(txn)))
    }

    /// The text with its attributes and what is embedded in it.
    pub fn pieces(&mut self, of: TypeId) -> Result<Vec<Piece>, Error> {
        self.read(|txn, types| {
            let pieces = text(txn, types, of)?.diff(txn, YChange::identity);
            let piece = |piece: yrs::types::text::Diff<YChange>| Piece {
                insert: types.value(piece.insert),
                attributes: attributes(piece.attributes),
            };
            Ok(pieces.into_iter().map(piece).collect())
        })
    }

    /// Inserts `chunk` before the unit at `index`. Without attributes it takes those of what stands before.
    pub fn insert_text(
        &mut self,
        now: u64,
        of: TypeId,
        index: u32,
        chunk: &str,
        attributes: Option<Attrs>,
    ) -> Result<(), Error> {
        let has_pairs = self.has_pairs;
        if attributes.is_none() && self.insert_quickly(now, of, index, chunk)? {
            self.has_pairs |= has_pair(chunk);
            return Ok(());
        }
        if attributes.is_none() && !chunk.is_empty() && self.quick.knows(of) {
            self.quick.walk_to_learn(index, chunk);
        } else {
            self.quick.walk(of);
        }
        let edited = self.edit(now, |txn, types| {
            let text = text(txn, types, of)?;
            check(txn, &text, has_pairs, &[index])?;
            match attributes {
                _ if chunk.is_empty() => {}
                Some(attributes) => text.insert_with_attributes(txn, index, chunk, attributes),
                None => text.insert(txn, index, chunk),
            }
            Ok(())
        });
        match edited {
            Ok(()) => self.has_pairs |= has_pair(chunk),
            // There is nothing to be learnt.
            Err(_) => self.quick.forget(),
        }
        edited
    }

    /// Inserts something that is no text and counts as one unit.
    pub fn embed(
        &mut self,
        now: u64,
        of: TypeId,
        index: u32,
        value: Any,
        attributes: Option<Attrs>,
    ) -> Result<(), Error> {
        let has_pairs = self.has_pairs;
        self.quick.walk(of);
        self.edit(now, |txn, types| {
            let text = text(txn, types, of)?;
            check(txn, &text, has_pairs, &[index])?;
            text.insert_embed_with_attributes(txn, index, value, attributes.unwrap_or_default());
            Ok(())
        })
    }

    pub fn delete_text(&mut self, now: u64, of: TypeId, index: u32, len: u32) -> Result<(), Error> {
        if self.delete_quickly(now, of, index, len)? {
            return Ok(());
        }
        let has_pairs = self.has_pairs;
        self.quick.walk(of);
        self.edit(now, |txn, types| {
            let text = text(txn, types, of)?;
            check(txn, &text, has_pairs, &[index, index.saturating_add(len)])?;
            if len > 0 {
                text.remove_range(txn, index, len);
            }
            Ok(())
        })
    }

    /// Sets attributes of a stretch, and takes those away that are null.
    pub fn format(&mut self, now: u64, of: TypeId, index: u32, len: u32, attributes: Attrs) -> Result<(), Error> {
        let has_pairs = self.has_pairs;
        self.quick.walk(of);
        self.edit(now, |txn, types| {
            let text = text(txn, types, of)?;
            check(txn, &text, has_pairs, &[index, index.saturating_add(len)])?;
            if len > 0 {
                text.format(txn, index, len, attributes);
            }
            Ok(())
        })
    }
}

/// A character of two units has four bytes, the first of which is one of these.
fn has_pair(chunk: &str) -> bool {
    chunk.bytes().any(|byte| byte >= 0xf0)
}

fn text(txn: &TransactionMut<'_>, types: &Types, of: TypeId) -> Result<TextRef, Error> {
    Ok(TextRef::from(types.branch(txn, of, TEXTS)?))
}

pub(super) fn attributes(attributes: Option<Box<Attrs>>) -> Vec<(String, Any)> {
    let mut all: Vec<_> =
        attributes.into_iter().flat_map(|all| *all).map(|(key, value)| (key.to_string(), value)).collect();
    all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Looks whether each index is one of the text, and before or behind a whole character.
fn check<T: ReadTxn>(txn: &T, text: &TextRef, has_pairs: bool, indices: &[u32]) -> Result<(), Error> {
    let len = text.len(txn);
    if let Some(index) = indices.iter().find(|index| **index > len) {
        return Err(Error::OutOfRange { index: *index, len });
    }
    if has_pairs && indices.iter().any(|index| *index > 0 && *index < len) {
        return check_pairs(txn, text, indices);
    }
    Ok(())
}

/// Goes through the whole text, so only texts with such characters pay for it.
fn check_pairs<T: ReadTxn>(txn: &T, text: &TextRef, indices: &[u32]) -> Result<(), Error> {
    let mut at = 0u32;
    for piece in text.diff(txn, YChange::identity) {
        let yrs::Out::Any(Any::String(string)) = piece.insert else {
            at += 1;
            continue;
        };
        for byte in string.bytes() {
            // The first byte of a character of four stands for two units, that of any other for one.
            if byte >= 0xf0 {
                if indices.contains(&(at + 1)) {
                    return Err(Error::SplitsPair(at + 1));
                }
                at += 2;
            } else if byte & 0xc0 != 0x80 {
                at += 1;
            }
        }
    }
    Ok(())
}
