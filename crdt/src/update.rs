//! What is checked before a client's update reaches `yrs`, and what can be done with updates without a document.
//!
//! yrs 0.28 can be made to diverge, abort, hang and read freed memory by updates that arrive out of
//! causal order or break the format's rules. So an update passes two doors. [`parse`] reads it
//! strictly (format v1, `yjs/src/utils/UpdateEncoder.js`) and refuses what is malformed or what yrs
//! is known to handle wrongly. The [`gate::Gate`] then plays the integration through on clocks and lists
//! alone: only an update whose every struct and deletion can take effect now may be applied.
//!
//! [`merge`] and [`split`] work on the bytes of structs as they are, so their cost is that of a copy.
//!
//! It does not keep updates that come too early: the sender is asked for what is missing instead.

mod as_of;
pub(crate) mod gate;
pub(crate) mod hidden;
mod lists;
mod merge;
mod settled;
mod split;
pub(crate) mod work;
pub mod write;

use std::collections::HashSet;

use yrs::block::ClientID;
use yrs::{ID, IdSet, StateVector};

use crate::Malformed;
use crate::history::Span;
use crate::lib0::{Reader, write_var_uint};
pub(crate) use as_of::{Snapshot, as_of};
pub use hidden::{Binary, held_big_int, held_bytes};
pub use merge::merge;
pub(crate) use merge::{complete, unknown};
pub(crate) use settled::settled;
pub use split::split;

/// Deepest nesting of a JSON-like value. yrs decodes recursively and would overflow its stack.
const MAX_ANY_DEPTH: u32 = 64;

/// Clocks at or above this are refused: yrs computes with 32-bit clocks.
const MAX_CLOCK: u64 = 1 << 31;

/// Most clients that one update of a client may bring structs of. Past it the update is refused: yrs
/// recurses over those it is done with.
pub(crate) const MAX_CLIENTS_PER_UPDATE: usize = 4096;

/// Most clients that a document may know. Past it, structs of a further one are refused, so that the document's whole
/// state, which is one update, can be loaded within the stack of a thread.
pub(crate) const MAX_CLIENTS_PER_DOCUMENT: usize = 32_768;

/// Most clients that a state vector may name. A client may know of more than a document may have, so it is twice as many.
const MAX_CLIENTS_PER_STATE_VECTOR: usize = 2 * MAX_CLIENTS_PER_DOCUMENT;

/// Deepest nesting of shared types. Past it an update is refused: yrs deletes what is inside a type by recursion.
pub(crate) const MAX_NESTING: u32 = 256;

/// Longest key, in bytes, that a client may name. yrs looks at all of it with each value the key gets.
pub(crate) const MAX_KEY: usize = 4096;

/// Flags of a struct's first byte (`yjs/src/structs/Item.js`); its low five bits are the kind of content.
const HAS_LEFT: u8 = 0x80;
const HAS_RIGHT: u8 = 0x40;
const HAS_PARENT_KEY: u8 = 0x20;

/// Kinds of content (`contentRefs` in `yjs/src/structs/Item.js`).
const GC: u8 = 0;
const DELETED: u8 = 1;
const BINARY: u8 = 3;
const STRING: u8 = 4;
const FORMAT: u8 = 6;
const TYPE: u8 = 7;
const ANY: u8 = 8;
const DOCUMENT: u8 = 9;

/// The id of one element: who made it, and its number among those.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Id {
    client: u64,
    clock: u32,
}

/// One struct of an update: `len` elements of one client from `clock` on.
#[derive(Clone, Copy, Debug)]
struct Struct {
    clock: u32,
    len: u32,
    /// Where its bytes, and those of its content, begin in the update.
    at: u32,
    content_at: u32,
    /// The neighbours it was inserted between.
    left: Option<Id>,
    right: Option<Id>,
    /// Its place in [`Parsed::parents`] if it names its parent, which it does if it has no neighbours.
    parent: Option<u32>,
    /// The kind of its content; 0 if it is a collected range.
    kind: u8,
}

impl Struct {
    fn end(&self) -> u32 {
        self.clock + self.len
    }

    /// True if yrs makes one block of it and another of its kind that continues it.
    fn can_be_joined(&self) -> bool {
        matches!(self.kind, GC | DELETED | STRING | ANY)
    }

    /// True if it is more of the same insertion as the struct before it, which is of this kind and was put before `right`.
    fn continues(&self, client: u64, kind: u8, right: Option<Id>) -> bool {
        let before = Id { client, clock: self.clock.wrapping_sub(1) };
        self.kind == kind && (kind == GC || self.left == Some(before) && self.right == right)
    }
}

/// The list a struct without neighbours begins: that of a type, or of one key of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Parent<'a> {
    of: ParentType<'a>,
    key: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ParentType<'a> {
    Root(&'a str),
    Element(Id),
}

/// Structs of one client, whose clocks follow each other without a gap.
#[derive(Clone, Copy, Debug)]
struct Section {
    client: u64,
    /// Range in [`Parsed::structs`].
    from: u32,
    to: u32,
    /// Where the bytes of its last struct end.
    bytes_end: u32,
}

/// A range of deleted elements of one client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deletion {
    client: u64,
    clock: u32,
    len: u32,
}

/// A well-formed update, reduced to what its order depends on.
#[derive(Debug)]
pub struct Parsed<'a> {
    bytes: &'a [u8],
    sections: Vec<Section>,
    structs: Vec<Struct>,
    parents: Vec<Parent<'a>>,
    deletes: Vec<Deletion>,
    /// It has structs that must not reach yrs as they are, see [`hidden`].
    needs_rewrite: bool,
    subdocuments: u32,
    has_formats: bool,
    /// Neighbouring structs in it are one insertion.
    has_chains: bool,
    /// Ranges of one client in its delete set overlap or are out of order, which those of Yjs never are.
    has_tangled_deletes: bool,
}

/// What an update does to a document's size, as far as can be seen without the document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weight {
    pub brings_something: bool,
    /// Elements that it takes away: characters, or whole values.
    pub deleted: u64,
}

/// Weighs an update; `None` if it is none.
pub fn weigh(update: &[u8]) -> Option<Weight> {
    let update = parse(update).ok()?;
    let deleted = update.deletes.iter().map(|range| u64::from(range.len)).sum();
    Some(Weight { brings_something: !update.structs.is_empty(), deleted })
}

/// Reads an update and checks every rule that does not depend on a document.
pub fn parse(update: &[u8]) -> Result<Parsed<'_>, Malformed> {
    if u32::try_from(update.len()).is_err() {
        return Err(Malformed("an update of 4 GiB or more"));
    }
    let mut reader = Reader::new(update);
    let mut parsed = Parsed::new(update);
    parsed.read_structs(&mut reader)?;
    parsed.read_deletes(&mut reader)?;
    if !reader.is_empty() {
        return Err(Malformed("bytes after an update"));
    }
    Ok(parsed)
}

/// Checks a state vector: yrs would reserve memory for any count it claims.
pub fn check_state_vector(bytes: &[u8]) -> Result<(), Malformed> {
    read_state_vector(&mut Reader::new(bytes)).map(drop)
}

/// Reads what `bytes` say of those clients that a document knows. `yrs` finds clients by the bits of their ids, so a vector of many strangers
/// whose ids end alike would keep it busy for hours.
pub(crate) fn state_vector(bytes: &[u8], knows: impl Fn(u64) -> bool) -> Result<StateVector, Malformed> {
    let mut known = StateVector::default();
    for (client, clock) in read_state_vector(&mut Reader::new(bytes))? {
        if knows(client) {
            known.set_max(ClientID::new(client), clock);
        }
    }
    Ok(known)
}

/// Reads a state vector to the end of the bytes.
fn read_state_vector(reader: &mut Reader<'_>) -> Result<Vec<(u64, u32)>, Malformed> {
    let count = reader.count(2)?;
    if cfg!(feature = "budget") && count > MAX_CLIENTS_PER_STATE_VECTOR {
        return Err(Malformed("a state vector of too many clients"));
    }
    let mut seen = Distinct::new();
    let mut clocks = Vec::with_capacity(count);
    for _ in 0..count {
        let client = reader.var_uint()?;
        if !seen.insert(client) {
            return Err(Malformed("a client twice in a state vector"));
        }
        clocks.push((client, clock(reader)?));
    }
    if !reader.is_empty() {
        return Err(Malformed("bytes after a state vector"));
    }
    Ok(clocks)
}

impl<'a> Parsed<'a> {
    /// Of these bytes, of which nothing is read yet.
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            sections: Vec::new(),
            structs: Vec::new(),
            parents: Vec::new(),
            deletes: Vec::new(),
            needs_rewrite: false,
            subdocuments: 0,
            has_formats: false,
            has_chains: false,
            has_tangled_deletes: false,
        }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The element that a struct names as its parent.
    fn parent_element(&self, item: &Struct) -> Option<Id> {
        match self.parents[item.parent? as usize].of {
            ParentType::Element(id) => Some(id),
            ParentType::Root(_) => None,
        }
    }

    /// True if all that it deletes is in `deleted`, which is asked for only if it deletes anything. The ranges must not be tangled.
    pub(crate) fn deletes_only(&self, deleted: impl FnOnce() -> IdSet) -> bool {
        let mut deletes = IdSet::new();
        for range in &self.deletes {
            deletes.insert(ID::new(ClientID::new(range.client), range.clock), range.len);
        }
        deletes.is_empty() || deletes.diff(&deleted()).is_empty()
    }

    /// The elements it brings, whether a document has them already or not.
    pub(crate) fn brought(&self) -> impl Iterator<Item = Span> {
        self.sections.iter().filter_map(|section| {
            let structs = self.structs_of(section);
            let (first, last) = (structs.first()?, structs.last()?);
            Some(Span { client: section.client, clock: first.clock.into(), len: (last.end() - first.clock).into() })
        })
    }

    /// The elements it deletes.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = Span> {
        let span = |range: &Deletion| Span { client: range.client, clock: range.clock.into(), len: range.len.into() };
        self.deletes.iter().map(span)
    }

    /// True if it has something that must not reach yrs as it is, see [`hidden`].
    pub(crate) fn needs_rewrite(&self) -> bool {
        self.needs_rewrite
    }

    /// True if it brings nothing and takes nothing away.
    pub(crate) fn is_empty(&self) -> bool {
        self.structs.is_empty() && self.deletes.is_empty()
    }

    /// True if it brings a subdocument.
    pub(crate) fn has_subdocument(&self) -> bool {
        self.subdocuments > 0
    }

    /// True if it brings in pieces what was inserted at once, which [`merge`] joins.
    pub(crate) fn has_chains(&self) -> bool {
        self.has_chains
    }

    /// True if `yrs` would look at the same elements for each of many ranges that it deletes.
    pub(crate) fn has_tangled_deletes(&self) -> bool {
        self.has_tangled_deletes
    }

    /// True if it brings marks that format a text.
    pub(crate) fn has_formats(&self) -> bool {
        self.has_formats
    }

    fn structs_of(&self, section: &Section) -> &[Struct] {
        &self.structs[section.from as usize..section.to as usize]
    }

    /// A struct with those before it that it is joined with, as one.
    fn joined(&self, section: &Section, index: usize) -> Struct {
        let item = &self.structs[index];
        if item.kind == GC || !item.can_be_joined() {
            return *item;
        }
        let goes_on = |pair: &&[Struct]| pair[1].continues(section.client, pair[0].kind, pair[0].right);
        let chain = self.structs[section.from as usize..=index].windows(2).rev().take_while(goes_on);
        let head = chain.last().map_or(item, |pair| &pair[0]);
        Struct { len: item.end() - head.clock, ..*head }
    }

    /// All structs, each with its client.
    fn with_clients(&self) -> impl Iterator<Item = (u64, &Struct)> {
        self.sections.iter().flat_map(|section| self.structs_of(section).iter().map(|item| (section.client, item)))
    }

    /// Where the bytes of the struct at `index`, one of `section`, end.
    fn bytes_end(&self, section: &Section, index: usize) -> usize {
        if index + 1 < section.to as usize { self.structs[index + 1].at as usize } else { section.bytes_end as usize }
    }

    fn read_structs(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        // A section takes a count, a client, a clock and at least one struct of two bytes.
        let sections = reader.count(5)?;
        let mut seen = Distinct::new();
        self.sections.reserve_exact(sections);
        for _ in 0..sections {
            let count = reader.count(2)?;
            if count == 0 {
                return Err(Malformed("a client without structs"));
            }
            let client = reader.var_uint()?;
            if !seen.insert(client) {
                return Err(Malformed("a client twice in an update"));
            }
            let mut at = clock(reader)?;
            let from = self.structs.len() as u32;
            self.structs.reserve(count);
            for _ in 0..count {
                let item = self.read_struct(reader, client, at)?;
                let end = u64::from(at) + u64::from(item.len);
                if end >= MAX_CLOCK {
                    return Err(Malformed("a clock above 2^31"));
                }
                if item.can_be_joined()
                    && let Some(last) = self.structs[from as usize..].last()
                {
                    self.has_chains |= item.continues(client, last.kind, last.right);
                }
                at = end as u32;
                self.structs.push(item);
            }
            let bytes_end = self.position(reader);
            self.sections.push(Section { client, from, to: self.structs.len() as u32, bytes_end });
        }
        Ok(())
    }

    fn position(&self, reader: &Reader<'_>) -> u32 {
        (self.bytes.len() - reader.left()) as u32
    }

    fn read_struct(&mut self, reader: &mut Reader<'a>, client: u64, clock_at: u32) -> Result<Struct, Malformed> {
        let at = self.position(reader);
        let info = reader.u8()?;
        let kind = info & 0x1f;
        let mut item =
            Struct { clock: clock_at, len: 0, at, content_at: at + 1, left: None, right: None, parent: None, kind };
        match kind {
            GC if info == 0 => item.len = clock(reader)?,
            GC => return Err(Malformed("a collected range with flags")),
            10 => return Err(Malformed("an update with a gap (Skip)")),
            _ => {
                if info & HAS_LEFT != 0 {
                    item.left = Some(id(reader)?);
                }
                if info & HAS_RIGHT != 0 {
                    item.right = Some(id(reader)?);
                    if item.left == item.right {
                        return Err(Malformed("a struct between an element and itself"));
                    }
                }
                if info & (HAS_LEFT | HAS_RIGHT) == 0 {
                    let of = match reader.var_uint()? {
                        1 => ParentType::Root(reader.var_str()?),
                        0 => ParentType::Element(id(reader)?),
                        _ => return Err(Malformed("an unknown kind of parent")),
                    };
                    let key = if info & HAS_PARENT_KEY != 0 { Some(reader.var_str()?) } else { None };
                    item.parent = Some(self.parents.len() as u32);
                    self.parents.push(Parent { of, key });
                }
                let needs = [item.left, item.right, self.parent_element(&item)];
                if needs.into_iter().flatten().any(|of| of.client == client && of.clock >= clock_at) {
                    return Err(Malformed("a struct that builds on itself or a later one"));
                }
                item.content_at = self.position(reader);
                item.len = self.read_content(reader, kind)?;
            }
        }
        if item.len == 0 {
            return Err(Malformed("a struct of no length"));
        }
        Ok(item)
    }

    /// Reads an item's content and returns its length in elements.
    fn read_content(&mut self, reader: &mut Reader<'a>, kind: u8) -> Result<u32, Malformed> {
        Ok(match kind {
            DELETED => clock(reader)?,
            // yrs reads one string too many and then writes documents that nobody can decode.
            2 => return Err(Malformed("legacy JSON content, which this server does not take")),
            BINARY => {
                self.needs_rewrite |= hidden::is_marked(reader.var_bytes()?);
                1
            }
            STRING => utf16_len(reader.var_str()?),
            5 => {
                json(reader)?;
                1
            }
            FORMAT => {
                self.has_formats = true;
                reader.var_str()?;
                json(reader)?;
                1
            }
            TYPE => {
                match reader.u8()? {
                    0 | 1 | 2 | 4 | 6 => {}
                    3 => {
                        reader.var_str()?;
                    }
                    // yrs does not read the key that follows and loses its place.
                    5 => return Err(Malformed("an XML hook, which this server does not take")),
                    _ => return Err(Malformed("an unknown shared type")),
                }
                1
            }
            ANY => {
                let count = reader.count(1)?;
                for _ in 0..count {
                    self.needs_rewrite |= any(reader, 0)?;
                }
                count as u32
            }
            DOCUMENT => {
                reader.var_str()?;
                any(reader, 0)?;
                self.needs_rewrite = true;
                self.subdocuments += 1;
                1
            }
            _ => return Err(Malformed("an unknown kind of content")),
        })
    }

    fn read_deletes(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let clients = reader.count(2)?;
        let mut seen = Distinct::new();
        for _ in 0..clients {
            let client = reader.var_uint()?;
            if !seen.insert(client) {
                return Err(Malformed("a client twice in a delete set"));
            }
            let count = reader.count(2)?;
            self.deletes.reserve(count);
            let mut from = 0;
            for _ in 0..count {
                let (clock, len) = (clock(reader)?, clock(reader)?);
                if len == 0 || u64::from(clock) + u64::from(len) >= MAX_CLOCK {
                    return Err(Malformed("an impossible range in a delete set"));
                }
                self.has_tangled_deletes |= clock < from;
                from = clock + len;
                self.deletes.push(Deletion { client, clock, len });
            }
        }
        Ok(())
    }
}

/// Encodes a state vector, higher clients first, as Yjs writes it.
fn write_state_vector(mut clocks: Vec<(u64, u32)>) -> Vec<u8> {
    clocks.sort_unstable_by_key(|(client, _)| std::cmp::Reverse(*client));
    let mut out = Vec::with_capacity(1 + clocks.len() * 8);
    write_var_uint(&mut out, clocks.len() as u64);
    for (client, clock) in clocks {
        write_var_uint(&mut out, client);
        write_var_uint(&mut out, u64::from(clock));
    }
    out
}

/// Which clients were seen. Yjs writes them in descending order, so that looking at the last one is enough.
struct Distinct {
    last: Option<u64>,
    descending: bool,
    seen: Vec<u64>,
    unordered: HashSet<u64>,
}

impl Distinct {
    fn new() -> Self {
        Self { last: None, descending: true, seen: Vec::new(), unordered: HashSet::new() }
    }

    /// False if it was there.
    fn insert(&mut self, client: u64) -> bool {
        if self.descending {
            match self.last {
                None => {
                    self.last = Some(client);
                    return true;
                }
                Some(last) if client < last => {
                    if self.seen.is_empty() {
                        self.seen.push(last);
                    }
                    self.seen.push(client);
                    self.last = Some(client);
                    return true;
                }
                Some(last) => {
                    self.descending = false;
                    self.unordered.extend(self.seen.drain(..));
                    self.unordered.insert(last);
                }
            }
        }
        self.unordered.insert(client)
    }
}

fn id(reader: &mut Reader<'_>) -> Result<Id, Malformed> {
    Ok(Id { client: reader.var_uint()?, clock: clock(reader)? })
}

#[inline]
fn clock(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let value = reader.var_uint()?;
    if value < MAX_CLOCK { Ok(value as u32) } else { Err(Malformed("a clock above 2^31")) }
}

/// Length in UTF-16 units: every character is one, and one outside of the basic plane is two.
fn utf16_len(text: &str) -> u32 {
    if text.is_ascii() {
        return text.len() as u32;
    }
    let starts = text.bytes().filter(|byte| (*byte as i8) >= -0x40).count();
    let wide = text.bytes().filter(|byte| *byte >= 0xf0).count();
    (starts + wide) as u32
}

/// Embeds and formatting values are JSON text. yrs parses it recursively.
fn json(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    check_depth(reader.var_str()?)
}

/// Whoever reads JSON may do so recursively.
pub(crate) fn check_depth(json: &str) -> Result<(), Malformed> {
    let mut depth = 0u32;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => {
                        bytes.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
        if depth > MAX_ANY_DEPTH {
            return Err(Malformed("JSON nested more than 64 deep"));
        }
    }
    Ok(())
}

/// Skips a value and returns whether there is something in it that yrs would change, see [`hidden`].
fn any(reader: &mut Reader<'_>, depth: u32) -> Result<bool, Malformed> {
    if depth > MAX_ANY_DEPTH {
        return Err(Malformed("a value nested more than 64 deep"));
    }
    let mut is_changed = false;
    match reader.u8()? {
        127 | 126 | 121 | 120 => {}
        125 => is_changed = reader.is_negative_zero()?,
        124 => {
            reader.take(4)?;
        }
        123 => {
            reader.take(8)?;
        }
        122 => {
            reader.take(8)?;
            is_changed = true;
        }
        119 => {
            reader.var_str()?;
        }
        118 => {
            for _ in 0..reader.count(2)? {
                reader.var_str()?;
                is_changed |= any(reader, depth + 1)?;
            }
        }
        117 => {
            for _ in 0..reader.count(1)? {
                is_changed |= any(reader, depth + 1)?;
            }
        }
        116 => is_changed = hidden::is_marked(reader.var_bytes()?),
        _ => return Err(Malformed("an unknown kind of value")),
    }
    Ok(is_changed)
}

#[cfg(test)]
mod tests;
