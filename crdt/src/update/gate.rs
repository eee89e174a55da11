//! The causal gate: can every part of an update take effect now?
//!
//! It knows of a document how many elements of each client there are and in which [`Lists`] they lie, and plays an update
//! through on that alone. Start with [`Gate::admit`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::lists::Lists;
use super::work;
use super::{
    ANY, Id, MAX_CLIENTS_PER_DOCUMENT, MAX_CLIENTS_PER_UPDATE, MAX_KEY, MAX_NESTING, Parsed, STRING, Section, Struct,
    write_state_vector,
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
    Clock {
        client: u64,
        before: Option<u32>,
    },
    Run(u64),
    /// Elements of a client from a clock on were noted to have come deleted.
    Deleted(Id),
    Type(Id),
    List(u64),
}

/// What a struct refers to, or a deletion, cuts at most so many blocks.
const CUTS: u64 = 2;

/// What the gate knows of one document.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// By client, how many of its elements are known.
    clocks: HashMap<u64, u32>,
    /// Blocks that yrs may have, at most, and the elements in those that it can cut.
    blocks: u64,
    elements: u64,
    lists: Lists,
}

impl Gate {
    /// Decides about `update`. If it is ready, it counts as applied from now on; otherwise nothing changed.
    pub(crate) fn admit(&mut self, update: &Parsed<'_>, source: Source) -> Result<Verdict, Malformed> {
        self.admit_if(update, source, |_| true)
    }

    /// The same, if yrs may do `work` that is ready: it is told a bound of the steps that takes, see [`work`].
    pub(crate) fn admit_if(
        &mut self,
        update: &Parsed<'_>,
        source: Source,
        may_work: impl FnOnce(u64) -> bool,
    ) -> Result<Verdict, Malformed> {
        if source == Source::Foreign && update.sections.len() > MAX_CLIENTS_PER_UPDATE {
            return Err(Malformed("changes of too many clients in one update"));
        }
        if source != Source::Own {
            self.check_clients(update)?;
            if update.parents.iter().any(|parent| parent.key.is_some_and(|key| key.len() > MAX_KEY)) {
                return Err(Malformed("a key longer than 4096 bytes"));
            }
        }
        let (blocks, elements) = (self.blocks, self.elements);
        let mut journal = Vec::new();
        self.lists.begin();
        let mut verdict = self.play(update, source, &mut journal);
        if cfg!(feature = "budget") && verdict == Ok(Verdict::Ready) && !may_work(self.most_steps(update)) {
            verdict = Ok(Verdict::TooMuch);
        }
        if verdict != Ok(Verdict::Ready) {
            (self.blocks, self.elements) = (blocks, elements);
            for step in journal.into_iter().rev() {
                if let Undo::Clock { client, before } = step {
                    match before {
                        Some(before) => self.clocks.insert(client, before),
                        None => self.clocks.remove(&client),
                    };
                }
                self.lists.undo(step);
            }
        } else {
            self.lists.accept();
        }
        verdict
    }

    /// True if the document has every struct of `update`.
    pub(crate) fn knows_structs(&self, update: &Parsed<'_>) -> bool {
        let end = |section: &Section| update.structs_of(section).last().map_or(0, Struct::end);
        update.sections.iter().all(|section| end(section) <= self.clock(section.client))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }

    /// How many elements of a client are known.
    pub(crate) fn clock(&self, client: u64) -> u32 {
        self.clocks.get(&client).copied().unwrap_or(0)
    }

    /// The document's state vector, encoded.
    pub(crate) fn state_vector(&self) -> Vec<u8> {
        write_state_vector(self.clocks.iter().map(|(client, clock)| (*client, *clock)).collect())
    }

    /// True if text lies in an array, or in the root type `root`, which is to be read as one. `state` is the whole document.
    pub(crate) fn has_text_in_array(&self, state: &Parsed<'_>, root: Option<&str>) -> bool {
        self.lists.has_text_in_array(state, root)
    }

    /// A bound of the steps in which yrs integrates an update that was just played through.
    fn most_steps(&self, update: &Parsed<'_>) -> u64 {
        self.lists.pairs().saturating_add(self.cuts(update))
    }

    /// A bound of the steps in which yrs integrates the whole document, `state`, at once.
    pub(crate) fn most_steps_of_all(&self, state: &Parsed<'_>) -> u64 {
        self.lists.all_pairs().saturating_add(self.cuts(state))
    }

    fn cuts(&self, update: &Parsed<'_>) -> u64 {
        let cuts = CUTS * (update.structs.len() + update.deletes.len()) as u64;
        cuts.saturating_mul(work::longest_cut(self.elements, self.blocks))
    }

    fn check_clients(&self, update: &Parsed<'_>) -> Result<(), Malformed> {
        if self.clocks.len() + update.sections.len() > MAX_CLIENTS_PER_DOCUMENT {
            let new = update.sections.iter().filter(|section| !self.clocks.contains_key(&section.client)).count();
            if new > 0 && self.clocks.len() + new > MAX_CLIENTS_PER_DOCUMENT {
                return Err(Malformed("too many clients have changed this document"));
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
            let before = self.clocks.get(&client).copied();
            let mut clock = before.unwrap_or(0);
            let mut waits_for = None;
            for item in &update.structs[next..section.to as usize] {
                if item.clock > clock {
                    return Ok(Verdict::Missing);
                }
                if item.end() > clock {
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
                    self.elements += u64::from(if matches!(item.kind, STRING | ANY) { item.end() - clock } else { 0 });
                    clock = item.end();
                }
                next += 1;
            }
            if clock > before.unwrap_or(0) {
                journal.push(Undo::Clock { client, before });
                self.clocks.insert(client, clock);
            }
            order.placed(index, section, next, clock, waits_for);
        }
        let deletes_known = || update.deletes.iter().all(|range| range.clock + range.len <= self.clock(range.client));
        let ready = order.is_finished() && deletes_known();
        self.blocks += CUTS * update.deletes.len() as u64;
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
