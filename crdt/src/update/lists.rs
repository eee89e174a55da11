//! Which list every element of a document lies in, which elements are shared types, and how deep they lie.
//!
//! A list is the sequence of a type, or the values of one of its keys. No honest client places an element between
//! neighbours of two lists, or into something that is no type: yrs would weave the lists into each other, or fail half-way.
//! Nor does it nest types without end: yrs deletes what is inside a type by recursion, and so does Yjs, and the stack would
//! overflow later, when somebody deletes the outermost. So all of this is known here, without asking yrs.
//!
//! Elements of the list that was named first take no memory; in a plain text that is all of them, but for eight bytes for a range
//! that came deleted: what came so may have been a type. Other deletions are not known here; a deleted type counts
//! as long as the document is loaded, and anything else that is deleted later never was a type.
//!
//! A key has one value, the last of its list; when its type is deleted, yrs deletes that one and frees the type. Where a value of several
//! elements is cut, as a text that yrs wrote as an XML attribute, what is before the cut must be deleted: otherwise it would stay, and
//! point to what was freed. So these texts are known here too.
//!
//! A value is deleted when another takes its place, and whoever sets the other one says so, unless somebody had deleted the first one before. Once a
//! merge has made one struct of both, only what was said holds. So an update that does not say it is completed: see [`Lists::implied`].

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use super::gate::{Source, Undo};
use super::{ANY, DELETED, Deletion, GC, Id, Parent, ParentType, Parsed, STRING, Section, Struct, TYPE};
use crate::Malformed;

/// Of elements that were collected, and of what was placed beside or into them: yrs collects it too.
const NOWHERE: u32 = 0;

/// The list that was named first.
const FIRST: u32 = 1;

/// From a clock on, a client's elements lie in a list.
#[derive(Clone, Copy, Debug)]
struct Run {
    clock: u32,
    list: u32,
}

#[derive(Clone, Copy, Default, Debug)]
struct List {
    /// How deep its elements lie; 0 is directly in a root type.
    depth: u32,
    /// Structs that were placed in it, and how many of them are types.
    structs: u32,
    types: u32,
    /// Its elements are values of a key.
    is_of_key: bool,
    /// The list of its type that was named before it; [`NOWHERE`] if none was.
    sibling: u32,
}

/// A shared type that is an element.
#[derive(Clone, Copy, Debug)]
struct Type {
    clock: u32,
    /// Its list that was named last; [`NOWHERE`] if none was.
    list: u32,
}

#[derive(Debug)]
pub(crate) struct Lists {
    /// By client, in the order of clocks, from 0 on. A client that is not here has elements in the first list only.
    runs: HashMap<u64, Vec<Run>>,
    /// The numbers of lists by the hash of their parent and key. The hash has a secret key, so nobody can find two that meet.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
    lists: Vec<List>,
    /// The lists that the structs of the present update were placed in; those of the first one are counted.
    placed: Vec<u32>,
    placed_first: u32,
    /// By client, in the order of clocks.
    types: HashMap<u64, Vec<Type>>,
    /// Structs that lie in a type that is an element.
    nested: u64,
    /// Structs of the present update that yrs collects; how many took the place of the value of a key; and whether one of those may have been a type.
    collected: u64,
    replaced: u64,
    replaces_type: bool,
    /// By client, the ranges of clocks of elements that came deleted, in order.
    deleted: HashMap<u64, Vec<(u32, u32)>>,
    /// By client, texts that are values of keys: the first clock that may not be deleted, and where they end, in order.
    values: HashMap<u64, Vec<(u32, u32)>>,
    /// Where structs of the present update cut some of them: client and first clock behind the cut.
    cuts: Vec<(u64, u32)>,
    implied: Vec<Deletion>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            runs: HashMap::new(),
            numbers: HashMap::new(),
            hasher: RandomState::new(),
            lists: Vec::new(),
            placed: Vec::new(),
            placed_first: 0,
            types: HashMap::new(),
            nested: 0,
            collected: 0,
            replaced: 0,
            replaces_type: false,
            deleted: HashMap::new(),
            values: HashMap::new(),
            cuts: Vec::new(),
            implied: Vec::new(),
        }
    }
}

impl Lists {
    /// Places the part of a struct from the clock `from` on, which is new. What it refers to must be placed.
    ///
    /// Returns how deep the contents of a new type lie.
    ///
    /// # Errors
    ///
    /// If a foreign struct belongs to two lists, or its parent is no type and did not come deleted.
    #[inline]
    pub(super) fn place(
        &mut self,
        update: &Parsed<'_>,
        client: u64,
        item: &Struct,
        from: u32,
        source: Source,
        journal: &mut Vec<Undo>,
    ) -> Result<u32, Malformed> {
        if self.runs.is_empty()
            && item.parent.is_none()
            && !matches!(item.kind, GC | TYPE)
            && !(cfg!(feature = "budget") && self.is_of_key(FIRST))
        {
            // It is beside something, and everything lies in the first list.
            if item.kind == DELETED {
                self.note_deleted(client, from, item.end(), journal);
            }
            self.placed_first += 1;
            return Ok(0);
        }
        self.place_in_one_of_many(update, client, item, from, source, journal)
    }

    fn place_in_one_of_many(
        &mut self,
        update: &Parsed<'_>,
        client: u64,
        item: &Struct,
        from: u32,
        source: Source,
        journal: &mut Vec<Undo>,
    ) -> Result<u32, Malformed> {
        let mut list = NOWHERE;
        if item.kind != GC {
            // Of a struct that is known in part, the rest lies beside that part.
            let known_part = (from > item.clock).then(|| Id { client, clock: from - 1 });
            let [left, right, known_part] = [item.left, item.right, known_part].map(|id| id.map(|id| self.list_of(id)));
            let named = match item.parent {
                Some(parent) => Some(self.list_in(&update.parents[parent as usize], source, journal)?),
                None => None,
            };
            let mut lists = [left, right, known_part, named].into_iter().flatten();
            list = lists.clone().max().unwrap_or(NOWHERE);
            let is_odd = |other: u32| match other {
                // A type is collected with all that is in it. A root type never is, so nothing in it lies beside what was collected.
                NOWHERE => list != NOWHERE && self.lists[list as usize].depth == 0,
                other => other != list,
            };
            if source != Source::Own && lists.any(is_odd) {
                return Err(Malformed("a struct that belongs to two lists"));
            }
            // Whatever type it names, what goes on behind what was collected is collected.
            if known_part == Some(NOWHERE) {
                list = NOWHERE;
            }
            if cfg!(feature = "budget") && !self.values.is_empty() {
                let cuts = [item.left.map(|id| (id.client, id.clock + 1)), item.right.map(|id| (id.client, id.clock))];
                for (client, clock) in cuts.into_iter().flatten() {
                    if self.value_before(client, clock).is_some() {
                        self.cuts.push((client, clock));
                    }
                }
            }
            if cfg!(feature = "budget") && matches!(item.kind, STRING | ANY) && self.is_of_key(list) {
                self.set_value(client, item, from, list, journal);
            }
        }
        self.append(client, from, list, journal);
        match list {
            NOWHERE => self.collected += 1,
            FIRST => self.placed_first += 1,
            _ => self.placed.push(list),
        }
        if cfg!(feature = "budget") && self.is_of_key(list) {
            self.replaced += 1;
            self.replaces_type |= self.lists[list as usize].types > 0;
        }
        if item.kind == DELETED {
            self.note_deleted(client, from, item.end(), journal);
        }
        if item.kind != TYPE || list == NOWHERE {
            return Ok(0);
        }
        self.types.entry(client).or_default().push(Type { clock: from, list: NOWHERE });
        journal.push(Undo::Type(Id { client, clock: from }));
        let list = &mut self.lists[list as usize];
        list.types += 1;
        Ok(list.depth + 1)
    }

    /// A key of `list` is set to the elements of a struct from the clock `from` on.
    fn set_value(&mut self, client: u64, item: &Struct, from: u32, list: u32, journal: &mut Vec<Undo>) {
        let before = from.checked_sub(1).map(|clock| Id { client, clock });
        if let Some(before) = before.filter(|id| from > item.clock || item.left == Some(*id))
            && self.list_of(before) == list
        {
            let first = self.value_before(client, before.clock).unwrap_or(before.clock);
            self.imply(client, first, from);
        }
        match item.kind {
            ANY => self.imply(client, from, item.end() - 1),
            _ if item.end() - from > 1 => {
                self.values.entry(client).or_default().push((from, item.end()));
                journal.push(Undo::Value(Id { client, clock: from }));
            }
            _ => {}
        }
    }

    fn imply(&mut self, client: u64, from: u32, end: u32) {
        match self.implied.last_mut() {
            _ if from >= end => {}
            Some(last) if last.client == client && last.clock <= from && last.clock + last.len >= from => {
                last.len = last.len.max(end - last.clock);
            }
            _ => self.implied.push(Deletion { client, clock: from, len: end - from }),
        }
    }

    /// Values of keys that the present update replaces by others of the same client, without saying that they are deleted; and beginnings of texts
    /// that an update of this process cuts.
    pub(super) fn implied(&self) -> &[Deletion] {
        &self.implied
    }

    /// Looks what is deleted without a word, and whether a part of a key's value is cut off and stays, once all structs of the update are placed.
    pub(super) fn check_cuts(&mut self, deletes: &[Deletion], source: Source) -> Result<(), Malformed> {
        if self.values.is_empty() && self.implied.is_empty() {
            return Ok(());
        }
        let mut of_client = HashMap::new();
        let mut from = 0;
        for ranges in deletes.chunk_by(|a, b| a.client == b.client) {
            of_client.insert(ranges[0].client, from..from + ranges.len());
            from += ranges.len();
        }
        // The ranges of a client are in order and apart, so that one that begins at or before `first` is all that can reach to `clock`, but for
        // those that touch it.
        let is_deleted = |client: u64, mut first: u32, clock: u32| {
            let ranges = of_client.get(&client).map_or(&[][..], |of| &deletes[of.clone()]);
            let after = ranges.partition_point(|range| range.clock <= first);
            for range in &ranges[after.saturating_sub(1)..] {
                if first >= clock || range.clock > first {
                    break;
                }
                first = first.max(range.clock + range.len);
            }
            first >= clock
        };
        let mut implied = std::mem::take(&mut self.implied);
        implied.retain(|range| !is_deleted(range.client, range.clock, range.clock + range.len));
        if !self.values.is_empty() {
            let begins = deletes.iter().map(|range| (range.client, range.clock));
            for (client, clock) in self.cuts.iter().copied().chain(begins) {
                let first = self.value_before(client, clock).filter(|first| !is_deleted(client, *first, clock));
                match first {
                    None => {}
                    Some(first) if source == Source::Own => {
                        implied.push(Deletion { client, clock: first, len: clock - first });
                    }
                    Some(_) => return Err(Malformed("a change that leaves a part of a key's value")),
                }
            }
        }
        self.implied = implied;
        Ok(())
    }

    /// Forgets the beginnings of values that are deleted now.
    fn shorten_values(&mut self, deletes: &[Deletion]) {
        for range in deletes {
            let Some(values) = self.values.get_mut(&range.client) else { continue };
            let end = range.clock + range.len;
            // One whose beginning stays is left as it is.
            let from = values.partition_point(|(first, _)| *first < range.clock);
            let mut to = values.partition_point(|(first, _)| *first < end);
            if to > from && values[to - 1].1 > end {
                to -= 1;
                values[to].0 = end;
            }
            values.drain(from..to);
        }
    }

    /// Where a value begins that has elements before this clock and at it.
    fn value_before(&self, client: u64, clock: u32) -> Option<u32> {
        let values = self.values.get(&client)?;
        let after = values.partition_point(|(first, _)| *first < clock);
        let (first, end) = values[after.checked_sub(1)?];
        (clock < end).then_some(first)
    }

    fn is_of_key(&self, list: u32) -> bool {
        self.lists.get(list as usize).is_some_and(|list| list.is_of_key)
    }

    /// Begins an update: what was placed from here on is its own.
    pub(super) fn begin(&mut self) {
        self.cuts.clear();
        self.implied.clear();
        self.placed.clear();
        (self.placed_first, self.collected, self.replaced, self.replaces_type) = (0, 0, 0, false);
    }

    /// A bound of the blocks that yrs collects with the present update, if it deletes these elements: what lies in types that go, and what is
    /// placed where everything is collected. Of each struct are up to `blocks` blocks.
    pub(super) fn collected<'d>(&self, deletes: impl Iterator<Item = &'d Deletion>, blocks: u64) -> u64 {
        let new = self.placed.len() as u64 + u64::from(self.placed_first);
        let all = (self.nested + new).saturating_mul(blocks);
        let of_themselves = self.collected + self.replaced;
        if self.replaces_type {
            return of_themselves + all;
        }
        let mut inside = 0;
        for Deletion { client, clock, len } in deletes {
            let types = self.types.get(client).map_or(&[][..], Vec::as_slice);
            let from = types.partition_point(|of| of.clock < *clock);
            for of in types[from..].iter().take_while(|of| of.clock - clock < *len) {
                let mut next = of.list;
                while next != NOWHERE {
                    let List { structs, types, sibling, .. } = self.lists[next as usize];
                    if types > 0 {
                        return of_themselves + all;
                    }
                    inside += u64::from(structs);
                    next = sibling;
                }
                // What is new may lie in it.
                inside += new;
            }
        }
        of_themselves + inside.saturating_mul(blocks).min(all)
    }

    /// The same whatever is deleted.
    pub(super) fn collected_at_most(&self, blocks: u64) -> u64 {
        let new = self.placed.len() as u64 + u64::from(self.placed_first);
        self.collected
            + self.replaced
            + if self.types.is_empty() { 0 } else { (self.nested + new).saturating_mul(blocks) }
    }

    /// How many pairs there are of a struct of the present update and a block of its list: more yrs cannot compare. Of each struct are up to
    /// `blocks` blocks, and deletions make `cuts` more.
    pub(super) fn pairs(&self, blocks: u64, cuts: u64) -> u64 {
        let first = self.lists.get(FIRST as usize).map_or(0, |list| list.structs);
        let mut new: HashMap<u32, u64> = HashMap::new();
        for list in &self.placed {
            *new.entry(*list).or_default() += 1;
        }
        let of = |new: u64, there: u32| new.saturating_mul(blocks * (u64::from(there) + new) + cuts);
        new.into_iter()
            .map(|(list, new)| of(new, self.lists[list as usize].structs))
            .fold(of(u64::from(self.placed_first), first), u64::saturating_add)
    }

    /// The same for all structs there are.
    pub(super) fn all_pairs(&self, blocks: u64, cuts: u64) -> u64 {
        let of = |structs: u64| structs.saturating_mul(blocks * structs + cuts);
        self.lists.iter().map(|list| of(u64::from(list.structs))).fold(0, u64::saturating_add)
    }

    /// The present update is let in, with what it deletes.
    pub(super) fn accept(&mut self, deletes: &[Deletion]) {
        if cfg!(feature = "budget") && !self.values.is_empty() {
            self.shorten_values(deletes);
            let implied = std::mem::take(&mut self.implied);
            self.shorten_values(&implied);
            self.implied = implied;
        }
        if let Some(first) = self.lists.get_mut(FIRST as usize) {
            first.structs = first.structs.saturating_add(self.placed_first);
        }
        for list in std::mem::take(&mut self.placed) {
            let list = &mut self.lists[list as usize];
            list.structs = list.structs.saturating_add(1);
            self.nested += u64::from(list.depth > 0);
        }
    }

    /// True if text lies in an array, or in the root type `root`, which is to be read as one.
    pub(super) fn has_text_in_array(&self, state: &Parsed<'_>, root: Option<&str>) -> bool {
        const ARRAY: u8 = 0;
        let structs = |kind| {
            let of_section = move |section| state.structs_of(section).iter().map(move |item| (section, item));
            state.sections.iter().flat_map(of_section).filter(move |(_, item)| item.kind == kind)
        };
        let id = |section: &Section, item: &Struct| Id { client: section.client, clock: item.clock };
        let arrays = structs(TYPE)
            .filter(|(_, item)| state.bytes[item.content_at as usize] == ARRAY)
            .map(|(section, item)| self.hasher.hash_one((id(section, item), None::<&str>)))
            .chain(root.map(|name| self.hasher.hash_one((name, None::<&str>))));
        let arrays: HashSet<u32> = arrays.filter_map(|hash| self.numbers.get(&hash).copied()).collect();
        !arrays.is_empty() && structs(STRING).any(|(section, item)| arrays.contains(&self.list_of(id(section, item))))
    }

    fn list_of(&self, id: Id) -> u32 {
        let Some(runs) = self.runs.get(&id.client) else { return FIRST };
        let after = runs.partition_point(|run| run.clock <= id.clock);
        runs[after - 1].list
    }

    /// The list that a struct without neighbours names.
    fn list_in(&mut self, parent: &Parent<'_>, source: Source, journal: &mut Vec<Undo>) -> Result<u32, Malformed> {
        let (hash, depth) = match parent.of {
            ParentType::Root(name) => (self.hasher.hash_one((name, parent.key)), 0),
            ParentType::Element(id) if self.type_at(id).is_some() => {
                let depth = self.lists[self.list_of(id) as usize].depth + 1;
                (self.hasher.hash_one((id, parent.key)), depth)
            }
            ParentType::Element(id) => {
                let is_gone = self.list_of(id) == NOWHERE || self.came_deleted(id);
                if is_gone || source == Source::Own {
                    return Ok(NOWHERE);
                }
                return Err(Malformed("a struct whose parent is not a shared type"));
            }
        };
        if self.lists.is_empty() {
            self.lists.extend([List::default(); FIRST as usize]);
        }
        let next = self.lists.len() as u32;
        Ok(match self.numbers.entry(hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(next);
                let of = match parent.of {
                    ParentType::Element(id) if cfg!(feature = "budget") => Some(id),
                    _ => None,
                };
                let sibling = of.map_or(NOWHERE, |id| self.set_last_list(id, next));
                self.lists.push(List { depth, is_of_key: parent.key.is_some(), sibling, ..List::default() });
                journal.push(Undo::List { hash, of });
                next
            }
        })
    }

    fn type_at(&self, id: Id) -> Option<usize> {
        self.types.get(&id.client)?.binary_search_by_key(&id.clock, |of| of.clock).ok()
    }

    /// Has the lists of a type end with `list`. Returns the one they ended with.
    fn set_last_list(&mut self, id: Id, list: u32) -> u32 {
        let at = self.type_at(id);
        let of = at.and_then(|at| self.types.get_mut(&id.client)?.get_mut(at));
        of.map_or(NOWHERE, |of| std::mem::replace(&mut of.list, list))
    }

    fn note_deleted(&mut self, client: u64, from: u32, end: u32, journal: &mut Vec<Undo>) {
        let ranges = self.deleted.entry(client).or_default();
        match ranges.last_mut() {
            Some((_, last_end)) if *last_end == from => *last_end = end,
            _ => ranges.push((from, end)),
        }
        journal.push(Undo::Deleted(Id { client, clock: from }));
    }

    fn came_deleted(&self, id: Id) -> bool {
        let Some(ranges) = self.deleted.get(&id.client) else { return false };
        let after = ranges.partition_point(|(from, _)| *from <= id.clock);
        after > 0 && id.clock < ranges[after - 1].1
    }

    fn append(&mut self, client: u64, from: u32, list: u32, journal: &mut Vec<Undo>) {
        let runs = match self.runs.entry(client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if list == FIRST => return,
            Entry::Vacant(entry) => entry.insert(Vec::new()),
        };
        let last = runs.last().map(|run| run.list);
        if last == Some(list) {
            return;
        }
        if last.is_none() && from > 0 {
            runs.push(Run { clock: 0, list: FIRST });
            journal.push(Undo::Run(client));
        }
        runs.push(Run { clock: from, list });
        journal.push(Undo::Run(client));
    }

    /// Takes back one step of an update that was not let in.
    pub(super) fn undo(&mut self, step: Undo) {
        match step {
            Undo::Client { .. } => {}
            Undo::Run(client) => {
                if let Entry::Occupied(mut runs) = self.runs.entry(client) {
                    runs.get_mut().pop();
                    if runs.get().is_empty() {
                        runs.remove();
                    }
                }
            }
            Undo::Deleted(id) => {
                if let Entry::Occupied(mut ranges) = self.deleted.entry(id.client) {
                    ranges.get_mut().pop_if(|(from, _)| *from >= id.clock);
                    match ranges.get_mut().last_mut() {
                        Some((_, end)) => *end = id.clock.min(*end),
                        None => {
                            ranges.remove();
                        }
                    }
                }
            }
            Undo::Type(id) => {
                let list = self.list_of(id);
                self.lists[list as usize].types -= 1;
                if let Entry::Occupied(mut types) = self.types.entry(id.client) {
                    types.get_mut().pop();
                    if types.get().is_empty() {
                        types.remove();
                    }
                }
            }
            Undo::Value(id) => {
                if cfg!(feature = "budget")
                    && let Some(values) = self.values.get_mut(&id.client)
                {
                    values.pop_if(|(first, _)| *first == id.clock);
                }
            }
            Undo::List { hash, of } => {
                self.numbers.remove(&hash);
                if let (Some(list), Some(id)) = (self.lists.pop(), of) {
                    self.set_last_list(id, list.sibling);
                }
            }
        }
    }
}
