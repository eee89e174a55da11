//! One large update as several small ones.
//!
//! A slow client that is sent a document of many megabytes in one message shows no sign of life until it has all of it. In
//! pieces it can confirm each. The bytes of structs are copied as they are.
//!
//! Whoever applies the pieces sees the document grow, and some readers repair what they see: Yjs deletes formatting that is
//! redundant at that moment, and editors of rich text delete what breaks their schema. What they delete is lost for everyone. So
//! formatted text and XML are not cut at all; plain text, maps and arrays are.

use super::gate::Order;
use super::merge::Writer;
use super::{Deletion, FORMAT, Parsed, Section, TYPE, parse};
use crate::Malformed;

/// Cuts an update into updates of about `max_bytes` each. Applied in order, each finds what it builds on, if the whole does;
/// what is deleted comes last. A struct that is larger is a piece of its own, and an update with formatted text or XML is one piece.
///
/// # Errors
///
/// If the update is malformed.
pub fn split(update: &[u8], max_bytes: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let parsed = parse(update)?;
    let is_whole = update.len() <= max_bytes || is_repaired_by_readers(&parsed);
    let order = if is_whole { None } else { causal_order(&parsed) };
    let Some(order) = order else { return Ok(vec![update.to_vec()]) };
    let mut pieces = Vec::with_capacity(update.len() / max_bytes.max(1) + 1);
    let mut piece = Vec::new();
    let mut size = 0;
    for mut range in order {
        while range.from < range.to {
            let section = &parsed.sections[range.section as usize];
            let mut to = range.from;
            while to < range.to {
                let bytes = parsed.bytes_end(section, to as usize) - parsed.structs[to as usize].at as usize;
                if size > 0 && size + bytes > max_bytes {
                    break;
                }
                size += bytes;
                to += 1;
            }
            if to > range.from {
                piece.push(Range { to, ..range });
                range.from = to;
            }
            if range.from < range.to {
                pieces.push(write(&parsed, &mut piece, Vec::new())?);
                size = 0;
            }
        }
    }
    // A deletion takes two to four bytes of clock and one or two of length.
    for deletes in parsed.deletes.chunks((max_bytes / 6).max(1)) {
        if size > 0 && size + deletes.len() * 6 > max_bytes {
            pieces.push(write(&parsed, &mut piece, Vec::new())?);
        }
        pieces.push(write(&parsed, &mut piece, deletes.to_vec())?);
        size = 0;
    }
    if !piece.is_empty() || pieces.is_empty() {
        pieces.push(write(&parsed, &mut piece, Vec::new())?);
    }
    Ok(pieces)
}

/// True if there is something in it that readers repair while it is not complete.
fn is_repaired_by_readers(update: &Parsed<'_>) -> bool {
    // XML elements, fragments and texts (`typeRefs` in `yjs/src/structs/ContentType.js`).
    let is_xml = |at: u32| matches!(update.bytes[at as usize], 3 | 4 | 6);
    update.structs.iter().any(|item| item.kind == FORMAT || (item.kind == TYPE && is_xml(item.content_at)))
}

/// Structs that follow each other in one section.
#[derive(Clone, Copy)]
struct Range {
    section: u32,
    from: u32,
    to: u32,
}

/// An order of all structs in which each follows what it builds on, or `None` if there is none.
fn causal_order(update: &Parsed<'_>) -> Option<Vec<Range>> {
    // What an update does not bring is taken to be there.
    let mut known: std::collections::HashMap<u64, u32> =
        update.sections.iter().map(|section| (section.client, update.structs[section.from as usize].clock)).collect();
    let mut order = Order::new(&update.sections);
    let mut ranges = Vec::with_capacity(update.sections.len());
    while let Some((index, section, from)) = order.next(update) {
        let mut clock = known[&section.client];
        let mut next = from;
        let mut waits_for = None;
        for item in &update.structs[from..section.to as usize] {
            let needs = [item.left, item.right, update.parent_element(item)];
            let is_unknown = |of: &super::Id| {
                of.client != section.client && known.get(&of.client).is_some_and(|known| of.clock >= *known)
            };
            waits_for = needs.into_iter().flatten().find(is_unknown);
            if waits_for.is_some() {
                break;
            }
            clock = item.end();
            next += 1;
        }
        known.insert(section.client, clock);
        if next > from {
            ranges.push(Range { section: index as u32, from: from as u32, to: next as u32 });
        }
        order.placed(index, section, next, clock, waits_for);
    }
    order.is_finished().then_some(ranges)
}

/// Writes the ranges of a piece, client by client, and empties it.
fn write(parsed: &Parsed<'_>, piece: &mut Vec<Range>, deletes: Vec<Deletion>) -> Result<Vec<u8>, Malformed> {
    let section_of = |range: &Range| -> &Section { &parsed.sections[range.section as usize] };
    piece.sort_unstable_by_key(|range| (std::cmp::Reverse(section_of(range).client), range.from));
    let mut writer = Writer::of_pieces();
    for of_client in piece.chunk_by(|a, b| a.section == b.section) {
        let section = section_of(&of_client[0]);
        let mut out = writer.section(section.client);
        for range in of_client {
            for index in range.from..range.to {
                out.push(parsed, section, index as usize)?;
            }
        }
        out.finish();
    }
    piece.clear();
    Ok(writer.finish(deletes))
}
