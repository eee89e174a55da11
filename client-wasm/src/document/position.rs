//! Positions that stay where they are in the text, whatever is typed before them. Their bytes are those of Yjs' relative positions.

use yrs::branch::BranchPtr;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Assoc, StickyIndex, TransactionMut};

use buildspaces_crdt::Malformed;

use super::{Document, Error, Kind, TypeId, Types};

const LISTS: &[Kind] = &[Kind::Text, Kind::XmlText, Kind::Array, Kind::XmlFragment, Kind::XmlElement];

impl Document {
    /// The position before the element at `index`. It sticks to that element, or to the one before if `sticks_left`.
    pub fn position(&mut self, of: TypeId, index: u32, sticks_left: bool) -> Result<Vec<u8>, Error> {
        self.read(|txn, types| {
            let branch = types.branch(txn, of, LISTS)?;
            super::sequence::within(index, branch.content_len())?;
            let assoc = if sticks_left { Assoc::Before } else { Assoc::After };
            let position = StickyIndex::at(txn, branch, index, assoc)
                .unwrap_or_else(|| StickyIndex::from_type(txn, &branch, assoc));
            Ok(position.encode_v1())
        })
    }

    /// Where a position is now; `None` if what it stuck to was never seen here or its type is gone.
    pub fn resolve(&mut self, position: &[u8]) -> Result<Option<(TypeId, u32)>, Error> {
        // A position is an id or a name and one more number. Longer ones are none, and would be read with trust.
        if position.len() > 1024 {
            return Err(Malformed("a position of more than 1024 bytes").into());
        }
        let position = StickyIndex::decode_v1(position).map_err(|_| Malformed("a position"))?;
        self.read(|txn, types| {
            let Some(offset) = position.get_offset(txn) else { return Ok(None) };
            Ok(known(txn, types, offset.branch).map(|of| (of, offset.index)))
        })
    }
}

fn known(_txn: &TransactionMut<'_>, types: &mut Types, branch: BranchPtr) -> Option<TypeId> {
    if branch.is_deleted() {
        return None;
    }
    match super::seen_value(yrs::Out::UndefinedRef(branch)) {
        super::Seen::Type(id, kind) => Some(types.intern(&id, kind)),
        super::Seen::Any(_) => None,
    }
}
