//! What the updates of a document's log tell about its past: who wrote and who deleted each element, and in what two
//! states of a text differ.
//!
//! Elements keep their ids for ever and never change places, so nothing here compares texts: two states are walked side by
//! side, and what only one of them shows was inserted or deleted in between. Who did that is known from the update that
//! brought the element or its deletion first ([`Attribution`]), however updates were merged since.
//!
//! It does not know what an author is, nor where updates are kept; `rooms::history` does. Offsets count UTF-16 units.

use std::collections::{BTreeMap, HashMap};

use yrs::types::text::{Text, YChange};
use yrs::{Any, IdSet, Out, ReadTxn, Snapshot, StateVector, Transact};

use crate::lib0::Reader;
use crate::{Malformed, Replica, update};

/// `len` elements of `client` from `clock` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub client: u64,
    pub clock: u64,
    pub len: u64,
}

/// A piece of a text that one client wrote in one go: one element for each UTF-16 unit, from `clock` on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub client: u64,
    pub clock: u64,
    pub text: String,
}

impl Run {
    /// Its length in UTF-16 units, and so in elements.
    pub fn len(&self) -> u64 {
        units(&self.text)
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Cuts it after `len` elements, or after the surrogate pair that this would cut in two.
    fn split_off(&mut self, len: u64) -> Self {
        let mut seen = 0;
        let at = self.text.char_indices().find_map(|(at, c)| {
            let before = seen;
            seen += c.len_utf16() as u64;
            (before >= len).then_some(at)
        });
        let text = self.text.split_off(at.unwrap_or(self.text.len()));
        Self { client: self.client, clock: self.clock + self.len(), text }
    }
}

/// The text at `root`, cut where another client went on or something was inserted between.
pub fn runs(replica: &Replica, root: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces(replica, root) {
        match runs.last_mut() {
            Some(last) if last.client == piece.client && last.clock + last.len() == piece.clock => {
                last.text.push_str(&piece.text);
            }
            _ => runs.push(piece),
        }
    }
    runs
}

/// The text at `root` in the pieces that its list has: within one, the elements are neighbours; between two, there may be deleted ones.
pub fn pieces(replica: &Replica, root: &str) -> Vec<Run> {
    let Some(text) = replica.doc().transact().get_text(root) else { return Vec::new() };
    let mut txn = replica.doc().transact_mut();
    // Compared with a document that has nothing everything was inserted, and so yrs tells the id of each piece.
    let (now, nothing) = (txn.snapshot(), Snapshot::new(StateVector::default(), IdSet::new()));
    let pieces = text.diff_range(&mut txn, Some(&now), Some(&nothing), YChange::identity);
    let run = |piece: yrs::types::text::Diff<YChange>| {
        let (Out::Any(Any::String(text)), Some(change)) = (piece.insert, piece.ychange) else { return None };
        Some(Run { client: change.id.client.get(), clock: change.id.clock.into(), text: text.to_string() })
    };
    pieces.into_iter().filter_map(run).collect()
}

/// Who inserted and who deleted each element, learnt from the updates of a log in their order. `A` stands for an author
/// and is whatever the caller tells authors by.
#[derive(Clone, Debug)]
pub struct Attribution<A> {
    /// By client: where a stretch begins, where it ends, whose it is. In order, and without gaps from clock 0 on.
    inserted: HashMap<u64, Vec<(u64, u64, A)>>,
    /// By client: begin -> end, whose it is.
    deleted: HashMap<u64, BTreeMap<u64, (u64, A)>>,
}

impl<A> Default for Attribution<A> {
    fn default() -> Self {
        Self { inserted: HashMap::new(), deleted: HashMap::new() }
    }
}

impl<A: Clone + PartialEq> Attribution<A> {
    /// Learns from one update by `author`: what it brings and no earlier one brought is theirs. Returns what was new:
    /// inserted, deleted.
    pub fn learn(&mut self, update: &[u8], author: &A) -> Result<(Vec<Span>, Vec<Span>), Malformed> {
        let parsed = update::parse(update)?;
        let mut inserted = Vec::new();
        for span in parsed.brought() {
            self.learn_inserted(span, author, &mut inserted);
        }
        let mut deleted = Vec::new();
        for span in parsed.deleted() {
            self.learn_deleted(span, author, &mut deleted);
        }
        Ok((inserted, deleted))
    }

    /// Learns that `author` brought these elements, of which some may be known.
    pub fn learn_inserted(&mut self, span: Span, author: &A, new: &mut Vec<Span>) {
        let stretches = self.inserted.entry(span.client).or_default();
        let known = stretches.last().map_or(0, |(_, end, _)| *end);
        let (from, to) = (span.clock.max(known), span.clock + span.len);
        if from >= to {
            return;
        }
        match stretches.last_mut() {
            Some((_, end, by)) if by == author && *end == from => *end = to,
            _ => stretches.push((from, to, author.clone())),
        }
        new.push(Span { client: span.client, clock: from, len: to - from });
    }

    /// Learns that `author` deleted these elements, of which some may have been deleted before.
    pub fn learn_deleted(&mut self, span: Span, author: &A, new: &mut Vec<Span>) {
        let ranges = self.deleted.entry(span.client).or_default();
        let end = span.clock + span.len;
        let mut at = span.clock;
        while at < end {
            let covered = ranges.range(..=at).next_back().map(|(_, (end, _))| *end).filter(|end| *end > at);
            if let Some(covered) = covered {
                at = covered;
                continue;
            }
            let until = ranges.range(at..end).next().map_or(end, |(next, _)| *next);
            match ranges.range_mut(..at).next_back() {
                Some((_, (last, by))) if *last == at && by == author => *last = until,
                _ => {
                    ranges.insert(at, (until, author.clone()));
                }
            }
            new.push(Span { client: span.client, clock: at, len: until - at });
            at = until;
        }
    }

    /// Who inserted an element, and the clock up to which the elements after it are theirs too.
    pub fn author(&self, client: u64, clock: u64) -> Option<(&A, u64)> {
        let stretches = self.inserted.get(&client)?;
        let at = stretches.partition_point(|(_, end, _)| *end <= clock);
        stretches.get(at).filter(|(begin, _, _)| *begin <= clock).map(|(_, end, by)| (by, *end))
    }

    /// Who deleted an element first, and the clock up to which they deleted those after it too.
    pub fn deleter(&self, client: u64, clock: u64) -> Option<(&A, u64)> {
        let (_, (end, by)) = self.deleted.get(&client)?.range(..=clock).next_back()?;
        (*end > clock).then_some((by, *end))
    }

    /// Whose client each is: the author of its first element.
    pub fn clients(&self) -> impl Iterator<Item = (u64, &A)> {
        self.inserted.iter().filter_map(|(client, stretches)| Some((*client, &stretches.first()?.2)))
    }

    /// Cuts runs by the author who inserted them.
    pub fn inserted_by(&self, runs: impl IntoIterator<Item = Run>) -> Vec<(Run, Option<A>)> {
        cut(runs, |client, clock| self.author(client, clock))
    }

    /// Cuts runs by the author who deleted them.
    pub fn deleted_by(&self, runs: impl IntoIterator<Item = Run>) -> Vec<(Run, Option<A>)> {
        cut(runs, |client, clock| self.deleter(client, clock))
    }
}

fn cut<'a, A: Clone + PartialEq + 'a>(
    runs: impl IntoIterator<Item = Run>,
    whose: impl Fn(u64, u64) -> Option<(&'a A, u64)>,
) -> Vec<(Run, Option<A>)> {
    let mut out = Vec::new();
    for mut run in runs {
        while !run.is_empty() {
            let (author, len) = match whose(run.client, run.clock) {
                Some((author, end)) => (Some(author.clone()), end - run.clock),
                None => (None, 1),
            };
            let rest = run.split_off(len);
            out.push((std::mem::replace(&mut run, rest), author));
        }
    }
    out
}

/// The clocks of a state vector by client. Its own bytes may list them in any order.
pub fn clocks(state_vector: &[u8]) -> Result<Vec<(u64, u64)>, Malformed> {
    let mut reader = Reader::new(state_vector);
    let mut clocks = Vec::new();
    for _ in 0..reader.count(2)? {
        clocks.push((reader.var_uint()?, reader.var_uint()?));
    }
    clocks.sort_unstable();
    Ok(clocks)
}

/// One place where two states of a text differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where it begins in the earlier text.
    pub from: u64,
    /// Where it begins in the later text.
    pub to: u64,
    pub removed: Vec<Run>,
    pub inserted: Vec<Run>,
}

/// In what the later text differs from the earlier one. Where the same characters were removed and inserted again, as by
/// going back to an older version, there is no difference.
pub fn changes(earlier: Vec<Run>, later: Vec<Run>) -> Vec<Change> {
    let (in_earlier, in_later) = (Elements::of(&earlier), Elements::of(&later));
    let mut found = Vec::new();
    let (mut from, mut to) = (0, 0);
    let mut open = Change { from, to, removed: Vec::new(), inserted: Vec::new() };
    let (mut old, mut new) = (Cursor::new(earlier), Cursor::new(later));
    loop {
        if let Some(run) = old.take(|run| in_later.stretch(run, false)) {
            from += run.len();
            open.removed.push(run);
        } else if let Some(run) = new.take(|run| in_earlier.stretch(run, false)) {
            to += run.len();
            open.inserted.push(run);
        } else {
            close(&mut open, &mut found);
            // Both have it. Elements keep their order, so it is the same one.
            let shared = old.peek().zip(new.peek()).map(|(a, b)| {
                let same = (a.client, a.clock) == (b.client, b.clock);
                if same {
                    in_later.stretch(a, true).min(in_earlier.stretch(b, true)).min(a.len()).min(b.len())
                } else {
                    0
                }
            });
            match shared {
                None | Some(0) => break,
                Some(len) => {
                    let kept = old.take(|_| len).map_or(0, |run| run.len());
                    new.take(|_| kept);
                    (from, to) = (from + kept, to + kept);
                }
            }
            (open.from, open.to) = (from, to);
        }
    }
    // Nothing is left unless the two are not states of one text; then the rest was replaced.
    open.removed.extend(old.rest());
    open.inserted.extend(new.rest());
    close(&mut open, &mut found);
    found
}

fn close(open: &mut Change, found: &mut Vec<Change>) {
    let empty = Change { from: 0, to: 0, removed: Vec::new(), inserted: Vec::new() };
    let mut change = std::mem::replace(open, empty);
    trim(&mut change);
    if !change.removed.is_empty() || !change.inserted.is_empty() {
        found.push(change);
    }
}

/// Takes equal characters off both ends.
fn trim(change: &mut Change) {
    let text = |runs: &[Run]| runs.iter().map(|run| run.text.as_str()).collect::<String>();
    let (removed, inserted) = (text(&change.removed), text(&change.inserted));
    let head = removed.chars().zip(inserted.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c);
    let head: u64 = head.map(|c| c.len_utf16() as u64).sum();
    let left = |text: &str| units(text) - head;
    let room = left(&removed).min(left(&inserted));
    let mut tail = 0;
    for (a, b) in removed.chars().rev().zip(inserted.chars().rev()) {
        let len = a.len_utf16() as u64;
        if a != b || tail + len > room {
            break;
        }
        tail += len;
    }
    for (runs, whole) in [(&mut change.removed, units(&removed)), (&mut change.inserted, units(&inserted))] {
        let mut cursor = Cursor::new(std::mem::take(runs));
        cursor.skip(head);
        let mut keep = whole - head - tail;
        while keep > 0 {
            let Some(run) = cursor.take(|run| keep.min(run.len())) else { break };
            keep -= run.len().min(keep);
            runs.push(run);
        }
    }
    (change.from, change.to) = (change.from + head, change.to + head);
}

/// Goes through runs, element by element where needed.
struct Cursor {
    /// Last first.
    rest: Vec<Run>,
}

impl Cursor {
    fn new(mut runs: Vec<Run>) -> Self {
        runs.reverse();
        Self { rest: runs }
    }

    fn peek(&self) -> Option<&Run> {
        self.rest.last()
    }

    /// Takes as many elements of the next run as `how_many` says; `None` if that is none.
    fn take(&mut self, how_many: impl FnOnce(&Run) -> u64) -> Option<Run> {
        let len = how_many(self.peek()?);
        if len == 0 {
            return None;
        }
        let mut run = self.rest.pop()?;
        let rest = run.split_off(len);
        if !rest.is_empty() {
            self.rest.push(rest);
        }
        Some(run)
    }

    fn skip(&mut self, mut len: u64) {
        while len > 0 {
            let Some(run) = self.take(|run| len.min(run.len())) else { return };
            len -= run.len().min(len);
        }
    }

    fn rest(mut self) -> Vec<Run> {
        self.rest.reverse();
        self.rest
    }
}

/// The elements that a text shows.
struct Elements(HashMap<u64, Vec<(u64, u64)>>);

impl Elements {
    fn of(runs: &[Run]) -> Self {
        let mut elements: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for run in runs {
            elements.entry(run.client).or_default().push((run.clock, run.clock + run.len()));
        }
        elements.values_mut().for_each(|ranges| ranges.sort_unstable());
        Self(elements)
    }

    /// How many elements from the run's beginning on are all in here (`inside`), or all not.
    fn stretch(&self, run: &Run, inside: bool) -> u64 {
        let ranges = self.0.get(&run.client).map(Vec::as_slice).unwrap_or_default();
        let at = ranges.partition_point(|(_, end)| *end <= run.clock);
        match ranges.get(at) {
            Some((begin, end)) if *begin <= run.clock => u64::from(inside) * (end - run.clock),
            Some((begin, _)) if !inside => begin - run.clock,
            None if !inside => run.len(),
            _ => 0,
        }
    }
}

fn units(text: &str) -> u64 {
    text.encode_utf16().count() as u64
}

#[cfg(test)]
mod tests;
