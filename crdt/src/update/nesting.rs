//! How deep shared types lie within each other.
//!
//! yrs deletes the contents of a type by recursion, and so does Yjs: types nested without end would overflow a stack later,
//! when somebody deletes the outermost. So the depth of every element is known here, without asking yrs. Elements
//! directly in a root type, which are all there are in a text file, take no memory.
//!
//! It does not know what was deleted; a deleted type counts as long as the document is loaded.

use std::collections::{BTreeMap, HashMap};

use yrs::StateVector;

use super::{Id, Parsed, Struct, Verdict};

/// Depths of a document's elements; 0 is directly in a root type.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    /// By client and first clock: the end, and the depth. Only depths above 0.
    deep: HashMap<u64, BTreeMap<u64, (u64, u32)>>,
}

/// What an update adds, to be kept once it was applied.
#[derive(Debug, Default)]
pub(crate) struct Addition {
    of: Nesting,
    pub(crate) deepest: u32,
}

impl Nesting {
    /// The verdict on `update`, and how deep its elements would lie.
    pub(crate) fn weigh(&self, update: &Parsed, state: &StateVector) -> (Verdict, Addition) {
        let mut addition = Addition::default();
        let nests = |item: &Struct| item.needs[2].is_some();
        if self.deep.is_empty() && !update.structs.iter().any(|(_, structs)| structs.iter().any(nests)) {
            return (update.verdict(state), addition);
        }
        let verdict = update.play(state, |client, item, from| {
            let depth_of = |id: Id| addition.of.depth(id).or_else(|| self.depth(id)).unwrap_or(0);
            let [left, right, parent] = item.needs;
            // Honest neighbours lie equally deep. Of a struct that is known in part, the rest lies beside that part.
            let known_part = (from > item.clock).then(|| (client, from - 1));
            let beside = [left, right, known_part].into_iter().flatten().map(depth_of).max().unwrap_or(0);
            let depth = beside.max(parent.map_or(0, |parent| depth_of(parent) + 1));
            if depth > 0 {
                addition.deepest = addition.deepest.max(depth + u32::from(item.is_type));
                addition.of.insert(client, from, item.clock + item.len, depth);
            }
        });
        (verdict, addition)
    }

    /// Keeps what an applied update added.
    pub(crate) fn keep(&mut self, addition: Addition) {
        for (client, ranges) in addition.of.deep {
            for (start, (end, depth)) in ranges {
                self.insert(client, start, end, depth);
            }
        }
    }

    fn depth(&self, (client, clock): Id) -> Option<u32> {
        let (_, (end, depth)) = self.deep.get(&client)?.range(..=clock).next_back()?;
        (clock < *end).then_some(*depth)
    }

    fn insert(&mut self, client: u64, start: u64, end: u64, depth: u32) {
        let ranges = self.deep.entry(client).or_default();
        if let Some((_, (last_end, last_depth))) = ranges.range_mut(..=start).next_back()
            && *last_end >= start
            && *last_depth == depth
        {
            *last_end = end.max(*last_end);
            return;
        }
        ranges.insert(start, (end, depth));
    }
}
