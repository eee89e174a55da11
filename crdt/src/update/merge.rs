//! Several updates as one, without a document.
//!
//! The bytes of structs are copied; only a struct that is known in part is written anew. Typed text that follows itself
//! becomes one struct, as it would in a document, and so do values of an array, and what is deleted: yrs would copy what it has joined with each
//! one it joins, and move all that is behind. It decides nothing: what goes in was let in before, and comes out in the same effect.

use std::collections::HashSet;

use bytes::Bytes;

use super::{ANY, DELETED, Deletion, GC, HAS_LEFT, HAS_RIGHT, Id, Parsed, STRING, Section, Struct, parse};
use crate::Malformed;
use crate::lib0::{Reader, var_uint, write_var_bytes, write_var_uint};

/// Merges updates that a document accepted one after the other, with none between them, into one that does the same to
/// whatever has what that document had before. The result has no gap (`Skip`) and passes [`parse`].
///
/// # Errors
///
/// If an update is malformed.
pub fn merge(updates: &[Bytes]) -> Result<Vec<u8>, Malformed> {
    if let [update] = updates {
        return Ok(update.to_vec());
    }
    let parsed = updates.iter().map(|update| parse(update)).collect::<Result<Vec<_>, _>>()?;
    complete(&parsed.iter().collect::<Vec<_>>(), &[])
}

/// As [`merge`], for what was read already; `deleted` is deleted besides.
pub(crate) fn complete(updates: &[&Parsed<'_>], deleted: &[Deletion]) -> Result<Vec<u8>, Malformed> {
    let mut sections: Vec<(&Section, &Parsed<'_>)> =
        updates.iter().flat_map(|update| update.sections.iter().map(move |section| (section, *update))).collect();
    // Higher clients first, as Yjs writes them; the sort is stable and keeps the order of one client's.
    sections.sort_by_key(|(section, _)| std::cmp::Reverse(section.client));
    let mut writer = Writer::new(updates.iter().map(|update| update.bytes.len()).sum());
    writer.apart = places_between(updates);
    for of_client in sections.chunk_by(|(a, _), (b, _)| a.client == b.client) {
        let mut section = writer.section(of_client[0].0.client);
        for (part, update) in of_client {
            for index in part.from as usize..part.to as usize {
                section.push(update, part, index)?;
            }
        }
        section.finish();
    }
    let deletes = updates.iter().flat_map(|update| &update.deletes).chain(deleted).copied().collect();
    Ok(writer.finish(deletes))
}

/// An update without what is known already, if any of it is. `known`: how many elements of a client.
pub(crate) fn unknown(update: &Parsed<'_>, known: impl Fn(u64) -> u32) -> Result<Option<Vec<u8>>, Malformed> {
    let is_new = |section: &Section| known(section.client) <= update.structs_of(section)[0].clock;
    if update.sections.iter().all(is_new) {
        return Ok(None);
    }
    let mut writer = Writer::new(update.bytes.len());
    writer.apart = places_between(&[update]);
    for part in &update.sections {
        let mut section = writer.section(part.client);
        if !is_new(part) {
            section.end = known(part.client);
            section.start = Some(section.end);
        }
        for index in part.from as usize..part.to as usize {
            section.push(update, part, index)?;
        }
        if section.count > 0 {
            section.finish();
        }
    }
    Ok(Some(writer.finish(update.deletes.clone())))
}

/// Where structs of the updates stand between elements that one client inserted one after the other. There it stays in pieces, for yrs would only
/// cut it again.
fn places_between(updates: &[&Parsed<'_>]) -> HashSet<Id> {
    let mut places = HashSet::new();
    for update in updates {
        for section in &update.sections {
            // Who types stands behind the own last element, and before the same one all the time.
            let mut last = None;
            for item in update.structs_of(section) {
                if let Some(left) = item.left
                    && (left.client != section.client || left.clock + 1 != item.clock)
                {
                    places.insert(Id { clock: left.clock + 1, ..left });
                }
                if item.right.is_some() && item.right != last {
                    places.extend(item.right);
                    last = item.right;
                }
            }
        }
    }
    places
}

/// Writes an update client by client.
pub(super) struct Writer {
    /// The sections so far.
    out: Vec<u8>,
    sections: u64,
    /// Structs of the client at hand; its section begins with their count.
    body: Vec<u8>,
    /// Structs stay as they are, or are joined but for these places.
    joins: bool,
    apart: HashSet<Id>,
}

/// One client's structs.
pub(super) struct SectionWriter<'w> {
    writer: &'w mut Writer,
    client: u64,
    start: Option<u32>,
    end: u32,
    count: u64,
    /// The last struct if it may go on.
    open: Option<Open>,
}

/// A struct at the end of what is written.
struct Open {
    kind: u8,
    right: Option<Id>,
    /// Where its length is written in the body: bytes of text, values, or deleted elements. Behind it are so many bytes.
    len_at: usize,
    len: u64,
    bytes: usize,
}

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        let out = Vec::with_capacity(capacity + 16);
        Self { out, sections: 0, body: Vec::new(), joins: true, apart: HashSet::new() }
    }

    /// One that leaves structs in the pieces that they come in.
    pub(super) fn of_pieces() -> Self {
        Self { joins: false, ..Self::new(0) }
    }

    pub(super) fn section(&mut self, client: u64) -> SectionWriter<'_> {
        self.body.clear();
        SectionWriter { writer: self, client, start: None, end: 0, count: 0, open: None }
    }

    /// Appends what was written of one client from a clock on.
    pub(super) fn append_section(&mut self, client: u64, from: u32, count: u64, body: &[u8]) {
        write_var_uint(&mut self.out, count);
        write_var_uint(&mut self.out, client);
        write_var_uint(&mut self.out, u64::from(from));
        self.out.extend_from_slice(body);
        self.sections += 1;
    }

    /// The update: the sections, and what is deleted.
    pub(super) fn finish(self, mut deletes: Vec<Deletion>) -> Vec<u8> {
        let mut update = Vec::with_capacity(self.out.len() + 12 + deletes.len() * 6);
        write_var_uint(&mut update, self.sections);
        update.extend_from_slice(&self.out);
        write_deletes(&mut update, &mut deletes);
        update
    }
}

impl SectionWriter<'_> {
    /// Appends a struct of `update`, or what of it is not written yet.
    pub(super) fn push(&mut self, update: &Parsed<'_>, section: &Section, index: usize) -> Result<(), Malformed> {
        let item = &update.structs[index];
        let bytes = &update.bytes[item.at as usize..update.bytes_end(section, index)];
        match self.start {
            None => self.start = Some(item.clock),
            Some(_) if item.end() <= self.end => return Ok(()),
            // Accepted, so all before it was known, and not from these updates: then what was written so far was known too.
            Some(_) if item.clock > self.end => {
                self.writer.body.clear();
                self.start = Some(item.clock);
                self.count = 0;
            }
            Some(_) if item.clock < self.end => {
                write_rest(&mut self.writer.body, self.client, item, bytes, self.end - item.clock)?;
                self.count += 1;
                self.end = item.end();
                self.open = None;
                return Ok(());
            }
            Some(_) => {
                if self.goes_on(item) {
                    self.append(item, bytes)?;
                    self.end = item.end();
                    return Ok(());
                }
            }
        }
        let at = self.writer.body.len();
        self.writer.body.extend_from_slice(bytes);
        self.open = None;
        if self.writer.joins && item.can_be_joined() {
            let len_at = (item.content_at - item.at) as usize;
            let mut content = Reader::new(&bytes[len_at..]);
            let len = content.var_uint()?;
            self.open =
                Some(Open { kind: item.kind, right: item.right, len_at: at + len_at, len, bytes: content.left() });
        }
        self.count += 1;
        self.end = item.end();
        Ok(())
    }

    /// Appends the first `len` elements of a struct, which has more.
    pub(super) fn push_beginning(
        &mut self,
        update: &Parsed<'_>,
        section: &Section,
        index: usize,
        len: u32,
    ) -> Result<(), Malformed> {
        let item = &update.structs[index];
        let bytes = &update.bytes[item.at as usize..update.bytes_end(section, index)];
        write_beginning(&mut self.writer.body, item, bytes, len)?;
        self.start.get_or_insert(item.clock);
        self.count += 1;
        self.end = item.clock + len;
        self.open = None;
        Ok(())
    }

    fn goes_on(&self, item: &Struct) -> bool {
        let continues = self.open.as_ref().is_some_and(|open| item.continues(self.client, open.kind, open.right));
        continues && !self.writer.apart.contains(&Id { client: self.client, clock: item.clock })
    }

    fn append(&mut self, item: &Struct, bytes: &[u8]) -> Result<(), Malformed> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let body = &mut self.writer.body;
        let mut content = Reader::new(&bytes[(item.content_at - item.at) as usize..]);
        open.len += content.var_uint()?;
        let more = content.rest();
        let begins = body.len() - open.bytes;
        let mut room = [0; 10];
        let len = var_uint(&mut room, open.len);
        if begins - open.len_at == len.len() {
            body[open.len_at..begins].copy_from_slice(len);
        } else {
            body.splice(open.len_at..begins, len.iter().copied());
        }
        body.extend_from_slice(more);
        open.bytes += more.len();
        Ok(())
    }

    pub(super) fn finish(self) {
        let Some(start) = self.start else { return };
        let body = std::mem::take(&mut self.writer.body);
        self.writer.append_section(self.client, start, self.count, &body);
        self.writer.body = body;
    }
}

/// Writes a struct without its first `known` elements.
fn write_rest(out: &mut Vec<u8>, client: u64, item: &Struct, bytes: &[u8], known: u32) -> Result<(), Malformed> {
    let left = item.len - known;
    if item.kind == GC {
        out.push(GC);
        write_var_uint(out, u64::from(left));
        return Ok(());
    }
    out.push(item.kind | HAS_LEFT | if item.right.is_some() { HAS_RIGHT } else { 0 });
    write_var_uint(out, client);
    write_var_uint(out, u64::from(item.clock + known - 1));
    if let Some(right) = item.right {
        write_var_uint(out, right.client);
        write_var_uint(out, u64::from(right.clock));
    }
    let mut content = Reader::new(&bytes[(item.content_at - item.at) as usize..]);
    match item.kind {
        DELETED => write_var_uint(out, u64::from(left)),
        STRING => {
            let text = content.var_str()?;
            let mut rest = String::with_capacity(text.len());
            let mut units = 0;
            for c in text.chars() {
                let begins = units;
                units += c.len_utf16() as u32;
                if begins >= known {
                    rest.push(c);
                } else if units > known {
                    // Half of a surrogate pair is left, which Yjs replaces.
                    rest.push(char::REPLACEMENT_CHARACTER);
                }
            }
            write_var_bytes(out, rest.as_bytes());
        }
        ANY => {
            content.var_uint()?;
            for _ in 0..known {
                super::any(&mut content, 0)?;
            }
            write_var_uint(out, u64::from(left));
            out.extend_from_slice(content.rest());
        }
        _ => return Err(Malformed("a part of something that has none")),
    }
    Ok(())
}

/// Writes the first `len` elements of a struct.
fn write_beginning(out: &mut Vec<u8>, item: &Struct, bytes: &[u8], len: u32) -> Result<(), Malformed> {
    let (head, content) = bytes.split_at((item.content_at - item.at) as usize);
    out.extend_from_slice(head);
    let mut reader = Reader::new(content);
    match item.kind {
        GC | DELETED => write_var_uint(out, u64::from(len)),
        STRING => {
            let mut beginning = String::new();
            let mut units = 0;
            for c in reader.var_str()?.chars() {
                units += c.len_utf16() as u32;
                if units > len {
                    if units - len < c.len_utf16() as u32 {
                        // Half of a surrogate pair is left, which Yjs replaces.
                        beginning.push(char::REPLACEMENT_CHARACTER);
                    }
                    break;
                }
                beginning.push(c);
            }
            write_var_bytes(out, beginning.as_bytes());
        }
        ANY => {
            reader.var_uint()?;
            let values = reader.rest();
            for _ in 0..len {
                super::any(&mut reader, 0)?;
            }
            write_var_uint(out, u64::from(len));
            out.extend_from_slice(&values[..values.len() - reader.left()]);
        }
        _ => return Err(Malformed("a part of something that has none")),
    }
    Ok(())
}

pub(super) fn write_deletes(out: &mut Vec<u8>, deletes: &mut Vec<Deletion>) {
    deletes.sort_unstable_by_key(|range| (std::cmp::Reverse(range.client), range.clock));
    deletes.dedup_by(|next, range| {
        let joins = next.client == range.client && next.clock <= range.clock + range.len;
        if joins {
            range.len = range.len.max(next.clock + next.len - range.clock);
        }
        joins
    });
    write_var_uint(out, deletes.chunk_by(|a, b| a.client == b.client).count() as u64);
    for of_client in deletes.chunk_by(|a, b| a.client == b.client) {
        write_var_uint(out, of_client[0].client);
        write_var_uint(out, of_client.len() as u64);
        for range in of_client {
            write_var_uint(out, u64::from(range.clock));
            write_var_uint(out, u64::from(range.len));
        }
    }
}
