//! Snapshots, and a state as it was at one: what Yjs calls `createDocFromSnapshot`, on the bytes of structs.
//!
//! yrs has the same, but where a snapshot has one element of a longer struct it writes all of it.

use super::merge::Writer;
use super::{Deletion, Parsed, read_state_vector};
use crate::Malformed;
use crate::lib0::Reader;

/// How many elements of each client there were, and which of them were deleted.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) clocks: Vec<(u64, u32)>,
    deletes: Vec<Deletion>,
}

impl Snapshot {
    /// Reads what Yjs' `encodeSnapshot` writes: a delete set, then a state vector.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut parsed = Parsed::new(bytes);
        parsed.read_deletes(&mut reader)?;
        Ok(Self { clocks: read_state_vector(&mut reader)?, deletes: parsed.deletes })
    }
}

/// What `state` was at `snapshot`, as an update. `state` is of one document and has what that deleted, too.
pub(crate) fn as_of(state: &Parsed<'_>, snapshot: Snapshot) -> Result<Vec<u8>, Malformed> {
    let mut writer = Writer::new(state.bytes.len());
    for section in &state.sections {
        let known = snapshot.clocks.iter().find(|(client, _)| *client == section.client);
        let end = known.map_or(0, |(_, clock)| *clock);
        let mut out = writer.section(section.client);
        for index in section.from as usize..section.to as usize {
            let item = &state.structs[index];
            if item.end() <= end {
                out.push(state, section, index)?;
            } else if item.clock < end {
                out.push_beginning(state, section, index, end - item.clock)?;
            }
        }
        out.finish();
    }
    Ok(writer.finish(snapshot.deletes))
}
