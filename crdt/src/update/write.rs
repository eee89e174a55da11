//! Writes the update of one edit of a text whose neighbours are known, byte for byte as Yjs and yrs would.

use super::merge::write_deletes;
use super::{Deletion, HAS_LEFT, HAS_RIGHT, Id, STRING, parse};
use crate::history::Span;
use crate::lib0::{write_var_bytes, write_var_uint};

/// The id of one element: who made it, and its number among those.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
    pub client: u64,
    pub clock: u32,
}

impl Element {
    fn write(self, out: &mut Vec<u8>) {
        write_var_uint(out, self.client);
        write_var_uint(out, self.clock.into());
    }
}

/// Inserts `text`, whose first element becomes `first`, between two neighbours. `None` if it has none: then the update would have to name
/// the list.
pub fn insertion(first: Element, left: Option<Element>, right: Option<Element>, text: &str) -> Option<Vec<u8>> {
    if left.is_none() && right.is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + 40);
    // One client with one struct.
    out.extend([1, 1]);
    first.write(&mut out);
    let flag = |neighbour: Option<Element>, flag: u8| if neighbour.is_some() { flag } else { 0 };
    out.push(STRING | flag(left, HAS_LEFT) | flag(right, HAS_RIGHT));
    for neighbour in [left, right].into_iter().flatten() {
        neighbour.write(&mut out);
    }
    write_var_bytes(&mut out, text.as_bytes());
    // Nothing is deleted.
    out.push(0);
    Some(out)
}

/// Where an update, if it does nothing else, inserts text: its first element, and the neighbours.
pub fn inserted(update: &[u8]) -> Option<(Element, Option<Element>, Option<Element>)> {
    let update = parse(update).ok()?;
    let ([section], [item], []) = (update.sections.as_slice(), update.structs.as_slice(), update.deletes.as_slice())
    else {
        return None;
    };
    let element = |id: Id| Element { client: id.client, clock: id.clock };
    let first = Element { client: section.client, clock: item.clock };
    (item.kind == STRING).then(|| (first, item.left.map(element), item.right.map(element)))
}

/// Deletes elements.
pub fn deletion(spans: &[Span]) -> Vec<u8> {
    // Nothing is brought.
    let mut out = vec![0];
    let deletion = |span: &Span| Deletion { client: span.client, clock: span.clock as u32, len: span.len as u32 };
    write_deletes(&mut out, &mut spans.iter().map(deletion).collect());
    out
}
