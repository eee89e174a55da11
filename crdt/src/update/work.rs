//! How long yrs would work on an update: its integration, played through on ids alone.
//!
//! yrs finds the place of an element by looking at everything that others put there without knowing of it, and cuts a block in two
//! wherever something refers into it. For what people do at the same time both are quick. But of some updates of a hundred
//! kilobytes it would make minutes, and of one of some megabytes days, for nothing in it can be stopped. So where the [gate](super::gate)
//! cannot rule that out by counting, the update is played through here first, step by step, and no further than a budget allows.
//!
//! The order matters: what takes minutes behind the document may take milliseconds together with it, since yrs goes through the
//! clients of one update from the highest down, which is the quick way around. [`Model::integrate`] keeps to that order.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{ANY, Deletion, GC, Id, ParentType, Parsed, STRING, Section, Struct, TYPE};

/// Steps that one update may take: some two seconds.
pub(crate) const BUDGET: u64 = 1 << 25;

/// Steps below which nobody plays an update through.
pub(crate) const FEW_STEPS: u64 = BUDGET / 4;

/// The same of a whole document when it is loaded. It is more, since whoever opens a document waits for it: one text of 30,000 pieces is not
/// played through, which at worst would take a minute.
pub(crate) const BUDGET_OF_ALL: u64 = 16 * BUDGET;
pub(crate) const FEW_STEPS_OF_ALL: u64 = 2 * BUDGET_OF_ALL;

/// What is moved in one step when a block is cut: elements of its content, and blocks behind it.
const ELEMENTS_PER_STEP: u64 = 256;
const BLOCKS_PER_STEP: u64 = 128;

/// What is moved in one step when a value of a key is deleted because another takes its place: ranges of deleted elements.
const RANGES_PER_STEP: u64 = 512;

/// What a cut takes at most within a block of so many elements, with so many blocks of its client behind it.
pub(super) fn longest_cut(elements: u32, blocks: u64) -> u64 {
    1 + u64::from(elements) / ELEMENTS_PER_STEP + blocks / BLOCKS_PER_STEP
}

/// Why an update is not worth its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooMuch;

/// No block, or no list.
const NONE: u32 = u32::MAX;

/// Neighbouring elements of one client that yrs keeps together.
#[derive(Clone, Copy, Debug)]
struct Block {
    client: u64,
    end: u32,
    /// What it was inserted between.
    origin: Option<Id>,
    right_origin: Option<Id>,
    /// Its neighbours now.
    left: u32,
    right: u32,
    /// [`NONE`] if it was collected.
    list: u32,
    is_type: bool,
    /// Its content is moved when it is cut.
    is_content: bool,
    /// The searches that came by last: since their beginning, and since they last moved on.
    seen: u32,
    conflicts: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    blocks: u64,
    /// It has the values of a key. yrs knows the last one and walks to the first.
    is_of_key: bool,
}

/// A document as yrs has it in memory, without its content.
#[derive(Debug, Default)]
pub(crate) struct Model {
    blocks: Vec<Block>,
    /// By client, its place in `ids` and `of_clients`; and that of the one that was asked for last.
    clients: HashMap<u64, u32>,
    recent: AtomicU32,
    ids: Vec<u64>,
    /// Where the blocks of a client begin and which they are, in order.
    of_clients: Vec<Vec<(u32, u32)>>,
    lists: Vec<List>,
    /// Their numbers by the hash of parent and key.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
    searches: u32,
    moves: u32,
    /// Values of keys that others took the place of.
    replaced: u64,
    budget: u64,
}

impl Model {
    /// Takes in an update that can take effect entirely, in at most so many steps.
    pub(crate) fn integrate(&mut self, update: &Parsed<'_>, budget: u64) -> Result<(), TooMuch> {
        #[cfg(feature = "trace")]
        let _step = tracing::trace_span!(target: "keystroke", "integrate", budget).entered();
        self.budget = budget;
        let mut picker = Picker::new(update);
        while let Some((section, index)) = picker.next() {
            let client = update.sections[section].client;
            let item = &update.structs[index as usize];
            let known = self.clock(client);
            if item.end() <= known {
                continue;
            }
            let needs = [item.left, item.right, update.parent_element(item)];
            match needs.into_iter().flatten().find(|id| id.clock >= self.clock(id.client)) {
                Some(missing) => {
                    self.spend(picker.waiting.len() as u64 / 32)?;
                    picker.switch(section, index, missing.client)?;
                }
                None => self.place(update, client, item, known.max(item.clock))?,
            }
        }
        self.delete(&update.deletes)
    }

    /// Has what is deleted begin and end blocks, within the budget of the last update.
    pub(crate) fn delete(&mut self, deletes: &[Deletion]) -> Result<(), TooMuch> {
        for range in deletes {
            self.cut(range.client, range.clock)?;
            self.cut(range.client, range.clock.saturating_add(range.len))?;
        }
        Ok(())
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn spend(&mut self, steps: u64) -> Result<(), TooMuch> {
        self.budget = self.budget.checked_sub(steps).ok_or(TooMuch)?;
        Ok(())
    }

    fn number(&self, client: u64) -> Option<u32> {
        let recent = self.recent.load(Ordering::Relaxed);
        if self.ids.get(recent as usize) == Some(&client) {
            return Some(recent);
        }
        let number = *self.clients.get(&client)?;
        self.recent.store(number, Ordering::Relaxed);
        Some(number)
    }

    fn of_client(&self, client: u64) -> &[(u32, u32)] {
        self.number(client).map_or(&[], |number| &self.of_clients[number as usize])
    }

    fn clock(&self, client: u64) -> u32 {
        self.of_client(client).last().map_or(0, |(_, last)| self.blocks[*last as usize].end)
    }

    /// The block that an element lies in.
    fn find(&self, id: Id) -> Option<u32> {
        let blocks = self.of_client(id.client);
        let after = blocks.partition_point(|(clock, _)| *clock <= id.clock);
        Some(blocks[after.checked_sub(1)?].1)
    }

    /// Has a block begin at `clock`. Returns the block before it, and that block.
    fn cut(&mut self, client: u64, clock: u32) -> Result<[u32; 2], TooMuch> {
        let Some(number) = self.number(client) else { return Ok([NONE; 2]) };
        let of_client = &self.of_clients[number as usize];
        let is_at_end = of_client.last().is_some_and(|(begins, _)| *begins < clock);
        let after = if is_at_end { of_client.len() } else { of_client.partition_point(|(begins, _)| *begins < clock) };
        let next = of_client.get(after).map_or(NONE, |(_, block)| *block);
        let Some(at) = after.checked_sub(1).map(|before| of_client[before].1) else { return Ok([NONE, next]) };
        let block = self.blocks[at as usize];
        if clock >= block.end {
            return Ok([at, next]);
        }
        let new = self.blocks.len() as u32;
        let moved = of_client.len() - after;
        self.of_clients[number as usize].insert(after, (clock, new));
        let content = if block.is_content { u64::from(block.end - clock) } else { 0 };
        self.spend(1 + content / ELEMENTS_PER_STEP + moved as u64 / BLOCKS_PER_STEP)?;
        self.blocks.push(Block { origin: Some(Id { client, clock: clock - 1 }), left: at, ..block });
        self.blocks[at as usize].end = clock;
        if block.list != NONE {
            self.blocks[at as usize].right = new;
            if block.right != NONE {
                self.blocks[block.right as usize].left = new;
            }
            self.lists[block.list as usize].blocks += 1;
        }
        Ok([at, new])
    }

    /// Puts the elements of a struct from the clock `from` on where yrs would.
    fn place(&mut self, update: &Parsed<'_>, client: u64, item: &Struct, from: u32) -> Result<(), TooMuch> {
        let origin = if from > item.clock { Some(Id { client, clock: from - 1 }) } else { item.left };
        let mut neighbours = [NONE; 2];
        if let Some(origin) = origin {
            [neighbours[0], _] = self.cut(origin.client, origin.clock + 1)?;
        }
        if let Some(right) = item.right {
            [_, neighbours[1]] = self.cut(right.client, right.clock)?;
        }
        let [of_left, of_right] = neighbours.map(|block| self.list_of(block));
        let list = match (item.kind, update.parents.get(item.parent.map_or(usize::MAX, |at| at as usize))) {
            (GC, _) => NONE,
            (_, Some(parent)) => {
                let hash = match parent.of {
                    ParentType::Root(name) => Some(self.hasher.hash_one((name, parent.key))),
                    ParentType::Element(id) => {
                        let is_type = self.find(id).is_some_and(|block| self.blocks[block as usize].is_type);
                        is_type.then(|| self.hasher.hash_one((id, parent.key)))
                    }
                };
                hash.map_or(NONE, |hash| self.list(hash, parent.key.is_some()))
            }
            (_, None) if of_left != NONE => of_left,
            (_, None) => of_right,
        };
        let new = self.blocks.len() as u32;
        let mut block = Block {
            client,
            end: item.end(),
            origin,
            right_origin: item.right,
            left: NONE,
            right: NONE,
            list,
            is_type: item.kind == TYPE,
            is_content: matches!(item.kind, STRING | ANY),
            seen: 0,
            conflicts: 0,
        };
        if list != NONE {
            // What was collected is no neighbour.
            let [left, right] = neighbours.map(|block| if self.list_of(block) == list { block } else { NONE });
            block.left = self.search(&block, left, right)?;
            let (List { first, blocks, is_of_key }, left) = (self.lists[list as usize], block.left);
            block.right = if left == NONE { first } else { self.blocks[left as usize].right };
            match left {
                NONE => {
                    self.spend(if is_of_key { blocks } else { 0 })?;
                    self.lists[list as usize].first = new;
                }
                left => self.blocks[left as usize].right = new,
            }
            if block.right != NONE {
                self.blocks[block.right as usize].left = new;
            }
            if is_of_key && blocks > 0 {
                self.replaced += 1;
                self.spend(self.replaced / RANGES_PER_STEP)?;
            }
            self.lists[list as usize].blocks += 1;
        }
        self.blocks.push(block);
        let number = self.number(client).unwrap_or_else(|| {
            let number = self.of_clients.len() as u32;
            self.of_clients.push(Vec::new());
            self.ids.push(client);
            self.clients.insert(client, number);
            number
        });
        self.of_clients[number as usize].push((from, new));
        Ok(())
    }

    fn list_of(&self, block: u32) -> u32 {
        if block == NONE { NONE } else { self.blocks[block as usize].list }
    }

    fn list(&mut self, hash: u64, is_of_key: bool) -> u32 {
        let next = self.lists.len() as u32;
        let number = *self.numbers.entry(hash).or_insert(next);
        if number == next {
            self.lists.push(List { first: NONE, blocks: 0, is_of_key });
        }
        number
    }

    /// What a block goes behind that was inserted between `left` and `right`, where others may have been put too.
    fn search(&mut self, block: &Block, mut left: u32, right: u32) -> Result<u32, TooMuch> {
        let list = self.lists[block.list as usize];
        let mut next = match left {
            NONE => list.first,
            left => self.blocks[left as usize].right,
        };
        if next == right {
            return Ok(left);
        }
        if left == NONE && list.is_of_key {
            self.spend(list.blocks)?;
        }
        self.searches += 1;
        self.moves += 1;
        while next != NONE && next != right {
            self.spend(1)?;
            let (search, since) = (self.searches, self.moves);
            let other = &mut self.blocks[next as usize];
            (other.seen, other.conflicts) = (search, since);
            let other = *other;
            let goes_behind = if other.origin == block.origin {
                if other.client >= block.client && other.right_origin == block.right_origin {
                    break;
                }
                other.client < block.client
            } else {
                let origin = other.origin.and_then(|id| self.find(id)).map(|origin| self.blocks[origin as usize]);
                let Some(origin) = origin.filter(|origin| origin.seen == search) else { break };
                origin.conflicts != since
            };
            if goes_behind {
                left = next;
                self.moves += 1;
            }
            next = other.right;
        }
        Ok(left)
    }
}

#[cfg(test)]
impl Model {
    /// What is left of the budget.
    pub(super) fn left(&self) -> u64 {
        self.budget
    }

    /// The elements of all lists in their order, each list from its first.
    pub(crate) fn elements(&self) -> Vec<Vec<(u64, u32)>> {
        let begins: HashMap<u32, u32> =
            self.of_clients.iter().flatten().map(|(clock, block)| (*block, *clock)).collect();
        let elements_of = |block: u32| {
            let Block { client, end, .. } = self.blocks[block as usize];
            (begins[&block]..end).map(move |clock| (client, clock))
        };
        let right = |block: &u32| Some(self.blocks[*block as usize].right).filter(|right| *right != NONE);
        let of = |list: &List| std::iter::successors(Some(list.first), right).flat_map(elements_of).collect();
        self.lists.iter().map(of).collect()
    }
}

/// Picks structs in the order in which yrs integrates them.
struct Picker<'u> {
    update: &'u Parsed<'u>,
    /// Sections by client, the highest last.
    order: Vec<usize>,
    by_client: HashMap<u64, usize>,
    /// By section, the next struct.
    next: Vec<u32>,
    latest: Option<usize>,
    /// Structs that wait for the one that is picked.
    waiting: Vec<(usize, u32)>,
}

impl<'u> Picker<'u> {
    fn new(update: &'u Parsed<'u>) -> Self {
        let client = |section: usize| update.sections[section].client;
        let mut order: Vec<usize> = (0..update.sections.len()).collect();
        order.sort_unstable_by_key(|section| client(*section));
        let by_client = order.iter().map(|section| (client(*section), *section)).collect();
        let next = update.sections.iter().map(|section| section.from).collect();
        Self { update, order, by_client, next, latest: None, waiting: Vec::new() }
    }

    fn next(&mut self) -> Option<(usize, u32)> {
        if let Some(waiting) = self.waiting.pop() {
            return Some(waiting);
        }
        loop {
            if let Some(section) = self.latest
                && let Some(index) = self.next_of(section)
            {
                return Some((section, index));
            }
            self.latest = Some(self.order.pop()?);
        }
    }

    fn next_of(&mut self, section: usize) -> Option<u32> {
        let Section { to, .. } = self.update.sections[section];
        let index = self.next[section];
        (index < to).then(|| self.next[section] += 1)?;
        Some(index)
    }

    /// The struct at hand waits for the next one of another client.
    fn switch(&mut self, section: usize, index: u32, missing: u64) -> Result<(), TooMuch> {
        self.waiting.push((section, index));
        let of_missing = self.by_client.get(&missing).copied();
        // The gate let in nothing that waits for something unknown.
        let (section, index) = of_missing.and_then(|section| Some((section, self.next_of(section)?))).ok_or(TooMuch)?;
        self.waiting.push((section, index));
        Ok(())
    }
}
