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

use super::{ANY, DELETED, Deletion, GC, Id, ParentType, Parsed, STRING, Section, Struct, TYPE};

/// Steps that one update may take: some two seconds.
pub(crate) const BUDGET: u64 = 1 << 25;

/// Steps below which nobody plays an update through.
pub(crate) const FEW_STEPS: u64 = BUDGET / 4;

/// The same of a whole document when it is loaded. It is more, since whoever opens a document waits for it: one text of 30,000 pieces is not
/// played through, which at worst would take a minute.
pub(crate) const BUDGET_OF_ALL: u64 = 16 * BUDGET;
pub(crate) const FEW_STEPS_OF_ALL: u64 = 2 * BUDGET_OF_ALL;

/// Steps of cutting and closing up above which a document is loaded in the form that needs none.
pub(crate) const FEW_STEPS_TO_SETTLE: u64 = BUDGET_OF_ALL / 4;

/// What is looked at or moved in one step when a block is cut: UTF-16 units of a text, which are counted from its beginning, values, which are all
/// copied, and blocks behind.
const UNITS_PER_STEP: u64 = 16;
const VALUES_PER_STEP: u64 = 4;
const BLOCKS_PER_STEP: u64 = 128;

/// What is copied in one step when blocks are joined again that were cut for nothing: units of a text. Of values it is a fraction of one, since
/// they stay in memory as often as they are copied.
const UNITS_JOINED_PER_STEP: u64 = 64;
const STEPS_PER_VALUE_JOINED: u64 = 8;

/// What is moved in one step when a block is taken out: blocks behind it.
const BLOCKS_MOVED_PER_STEP: u64 = 32;

/// What is moved in one step when something is deleted out of order, as a value of a key because another takes its place: ranges of deleted elements.
const RANGES_PER_STEP: u64 = 256;

/// What a cut takes at most, with what is joined again because of it: of the longest text and the most values in one block, with so many blocks
/// of its client behind it.
pub(super) fn longest_cut(units: u32, values: u32, blocks: u64) -> u64 {
    let text = u64::from(units) / UNITS_PER_STEP + u64::from(units) / UNITS_JOINED_PER_STEP;
    let content = text + u64::from(values) * STEPS_PER_VALUE_JOINED;
    1 + content + 2 * (blocks / BLOCKS_PER_STEP) + gaps(1, blocks)
}

/// What it takes at most to take out so many blocks that have so many of their client behind them.
pub(super) fn gaps(blocks: u64, behind: u64) -> u64 {
    blocks.saturating_mul(1 + behind / BLOCKS_MOVED_PER_STEP)
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
    is_deleted: bool,
    /// The list of this type that was named last, or [`NONE`].
    inside: u32,
    /// It has text or values, which are moved when it is cut.
    is_text: bool,
    is_values: bool,
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
    /// The list of its type that was named before it, or [`NONE`].
    sibling: u32,
}

/// Where an update cuts what there is, by client and in order.
fn places(update: &Parsed<'_>) -> HashMap<u64, Vec<u32>> {
    let mut places: HashMap<u64, Vec<u32>> = HashMap::new();
    for (_, item) in update.with_clients() {
        let behind = item.left.map(|id| Id { clock: id.clock + 1, ..id });
        for place in [behind, item.right].into_iter().flatten() {
            places.entry(place.client).or_default().push(place.clock);
        }
    }
    for range in &update.deletes {
        places.entry(range.client).or_default().extend([range.clock, range.clock.saturating_add(range.len)]);
    }
    for of_client in places.values_mut() {
        of_client.sort_unstable();
        of_client.dedup();
    }
    places
}

/// What has become of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Live,
    Deleted,
    /// Nothing is left of it but its length.
    Collected,
}

/// Elements of a client up to a clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) end: u32,
    pub(super) kind: Kind,
    /// yrs makes one block of it and the piece before.
    pub(super) is_joined: bool,
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
    /// Of the last update: what clocks of clients it stands before or behind, what it deleted, and what it placed where all is collected, by client
    /// and end.
    beside: Vec<(u64, u32)>,
    deleted: Vec<u32>,
    collected: Vec<(u64, u32)>,
    /// yrs gets it in the pieces that it is cut into in the end.
    is_to_settle: bool,
    budget: u64,
}

impl Model {
    /// A model of a document that yrs is to read [settled](super::settled).
    pub(crate) fn to_settle() -> Self {
        Self { is_to_settle: true, ..Self::default() }
    }

    /// The same for what comes to that document afterwards.
    pub(crate) fn once_settled(self) -> Self {
        Self { is_to_settle: false, ..self }
    }

    /// Takes in an update that can take effect entirely, and that deletes what is `implied` besides, in at most so many steps.
    pub(crate) fn take(&mut self, update: &Parsed<'_>, implied: &[Deletion], budget: u64) -> Result<(), TooMuch> {
        self.integrate_all(update, implied, budget)?;
        self.close_up()
    }

    /// As [`Model::take`], but for the time that yrs takes to close up what is deleted: in a document that was encoded it is closed up already.
    pub(crate) fn integrate(&mut self, update: &Parsed<'_>, budget: u64) -> Result<(), TooMuch> {
        self.integrate_all(update, &[], budget)?;
        self.collect().map(drop)
    }

    fn integrate_all(&mut self, update: &Parsed<'_>, implied: &[Deletion], budget: u64) -> Result<(), TooMuch> {
        #[cfg(feature = "trace")]
        let _step = tracing::trace_span!(target: "keystroke", "integrate", budget).entered();
        self.budget = budget;
        self.beside.clear();
        self.deleted.clear();
        self.collected.clear();
        let places = if self.is_to_settle { places(update) } else { HashMap::new() };
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
                None => {
                    self.place(update, client, item, known.max(item.clock))?;
                    // As long as it is the last one of its client, no others have to be moved.
                    let places = places.get(&client).map_or(&[][..], Vec::as_slice);
                    let first = places.partition_point(|place| *place <= known.max(item.clock));
                    for place in places[first..].iter().take_while(|place| **place < item.end()) {
                        self.cut(client, *place)?;
                    }
                }
            }
        }
        self.delete(&update.deletes)?;
        self.delete(implied)?;
        self.join_again()
    }

    /// Has what is deleted begin and end blocks.
    fn delete(&mut self, deletes: &[Deletion]) -> Result<(), TooMuch> {
        let mut last = None;
        for range in deletes {
            let end = range.clock.saturating_add(range.len);
            self.cut(range.client, range.clock)?;
            self.cut(range.client, end)?;
            self.beside.extend([(range.client, range.clock), (range.client, end)]);
            // What a log of old deletes several times is looked at once.
            let from = range.clock.max(last.filter(|(client, _)| *client == range.client).map_or(0, |(_, end)| end));
            last = Some((range.client, end.max(from)));
            let of_client = self.of_client(range.client);
            let [from, to] = [from, end].map(|clock| of_client.partition_point(|(begins, _)| *begins < clock));
            let blocks: Vec<u32> = of_client[from..to.max(from)].iter().map(|(_, block)| *block).collect();
            blocks.into_iter().for_each(|block| self.set_deleted(block));
        }
        Ok(())
    }

    fn set_deleted(&mut self, block: u32) {
        if !std::mem::replace(&mut self.blocks[block as usize].is_deleted, true) {
            self.deleted.push(block);
        }
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Plays through how yrs joins what the last update stands beside, but put nothing between: it copies all that follows for each piece, and moves
    /// what is behind when it cuts and when it joins. If it is settled, it is one piece that is cut and joined again.
    fn join_again(&mut self) -> Result<(), TooMuch> {
        let mut places = std::mem::take(&mut self.beside);
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.dedup();
        // Where the piece begins that was joined last, and how long it is.
        let mut last = (0, 0, 0);
        for (client, clock) in places {
            let of_client = self.of_client(client);
            let at = of_client.partition_point(|(begins, _)| *begins < clock);
            let Some([(begins, left), (_, right)]) = at.checked_sub(1).and_then(|left| of_client.get(left..=at)) else {
                continue;
            };
            let (begins, [left, right], behind) = (*begins, [*left, *right], (of_client.len() - at) as u64);
            if !self.is_joined(left, right) {
                continue;
            }
            self.spend(behind / BLOCKS_PER_STEP + gaps(1, behind))?;
            let Block { end, is_text, .. } = self.blocks[right as usize];
            if self.kind(right) != Kind::Live {
                continue;
            }
            let after = if last.0 == client && last.1 == end { last.2 } else { 0 };
            let len = u64::from(end - clock) + after;
            last = (client, clock, len);
            let before = u64::from(clock - begins);
            // Where it is not settled, the cut was counted when it was made.
            let cut = if self.is_to_settle { before + len } else { 0 };
            self.spend(match is_text {
                true => cut / UNITS_PER_STEP + len / UNITS_JOINED_PER_STEP,
                false => cut / VALUES_PER_STEP + len * STEPS_PER_VALUE_JOINED,
            })?;
        }
        Ok(())
    }

    /// Collects all that lies in types that the last update deleted.
    fn collect(&mut self) -> Result<Vec<(u64, u32)>, TooMuch> {
        let mut collected = std::mem::take(&mut self.collected);
        let mut next = 0;
        while let Some(of) = self.deleted.get(next) {
            next += 1;
            let of = &mut self.blocks[*of as usize];
            let mut list = std::mem::replace(&mut of.inside, NONE);
            of.is_type = false;
            while list != NONE {
                let List { first: mut inside, sibling, .. } = self.lists[list as usize];
                while inside != NONE {
                    self.spend(1)?;
                    let block = &mut self.blocks[inside as usize];
                    block.list = NONE;
                    collected.push((block.client, block.end));
                    let right = block.right;
                    if block.is_type {
                        self.deleted.push(inside);
                    }
                    inside = right;
                }
                list = sibling;
            }
        }
        Ok(collected)
    }

    /// Plays through how yrs closes up after the last update: of what is deleted it makes fewer blocks, and moves all that are behind each time.
    fn close_up(&mut self) -> Result<(), TooMuch> {
        let mut gone = self.collect()?;
        for (ranges, pair) in gone.windows(2).enumerate() {
            self.spend(if pair[1] < pair[0] { ranges as u64 / RANGES_PER_STEP } else { 0 })?;
        }
        gone.extend(self.deleted.iter().map(|block| &self.blocks[*block as usize]).map(|of| (of.client, of.end)));
        let mut steps = 0_u64;
        for (client, end) in gone {
            let of_client = self.of_client(client);
            let behind = of_client.partition_point(|(begins, _)| *begins < end);
            let beside = &of_client[behind.saturating_sub(2)..of_client.len().min(behind + 1)];
            if beside.windows(2).any(|pair| self.is_joined(pair[0].1, pair[1].1)) {
                steps = steps.saturating_add(gaps(1, (of_client.len() - behind) as u64));
            }
        }
        self.spend(steps)
    }

    /// True if yrs makes one block of these two of one client.
    fn is_joined(&self, left: u32, right: u32) -> bool {
        let kinds = [left, right].map(|block| self.kind(block));
        let [before, after] = [left, right].map(|block| &self.blocks[block as usize]);
        let end = Id { client: before.client, clock: before.end.saturating_sub(1) };
        let continues = before.right == right && after.origin == Some(end) && before.right_origin == after.right_origin;
        kinds[0] == kinds[1]
            && match kinds[0] {
                Kind::Collected => true,
                Kind::Deleted => continues,
                Kind::Live => continues && (before.is_text && after.is_text || before.is_values && after.is_values),
            }
    }

    fn kind(&self, block: u32) -> Kind {
        match self.blocks[block as usize] {
            Block { list: NONE, .. } => Kind::Collected,
            Block { is_deleted: true, .. } => Kind::Deleted,
            _ => Kind::Live,
        }
    }

    /// What yrs has of a client in the end.
    pub(super) fn pieces(&self, client: u64) -> impl Iterator<Item = Piece> {
        let of_client = self.of_client(client);
        of_client.iter().enumerate().map(move |(at, (_, block))| Piece {
            end: self.blocks[*block as usize].end,
            kind: self.kind(*block),
            is_joined: at.checked_sub(1).is_some_and(|before| self.is_joined(of_client[before].1, *block)),
        })
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
        let Some((begins, at)) = after.checked_sub(1).map(|before| of_client[before]) else { return Ok([NONE, next]) };
        let block = self.blocks[at as usize];
        if clock >= block.end {
            return Ok([at, next]);
        }
        let new = self.blocks.len() as u32;
        let moved = of_client.len() - after;
        self.of_clients[number as usize].insert(after, (clock, new));
        let len = u64::from(block.end - begins);
        let content = match block {
            // Of what is settled, only the model is cut.
            _ if self.is_to_settle => 0,
            Block { is_text: true, .. } => len / UNITS_PER_STEP,
            Block { is_values: true, .. } => len / VALUES_PER_STEP,
            _ => 0,
        };
        self.spend(1 + content + moved as u64 / BLOCKS_PER_STEP)?;
        self.blocks.push(Block { origin: Some(Id { client, clock: clock - 1 }), left: at, ..block });
        self.blocks[at as usize].end = clock;
        if block.list != NONE {
            self.blocks[at as usize].right = new;
            if block.right != NONE {
                self.blocks[block.right as usize].left = new;
            }
            let list = &mut self.lists[block.list as usize];
            list.blocks += 1;
            // A key has one value, the last one.
            if list.is_of_key {
                self.set_deleted(at);
            }
        }
        Ok([at, new])
    }

    /// Puts the elements of a struct from the clock `from` on where yrs would.
    fn place(&mut self, update: &Parsed<'_>, client: u64, item: &Struct, from: u32) -> Result<(), TooMuch> {
        let own = Id { client, clock: from.wrapping_sub(1) };
        let origin = if from > item.clock { Some(own) } else { item.left };
        self.beside.extend(origin.filter(|id| *id != own).map(|id| (id.client, id.clock + 1)));
        self.beside.extend(item.right.map(|id| (id.client, id.clock)));
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
            (_, Some(parent)) => match parent.of {
                ParentType::Root(name) => {
                    self.list(self.hasher.hash_one((name, parent.key)), parent.key.is_some(), NONE)
                }
                ParentType::Element(id) => match self.find(id).filter(|of| self.blocks[*of as usize].is_type) {
                    Some(of) => self.list(self.hasher.hash_one((id, parent.key)), parent.key.is_some(), of),
                    None => NONE,
                },
            },
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
            is_deleted: item.kind == DELETED,
            inside: NONE,
            is_text: item.kind == STRING,
            is_values: item.kind == ANY,
            seen: 0,
            conflicts: 0,
        };
        let mut replaced = NONE;
        if list != NONE {
            // What was collected is no neighbour.
            let [left, right] = neighbours.map(|block| if self.list_of(block) == list { block } else { NONE });
            block.left = self.search(&block, left, right)?;
            let (List { first, blocks, is_of_key, .. }, left) = (self.lists[list as usize], block.left);
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
                replaced = if block.right == NONE { left } else { new };
            }
            self.lists[list as usize].blocks += 1;
        } else {
            self.collected.push((client, block.end));
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
        if replaced != NONE && !self.blocks[replaced as usize].is_deleted {
            self.set_deleted(replaced);
            self.replaced += 1;
            self.spend(self.replaced / RANGES_PER_STEP)?;
        }
        Ok(())
    }

    fn list_of(&self, block: u32) -> u32 {
        if block == NONE { NONE } else { self.blocks[block as usize].list }
    }

    /// The list of a key or not, of the type that is the block `of` if that is none of the root.
    fn list(&mut self, hash: u64, is_of_key: bool, of: u32) -> u32 {
        let next = self.lists.len() as u32;
        let number = *self.numbers.entry(hash).or_insert(next);
        if number == next {
            let inside = self.blocks.get_mut(of as usize).map(|of| &mut of.inside);
            let sibling = inside.map_or(NONE, |inside| std::mem::replace(inside, next));
            self.lists.push(List { first: NONE, blocks: 0, is_of_key, sibling });
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
