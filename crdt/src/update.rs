//! What is checked before a client's update reaches `yrs`.
//!
//! yrs 0.28 can be made to diverge, abort, hang and read freed memory by updates that arrive out of
//! causal order or break the format's rules. So an update passes two doors. [`parse`] reads it
//! strictly (format v1, `yjs/src/utils/UpdateEncoder.js`) and refuses what is malformed or what yrs
//! is known to handle wrongly. [`Parsed::verdict`] then plays the integration through on clocks
//! alone: only an update whose every struct and deletion can take effect now may be applied.
//!
//! It does not keep updates that come too early: the sender is asked for what is missing instead.

mod nesting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use yrs::block::ClientID;
use yrs::{ID, IdSet, StateVector};

use crate::Malformed;
use crate::lib0::Reader;
pub(crate) use nesting::Nesting;

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

/// Deepest nesting of shared types. Past it an update is refused: yrs deletes what is inside a type by recursion.
pub(crate) const MAX_NESTING: u32 = 256;

/// The id of one element: who made it, and its number among those.
type Id = (u64, u64);

/// Deleted elements of one client: where they begin, and how many.
type Ranges = Vec<(u64, u64)>;

/// One struct of an update: `len` elements of one client from `clock` on.
#[derive(Debug)]
struct Struct {
    clock: u64,
    len: u64,
    /// Left neighbour, right neighbour, parent: what must be known before this can be placed.
    needs: [Option<Id>; 3],
    /// It is a shared type, into which others can be placed.
    is_type: bool,
}

/// A well-formed update, reduced to what its order depends on.
#[derive(Debug)]
pub struct Parsed {
    structs: Vec<(u64, Vec<Struct>)>,
    deletes: Vec<(u64, Ranges)>,
}

/// What can be done with an update now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Everything in it can take effect.
    Ready,
    /// It builds on something that is not here: ask the sender with a SyncStep1.
    Missing,
}

/// Reads an update and checks every rule that does not depend on a document.
pub fn parse(update: &[u8]) -> Result<Parsed, Malformed> {
    let mut reader = Reader::new(update);
    let structs = parse_structs(&mut reader)?;
    let deletes = parse_deletes(&mut reader)?;
    if !reader.is_empty() {
        return Err(Malformed("bytes after an update"));
    }
    Ok(Parsed { structs, deletes })
}

/// Checks a state vector: yrs would reserve memory for any count it claims.
pub fn check_state_vector(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let mut seen = HashSet::new();
    for _ in 0..reader.count(2)? {
        if !seen.insert(reader.var_uint()?) {
            return Err(Malformed("a client twice in a state vector"));
        }
        clock(&mut reader)?;
    }
    if !reader.is_empty() {
        return Err(Malformed("bytes after a state vector"));
    }
    Ok(())
}

/// Several updates as one, without integrating them.
pub fn merge(updates: &[bytes::Bytes]) -> Result<Vec<u8>, Malformed> {
    const AT_ONCE: usize = 256;
    if let [one] = updates {
        return Ok(one.to_vec());
    }
    let mut level: Vec<Vec<u8>> = updates.iter().map(|update| update.to_vec()).collect();
    while level.len() > 1 {
        let merged: Result<_, _> = level.chunks(AT_ONCE).map(yrs::merge_updates_v1).collect();
        level = merged.map_err(|_| Malformed("updates that cannot be merged"))?;
    }
    Ok(level.pop().unwrap_or_else(|| vec![0, 0]))
}

impl Parsed {
    /// Clients whose structs it brings and that a document with this state vector does not know.
    pub(crate) fn new_clients(&self, state: &StateVector) -> usize {
        self.structs.iter().filter(|(client, _)| state.get(&ClientID::new(*client)) == 0).count()
    }

    pub(crate) fn clients(&self) -> usize {
        self.structs.len()
    }

    /// True if every struct is below `state` and every deleted element is deleted already.
    pub(crate) fn is_known(&self, state: &StateVector, deleted: impl FnOnce() -> IdSet) -> bool {
        let end = |structs: &[Struct]| structs.last().map_or(0, |item| item.clock + item.len);
        let structs_known =
            |(client, structs): &(u64, Vec<Struct>)| end(structs) <= u64::from(state.get(&ClientID::new(*client)));
        if !self.structs.iter().all(structs_known) {
            return false;
        }
        let mut deletes = IdSet::new();
        for (client, ranges) in &self.deletes {
            for (at, len) in ranges {
                deletes.insert(ID::new(ClientID::new(*client), *at as u32), *len as u32);
            }
        }
        deletes.is_empty() || deletes.diff(&deleted()).is_empty()
    }

    /// Can every struct be integrated, in some order, into a document with this state vector, and is
    /// every deleted element known then?
    pub fn verdict(&self, state: &StateVector) -> Verdict {
        self.play(state, |_, _, _| ())
    }

    /// The verdict. `placed` hears of each struct that is new to the document, after what it builds on, and of the clock from
    /// which on it is new.
    ///
    /// A client whose next struct has to wait is looked at again when what it waits for was placed, so the time
    /// grows with the update's size whatever its order.
    fn play<'a>(&'a self, state: &StateVector, mut placed: impl FnMut(u64, &'a Struct, u64)) -> Verdict {
        let mut clocks: HashMap<u64, u64> = HashMap::new();
        let known = |clocks: &HashMap<u64, u64>, client: u64| {
            clocks.get(&client).copied().unwrap_or_else(|| u64::from(state.get(&ClientID::new(client))))
        };
        let mut next = vec![0usize; self.structs.len()];
        let mut unfinished = self.structs.len();
        // By client: from which clock on it wakes which section.
        let mut waiting: HashMap<u64, BinaryHeap<Reverse<(u64, usize)>>> = HashMap::new();
        let mut ready: Vec<usize> = (0..self.structs.len()).rev().collect();
        while let Some(section) = ready.pop() {
            let (client, structs) = &self.structs[section];
            let next = &mut next[section];
            while let Some(item) = structs.get(*next) {
                let clock = known(&clocks, *client);
                let end = item.clock + item.len;
                if item.clock > clock {
                    return Verdict::Missing;
                }
                if end > clock {
                    let unknown = |(of, at): &&Id| {
                        if of == client { *at >= item.clock } else { *at >= known(&clocks, *of) }
                    };
                    if let Some((of, at)) = item.needs.iter().flatten().find(unknown) {
                        if of == client {
                            return Verdict::Missing;
                        }
                        waiting.entry(*of).or_default().push(Reverse((*at, section)));
                        break;
                    }
                    placed(*client, item, clock);
                }
                clocks.insert(*client, clock.max(end));
                *next += 1;
            }
            unfinished -= usize::from(*next == structs.len());
            if let Some(sleepers) = waiting.get_mut(client) {
                let clock = known(&clocks, *client);
                while sleepers.peek().is_some_and(|Reverse((at, _))| *at < clock) {
                    ready.extend(sleepers.pop().map(|Reverse((_, section))| section));
                }
            }
        }
        if unfinished > 0 {
            return Verdict::Missing;
        }
        let deletes_known = self
            .deletes
            .iter()
            .all(|(client, ranges)| ranges.iter().all(|(at, len)| at + len <= known(&clocks, *client)));
        if deletes_known { Verdict::Ready } else { Verdict::Missing }
    }
}

fn parse_structs(reader: &mut Reader<'_>) -> Result<Vec<(u64, Vec<Struct>)>, Malformed> {
    // A section takes a count, a client, a clock and at least one struct of two bytes.
    let sections = reader.count(5)?;
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(sections);
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
        let mut structs = Vec::with_capacity(count);
        for _ in 0..count {
            let item = parse_struct(reader, at)?;
            at += item.len;
            if at >= MAX_CLOCK {
                return Err(Malformed("a clock above 2^31"));
            }
            structs.push(item);
        }
        out.push((client, structs));
    }
    Ok(out)
}

fn parse_struct(reader: &mut Reader<'_>, at: u64) -> Result<Struct, Malformed> {
    const HAS_LEFT: u8 = 0x80;
    const HAS_RIGHT: u8 = 0x40;
    const HAS_PARENT_KEY: u8 = 0x20;

    let info = reader.u8()?;
    let content = info & 0x1f;
    let mut needs = [None; 3];
    let len = match content {
        0 if info == 0 => clock(reader)?,
        0 => return Err(Malformed("a collected range with flags")),
        10 => return Err(Malformed("an update with a gap (Skip)")),
        _ => {
            if info & HAS_LEFT != 0 {
                needs[0] = Some(id(reader)?);
            }
            if info & HAS_RIGHT != 0 {
                needs[1] = Some(id(reader)?);
            }
            if info & (HAS_LEFT | HAS_RIGHT) == 0 {
                match reader.var_uint()? {
                    1 => {
                        reader.var_str()?;
                    }
                    0 => needs[2] = Some(id(reader)?),
                    _ => return Err(Malformed("an unknown kind of parent")),
                }
                if info & HAS_PARENT_KEY != 0 {
                    reader.var_str()?;
                }
            }
            parse_content(reader, content)?
        }
    };
    if len == 0 {
        return Err(Malformed("a struct of no length"));
    }
    Ok(Struct { clock: at, len, needs, is_type: content == 7 })
}

/// Reads an item's content and returns its length in elements.
fn parse_content(reader: &mut Reader<'_>, content: u8) -> Result<u64, Malformed> {
    Ok(match content {
        1 => clock(reader)?,
        // yrs reads one string too many and then writes documents that nobody can decode.
        2 => return Err(Malformed("legacy JSON content, which this server does not take")),
        3 => {
            reader.var_bytes()?;
            1
        }
        4 => reader.var_str()?.encode_utf16().count() as u64,
        5 => {
            json(reader)?;
            1
        }
        6 => {
            reader.var_str()?;
            json(reader)?;
            1
        }
        7 => {
            match reader.var_uint()? {
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
        8 => {
            let count = reader.count(1)?;
            for _ in 0..count {
                any(reader, 0)?;
            }
            count as u64
        }
        9 => {
            // yrs never frees a document that contains a subdocument, but the format allows it.
            reader.var_str()?;
            any(reader, 0)?;
            1
        }
        _ => return Err(Malformed("an unknown kind of content")),
    })
}

fn parse_deletes(reader: &mut Reader<'_>) -> Result<Vec<(u64, Ranges)>, Malformed> {
    let clients = reader.count(2)?;
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(clients);
    for _ in 0..clients {
        let client = reader.var_uint()?;
        if !seen.insert(client) {
            return Err(Malformed("a client twice in a delete set"));
        }
        let count = reader.count(2)?;
        let mut ranges = Vec::with_capacity(count);
        for _ in 0..count {
            let (at, len) = (clock(reader)?, clock(reader)?);
            if len == 0 || at + len >= MAX_CLOCK {
                return Err(Malformed("an impossible range in a delete set"));
            }
            ranges.push((at, len));
        }
        out.push((client, ranges));
    }
    Ok(out)
}

fn id(reader: &mut Reader<'_>) -> Result<Id, Malformed> {
    Ok((reader.var_uint()?, clock(reader)?))
}

fn clock(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let value = reader.var_uint()?;
    if value < MAX_CLOCK { Ok(value) } else { Err(Malformed("a clock above 2^31")) }
}

/// Embeds and formatting values are JSON text. yrs parses it recursively.
fn json(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let text = reader.var_str()?;
    let mut depth = 0u32;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_ANY_DEPTH {
            return Err(Malformed("JSON nested more than 64 deep"));
        }
    }
    Ok(())
}

fn any(reader: &mut Reader<'_>, depth: u32) -> Result<(), Malformed> {
    if depth > MAX_ANY_DEPTH {
        return Err(Malformed("a value nested more than 64 deep"));
    }
    match reader.u8()? {
        127 | 126 | 121 | 120 => {}
        125 => reader.skip_var_int()?,
        124 => {
            reader.take(4)?;
        }
        123 | 122 => {
            reader.take(8)?;
        }
        119 => {
            reader.var_str()?;
        }
        118 => {
            for _ in 0..reader.count(2)? {
                reader.var_str()?;
                any(reader, depth + 1)?;
            }
        }
        117 => {
            for _ in 0..reader.count(1)? {
                any(reader, depth + 1)?;
            }
        }
        116 => {
            reader.var_bytes()?;
        }
        _ => return Err(Malformed("an unknown kind of value")),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
