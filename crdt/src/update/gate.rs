//! The causal gate: can every part of an update take effect now?
//!
//! It knows of a document how many elements of each client there are and in which [`Lists`] they lie, and plays an update
//! through on that alone. Start with [`Gate::admit`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::lists::Lists;
use super::work;
use super::{
    ANY, Deletion, Id, MAX_CLIENTS_PER_DOCUMENT, MAX_CLIENTS_PER_UPDATE, MAX_KEY, MAX_NESTING, Parsed, STRING, Section,
    Struct, write_state_vector,
};
use crate::Malformed;

/// What can be done with an update now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Everything in it can take effect.
    Ready,
    /// It builds on something that is not here: ask the sender with a SyncStep1.
    Missing,
    /// It could, and yrs would work on it for too long.
    TooMuch,
}

/// Whose update it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A client's. It is held to all rules: it may not make the document one that `yrs` can only handle with great
    /// amounts of time or stack, or weave its lists into each other.
    Foreign,
    /// A client's as well, which brings a whole document, or a part of its log that was merged: it may be of as many clients as a document.
    Whole,
    /// This process' own, or one that was let in before.
    Own,
}

/// One step of an update, to be taken back if the update is not let in.
#[derive(Debug)]
pub(super) enum Undo {
    Client {
        client: u64,
        before: Option<Known>,
    },
    Run(u64),
    /// Elements of a client from a clock on were noted to have come deleted.
    Deleted(Id),
    Type(Id),
    /// A text that is a key's value begins here.
    Value(Id),
    /// A list was named, by the hash of its parent and key; of an element, unless it is of a root type.
    List {
        hash: u64,
        of: Option<Id>,
    },
}

/// So many clients are found quickly whatever their ids are.
const FEW_CLIENTS: usize = 1024;

/// Most clients of a document whose ids agree in eleven bits, of the fifth to the fifteenth lowest. `yrs` finds a client by the lowest bits of its
/// id; of the most clients that a document may have, 16 agree by chance.
const MAX_ALIKE: u16 = 64;

/// What a struct refers to, or a deletion, cuts at most so many blocks.
const CUTS: u64 = 2;

/// What the gate knows of one client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// How many of its elements are known.
    clock: u32,
    /// The last so many of them may be one block of yrs, which joins neighbouring text of one client.
    joined: u32,
}

/// The most elements of blocks that yrs can cut: texts, and values of an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Longest {
    text: u32,
    values: u32,
}

/// What the gate knows of one document.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    clients: HashMap<u64, Known>,
    /// Blocks that yrs may have, at most; how many ranges of elements were deleted; and the most elements of a block that it can cut.
    blocks: u64,
    ranges: u64,
    longest: Longest,
    lists: Lists,
}

impl Gate {
    /// Looks at what can be seen of `update` before `yrs` has read it: reading one of too many clients would take it hours. An error says that it
    /// is never let in; if it is not ready, it deletes what nobody knows.
    pub(crate) fn check(&self, update: &Parsed<'_>, source: Source) -> Result<Verdict, Malformed> {
        if source == Source::Own {
            return Ok(Verdict::Ready);
        }
        if source == Source::Foreign && update.sections.len() > MAX_CLIENTS_PER_UPDATE {
            return Err(Malformed("changes of too many clients in one update"));
        }
        if cfg!(feature = "budget") && update.has_tangled_deletes() {
            return Err(Malformed("a delete set whose ranges overlap or are out of order"));
        }
        if update.parents.iter().any(|parent| parent.key.is_some_and(|key| key.len() > MAX_KEY)) {
            return Err(Malformed("a key longer than 4096 bytes"));
        }
        self.check_clients(update)?;
        if !cfg!(feature = "budget") {
            return Ok(Verdict::Ready);
        }
        let is_unknown = |client: u64| !self.clients.contains_key(&client);
        let mut deleted_of = update.deletes.chunk_by(|a, b| a.client == b.client).map(|ranges| ranges[0].client);
        if deleted_of.clone().any(is_unknown) {
            let brought: HashSet<u64> = update.sections.iter().map(|section| section.client).collect();
            if deleted_of.any(|client| is_unknown(client) && !brought.contains(&client)) {
                return Ok(Verdict::Missing);
            }
        }
        Ok(Verdict::Ready)
    }

    /// Decides about `update`. If it is ready, it counts as applied from now on; otherwise nothing changed.
    pub(crate) fn admit(&mut self, update: &Parsed<'_>, source: Source) -> Result<Verdict, Malformed> {
        self.admit_if(update, source, |_, _| true)
    }

    /// The same, if yrs may do what is ready: `may_work` is told a bound of the steps that takes, see [`work`], and [`Gate::implied`].
    pub(crate) fn admit_if(
        &mut self,
        update: &Parsed<'_>,
        source: Source,
        may_work: impl FnOnce(u64, &[Deletion]) -> bool,
    ) -> Result<Verdict, Malformed> {
        let (blocks, ranges, longest) = (self.blocks, self.ranges, self.longest);
        let mut journal = Vec::new();
        #[cfg(feature = "trace")]
        let _step = tracing::trace_span!(target: "keystroke", "admit").entered();
        self.lists.begin();
        let mut verdict = self.play(update, source, &mut journal);
        if cfg!(feature = "budget")
            && verdict == Ok(Verdict::Ready)
            && !may_work(self.most_steps(update, &journal), self.implied())
        {
            verdict = Ok(Verdict::TooMuch);
        }
        if verdict != Ok(Verdict::Ready) {
            (self.blocks, self.ranges, self.longest) = (blocks, ranges, longest);
            for step in journal.into_iter().rev() {
                if let Undo::Client { client, before } = step {
                    match before {
                        Some(before) => self.clients.insert(client, before),
                        None => self.clients.remove(&client),
                    };
                }
                self.lists.undo(step);
            }
        } else {
            self.lists.accept(&update.deletes);
        }
        verdict
    }

    /// True if the document has every struct of `update`, and all that it deletes, deleted or not.
    pub(crate) fn knows(&self, update: &Parsed<'_>) -> bool {
        let end = |section: &Section| update.structs_of(section).last().map_or(0, Struct::end);
        update.sections.iter().all(|section| end(section) <= self.clock(section.client))
            && update.deletes.iter().all(|range| range.clock + range.len <= self.clock(range.client))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// What the update that was let in last deletes without saying so. Whoever applies, stores or passes on the update says it.
    pub(crate) fn implied(&self) -> &[Deletion] {
        self.lists.implied()
    }

    /// How many elements of a client are known.
    pub(crate) fn clock(&self, client: u64) -> u32 {
        self.clients.get(&client).map_or(0, |known| known.clock)
    }

    /// The document's state vector, encoded.
    pub(crate) fn state_vector(&self) -> Vec<u8> {
        write_state_vector(self.clients.iter().map(|(client, known)| (*client, known.clock)).collect())
    }

    /// True if text lies in an array, or in the root type `root`, which is to be read as one. `state` is the whole document.
    pub(crate) fn has_text_in_array(&self, state: &Parsed<'_>, root: Option<&str>) -> bool {
        self.lists.has_text_in_array(state, root)
    }

    /// A bound of the steps in which yrs integrates an update that was just played through.
    fn most_steps(&self, update: &Parsed<'_>, journal: &[Undo]) -> u64 {
        let before = journal.iter().filter_map(|step| match step {
            Undo::Client { client, before } => Some((*client, before.unwrap_or_default().clock)),
            _ => None,
        });
        let pairs = self.lists.pairs(1 + CUTS, CUTS * self.ranges);
        let cuts = self.cuts(update, before, work::FEW_STEPS);
        pairs.saturating_add(cuts).saturating_add(self.gaps(update, work::FEW_STEPS))
    }

    /// A bound of the steps in which yrs takes blocks out of what it has of a client, because they are deleted. They are looked at one by one only
    /// if they could be more than `few`.
    fn gaps(&self, update: &Parsed<'_>, few: u64) -> u64 {
        let deletes = || update.deletes.iter().chain(self.implied());
        let elements = deletes().map(|range| u64::from(range.len)).fold(0, u64::saturating_add);
        let collected = self.lists.collected_at_most(1 + CUTS);
        let at_most = work::gaps(elements.min(self.blocks).saturating_add(collected), self.blocks);
        if at_most <= few {
            return at_most;
        }
        let of_range = |range: &Deletion| {
            let behind = self.clock(range.client).saturating_sub(range.clock + range.len);
            work::gaps(u64::from(range.len).min(self.blocks), u64::from(behind).min(self.blocks))
        };
        let of_collected = work::gaps(self.lists.collected(deletes(), 1 + CUTS), self.blocks);
        deletes().map(of_range).fold(of_collected, u64::saturating_add)
    }

    /// True if yrs integrates the whole document, `state`, quickly as it is.
    pub(crate) fn is_quick(&self, state: &Parsed<'_>) -> bool {
        let before = self.clients.keys().map(|client| (*client, 0));
        let pairs = self.lists.all_pairs(1 + CUTS, CUTS * state.deletes.len() as u64);
        let few = work::FEW_STEPS_TO_SETTLE;
        pairs <= work::FEW_STEPS_OF_ALL && self.cuts(state, before, few).saturating_add(self.gaps(state, few)) <= few
    }

    /// A bound of the steps of all cuts. `before`: how many elements of each client were known that have more now. They are looked at one by one
    /// only if they could be more than `few`.
    fn cuts(&self, update: &Parsed<'_>, before: impl Iterator<Item = (u64, u32)>, few: u64) -> u64 {
        let deletes = || update.deletes.iter().chain(self.implied());
        let cuts = CUTS * (update.structs.len() + deletes().count()) as u64;
        let at_most = cuts.saturating_mul(self.longest_cut(self.blocks));
        if at_most <= few {
            return at_most;
        }
        // The first change of a client says what was before.
        let mut clients: HashMap<u64, (u32, &[Struct])> = HashMap::new();
        for (client, clock) in before {
            clients.entry(client).or_insert((clock, &[]));
        }
        for section in &update.sections {
            clients.entry(section.client).or_insert((u32::MAX, &[])).1 = update.structs_of(section);
        }
        let of_update = (1 + CUTS) * (update.structs.len() + deletes().count()) as u64;
        let steps_at = |client: u64, clock: u32| {
            let behind = u64::from(self.clock(client).saturating_sub(clock));
            let blocks = match clients.get(&client) {
                // What is new is only what this update makes of it, and begins where it says.
                Some((before, structs)) if clock >= *before => {
                    if structs.binary_search_by_key(&clock, |item| item.clock).is_ok() {
                        return 1;
                    }
                    of_update
                }
                _ => self.blocks,
            };
            if behind == 0 { 1 } else { self.longest_cut(behind.min(blocks)) }
        };
        let of_structs = update.sections.iter().flat_map(|section| update.structs_of(section)).map(|item| {
            let left = item.left.map_or(0, |id| steps_at(id.client, id.clock.saturating_add(1)));
            left + item.right.map_or(0, |id| steps_at(id.client, id.clock))
        });
        let of_deletes = deletes().map(|range| {
            steps_at(range.client, range.clock) + steps_at(range.client, range.clock.saturating_add(range.len))
        });
        of_structs.chain(of_deletes).fold(0, u64::saturating_add)
    }

    fn longest_cut(&self, blocks: u64) -> u64 {
        work::longest_cut(self.longest.text, self.longest.values, blocks)
    }

    fn check_clients(&self, update: &Parsed<'_>) -> Result<(), Malformed> {
        if self.clients.len() + update.sections.len() <= FEW_CLIENTS {
            return Ok(());
        }
        let is_new = |client: &u64| !self.clients.contains_key(client);
        let new: Vec<u64> = update.sections.iter().map(|section| section.client).filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.clients.len() + new.len() > MAX_CLIENTS_PER_DOCUMENT {
            return Err(Malformed("too many clients have changed this document"));
        }
        if !cfg!(feature = "budget") {
            return Ok(());
        }
        let mut alike = [0_u16; 1 << 11];
        let place = |client: u64| (client >> 4) as usize % (1 << 11);
        self.clients.keys().for_each(|client| alike[place(*client)] += 1);
        for client in new {
            alike[place(client)] += 1;
            if alike[place(client)] > MAX_ALIKE {
                return Err(Malformed("too many clients whose ids end alike"));
            }
        }
        Ok(())
    }

    /// A client whose next struct has to wait is looked at again when what it waits for was placed, so the time
    /// grows with the update's size whatever its order.
    fn play(&mut self, update: &Parsed<'_>, source: Source, journal: &mut Vec<Undo>) -> Result<Verdict, Malformed> {
        let mut order = Order::new(&update.sections);
        while let Some((index, section, mut next)) = order.next(update) {
            let client = section.client;
            let before = self.clients.get(&client).copied();
            let Known { mut clock, mut joined } = before.unwrap_or_default();
            let mut waits_for = None;
            for item in &update.structs[next..section.to as usize] {
                if item.clock > clock {
                    return Ok(Verdict::Missing);
                }
                if item.end() > clock {
                    // Where what is known ends, pieces are held to it as one struct of them all would be.
                    let is_first = next > section.from as usize && clock == before.unwrap_or_default().clock;
                    let item = if is_first { &update.joined(section, next) } else { item };
                    let needs = [item.left, item.right, update.parent_element(item)];
                    // What it needs of its own client comes before it: the parser saw to that.
                    let is_unknown = |of: &Id| of.client != client && of.clock >= self.clock(of.client);
                    waits_for = needs.into_iter().flatten().find(is_unknown);
                    if waits_for.is_some() {
                        break;
                    }
                    let depth = self.lists.place(update, client, item, clock, source, journal)?;
                    if depth > MAX_NESTING && source != Source::Own {
                        return Err(Malformed("shared types nested more than 256 deep"));
                    }
                    self.blocks += 1 + CUTS;
                    let continues =
                        item.clock < clock || item.left == clock.checked_sub(1).map(|clock| Id { client, clock });
                    joined = match item.kind {
                        STRING | ANY => item.end() - clock + if continues { joined } else { 0 },
                        _ => 0,
                    };
                    let longest = if item.kind == STRING { &mut self.longest.text } else { &mut self.longest.values };
                    *longest = joined.max(*longest);
                    clock = item.end();
                }
                next += 1;
            }
            if clock > before.unwrap_or_default().clock {
                journal.push(Undo::Client { client, before });
                self.clients.insert(client, Known { clock, joined });
            }
            order.placed(index, section, next, clock, waits_for);
        }
        let deletes_known = || update.deletes.iter().all(|range| range.clock + range.len <= self.clock(range.client));
        let ready = order.is_finished() && deletes_known();
        if cfg!(feature = "budget") {
            self.lists.check_cuts(&update.deletes, source)?;
        }
        let ranges = (update.deletes.len() + self.implied().len()) as u64;
        self.ranges += ranges;
        self.blocks += CUTS * ranges;
        Ok(if ready { Verdict::Ready } else { Verdict::Missing })
    }
}

/// The clock it waits for, the section, and where in [`Parsed::structs`] it goes on.
type Sleeper = (u32, u32, u32);

/// In which order the sections of an update are looked at.
pub(super) struct Order {
    /// Sections to look at, the next one last, and where in [`Parsed::structs`] to go on.
    ready: Vec<(u32, u32)>,
    /// By client, the sections that wait for an element of it; the one that waits for the lowest clock first.
    waiting: HashMap<u64, BinaryHeap<Reverse<Sleeper>>>,
    unfinished: usize,
}

impl Order {
    pub(super) fn new(sections: &[Section]) -> Self {
        let ready = sections.iter().enumerate().rev().map(|(index, section)| (index as u32, section.from)).collect();
        Self { ready, waiting: HashMap::new(), unfinished: sections.len() }
    }

    pub(super) fn next<'u>(&mut self, update: &'u Parsed<'_>) -> Option<(usize, &'u Section, usize)> {
        let (index, next) = self.ready.pop()?;
        Some((index as usize, &update.sections[index as usize], next as usize))
    }

    /// A section was looked at: `next` is its first struct that is not placed, because it waits for an element.
    pub(super) fn placed(&mut self, index: usize, section: &Section, next: usize, clock: u32, waits_for: Option<Id>) {
        match waits_for {
            Some(of) => {
                self.waiting.entry(of.client).or_default().push(Reverse((of.clock, index as u32, next as u32)));
            }
            None => self.unfinished -= 1,
        }
        if let Some(sleepers) = self.waiting.get_mut(&section.client) {
            while sleepers.peek().is_some_and(|Reverse((at, ..))| *at < clock) {
                self.ready.extend(sleepers.pop().map(|Reverse((_, index, next))| (index, next)));
            }
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }
}

#[cfg(test)]
mod tests;
