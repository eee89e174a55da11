//! How a changed text becomes operations: the few edits that turn one text into another.
//!
//! A file that a program rewrote must enter its document as small edits, so that what people type
//! in it at the same moment, their cursors and their undo survive. This module only compares and
//! applies; it does not know where the texts come from.
//!
//! **Invariant:** the work is bounded for any input: `O(n log n)` plus a constant per hunk. Where
//! a perfect answer would cost more, a hunk is replaced as a whole.
//!
//! Start with [`diff`].

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};
use yrs::{Text, TextRef, TransactionMut};

/// Name of the root `Y.Text` in a file's document.
pub const ROOT: &str = "text";

/// Most lines, of both sides together, that a region without a common unique line may have to be
/// compared line by line, and most tokens that a changed hunk may have to be compared character by
/// character: Myers' algorithm takes up to the square of that, however few are on one side. Above it
/// the region is replaced as a whole, and of a hunk what is between its common head and tail.
const MAX_COMPARED: usize = 1 << 11;

/// How many times, on average, a line may be looked at in search of unique lines. Texts made to
/// divide badly end as few large hunks.
const MAX_DIVISIONS: usize = 32;

/// From this many changed hunks on, hunks are replaced without looking at their characters: each
/// edit costs a search through the document when it is applied.
const MAX_FINE_HUNKS: usize = 500;

/// What stands for a CRLF among tokens: one above the last code point.
const CRLF: u32 = 0x0011_0000;

/// One replacement. Offsets count UTF-16 units of the old text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Where in the old text.
    pub at: u32,
    /// How many units of the old text go.
    pub delete: u32,
    /// What comes in their place.
    pub insert: String,
}

/// Edits that turn `old` into `new`, ascending and without overlap. Neither a surrogate pair nor a
/// CRLF is ever cut.
pub fn diff(old: &str, new: &str) -> Vec<Edit> {
    if old == new {
        return Vec::new();
    }
    let (old_lines, new_lines) = (lines(old), lines(new));
    let mut hunks = Vec::new();
    {
        let mut ids = HashMap::new();
        let old_ids = intern(&old_lines, &mut ids);
        let new_ids = intern(&new_lines, &mut ids);
        line_hunks(&old_ids, &new_ids, &mut hunks);
    }
    let fine = hunks.len() <= MAX_FINE_HUNKS;
    let mut edits = Vec::new();
    let (mut at, mut line) = (0, 0);
    for hunk in hunks {
        at += old_lines[line..hunk.old.start].iter().map(|l| units(l)).sum::<u32>();
        line = hunk.old.end;
        let removed = join(old, &old_lines, &hunk.old);
        let inserted = join(new, &new_lines, &hunk.new);
        token_edits(at, removed, inserted, fine, &mut edits);
        at += units(removed);
    }
    edits
}

/// Applies edits that were made against the text's present content.
pub fn apply(text: &TextRef, txn: &mut TransactionMut<'_>, edits: &[Edit]) {
    // From the end, so that the offsets of those before stay what they are.
    for edit in edits.iter().rev() {
        if edit.delete > 0 {
            text.remove_range(txn, edit.at, edit.delete);
        }
        if !edit.insert.is_empty() {
            text.insert(txn, edit.at, &edit.insert);
        }
    }
}

/// A region of lines that differ.
struct Hunk {
    old: Range<usize>,
    new: Range<usize>,
}

fn units(text: &str) -> u32 {
    u32::try_from(text.encode_utf16().count()).expect("documents are far below 4 GiB")
}

/// Lines with their terminators.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The part of `text` that a range of its lines covers.
fn join<'t>(text: &'t str, lines: &[&'t str], range: &Range<usize>) -> &'t str {
    let start = lines.get(range.start).map_or(text.len(), |line| offset_in(text, line));
    let end = lines.get(range.end).map_or(text.len(), |line| offset_in(text, line));
    &text[start..end]
}

fn offset_in(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn intern<'t>(lines: &[&'t str], ids: &mut HashMap<&'t str, u32>) -> Vec<u32> {
    lines
        .iter()
        .map(|line| {
            let next = u32::try_from(ids.len()).expect("fewer lines than bytes");
            *ids.entry(line).or_insert(next)
        })
        .collect()
}

/// Finds the changed regions between two sequences of lines: equal ends are cut off, lines that
/// occur exactly once on both sides divide the rest, and what lies between them is compared by
/// Myers' algorithm where it is small.
fn line_hunks(old: &[u32], new: &[u32], hunks: &mut Vec<Hunk>) {
    let mut budget = (old.len() + new.len()).saturating_mul(MAX_DIVISIONS);
    let mut regions = vec![(0..old.len(), 0..new.len())];
    while let Some((o, n)) = regions.pop() {
        let (head, tail) = common_ends(&old[o.clone()], &new[n.clone()]);
        let (o, n) = (o.start + head..o.end - tail, n.start + head..n.end - tail);
        if o.is_empty() || n.is_empty() {
            if !o.is_empty() || !n.is_empty() {
                hunks.push(Hunk { old: o, new: n });
            }
            continue;
        }
        if let Some(left) = budget.checked_sub(o.len() + n.len()) {
            budget = left;
            let anchors = unique_anchors(&old[o.clone()], &new[n.clone()]);
            if !anchors.is_empty() {
                let (mut from_old, mut from_new) = (o.start, n.start);
                for (a, b) in anchors {
                    regions.push((from_old..o.start + a, from_new..n.start + b));
                    (from_old, from_new) = (o.start + a + 1, n.start + b + 1);
                }
                regions.push((from_old..o.end, from_new..n.end));
                continue;
            }
        }
        if o.len() + n.len() <= MAX_COMPARED {
            for (p, q) in changed_ranges(&old[o.clone()], &new[n.clone()]) {
                hunks.push(Hunk { old: o.start + p.start..o.start + p.end, new: n.start + q.start..n.start + q.end });
            }
        } else {
            hunks.push(Hunk { old: o, new: n });
        }
    }
    hunks.sort_by_key(|hunk| (hunk.old.start, hunk.new.start));
}

fn common_ends(old: &[u32], new: &[u32]) -> (usize, usize) {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    (head, tail)
}

/// Pairs of positions of elements that occur once in each sequence, the longest run of them that
/// ascends on both sides (patience sorting).
fn unique_anchors(old: &[u32], new: &[u32]) -> Vec<(usize, usize)> {
    #[derive(Default, Clone, Copy)]
    struct Seen {
        old: u32,
        new: u32,
        at_old: usize,
    }
    let mut seen: HashMap<u32, Seen> = HashMap::with_capacity(old.len());
    for (at, id) in old.iter().enumerate() {
        let entry = seen.entry(*id).or_default();
        entry.old += 1;
        entry.at_old = at;
    }
    for id in new {
        if let Some(entry) = seen.get_mut(id) {
            entry.new += 1;
        }
    }
    let pairs: Vec<(usize, usize)> = new
        .iter()
        .enumerate()
        .filter_map(|(at_new, id)| {
            let entry = seen.get(id)?;
            (entry.old == 1 && entry.new == 1).then_some((entry.at_old, at_new))
        })
        .collect();
    // `tops[k]`: index of the pair with the smallest old position that ends an ascending run of k + 1.
    let mut tops: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        let pile = tops.partition_point(|top| pairs[*top].0 < pair.0);
        before.push(pile.checked_sub(1).map(|below| tops[below]));
        if pile == tops.len() {
            tops.push(index);
        } else {
            tops[pile] = index;
        }
    }
    let mut run = Vec::with_capacity(tops.len());
    let mut at = tops.last().copied();
    while let Some(index) = at {
        run.push(pairs[index]);
        at = before[index];
    }
    run.reverse();
    run
}

/// Edits within one hunk, whose removed part begins at `at`.
fn token_edits(at: u32, removed: &str, inserted: &str, fine: bool, edits: &mut Vec<Edit>) {
    if !fine || removed.is_empty() || inserted.is_empty() {
        edits.push(Edit { at, delete: units(removed), insert: inserted.to_owned() });
        return;
    }
    let (old, new) = (tokens(removed), tokens(inserted));
    let (head, tail) = common_ends(&old, &new);
    let (o, n) = (head..old.len() - tail, head..new.len() - tail);
    let start = at + token_units(&old[..head]);
    if o.len() + n.len() > MAX_COMPARED {
        edits.push(Edit { at: start, delete: token_units(&old[o]), insert: text_of(&new[n]) });
        return;
    }
    let (old, new) = (&old[o], &new[n]);
    let (mut position, mut from) = (start, 0);
    for (p, q) in changed_ranges(old, new) {
        position += token_units(&old[from..p.start]);
        let delete = token_units(&old[p.clone()]);
        edits.push(Edit { at: position, delete, insert: text_of(&new[q]) });
        position += delete;
        from = p.end;
    }
}

/// The ranges in which two sequences differ by Myers' algorithm; neighbours are joined.
///
/// Only the lengths of the operations are used: where deletions and insertions were shifted, their
/// recorded positions in the other sequence do not always follow.
fn changed_ranges(old: &[u32], new: &[u32]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut ranges: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let (mut at_old, mut at_new) = (0, 0);
    for op in capture_diff_slices(Algorithm::Myers, old, new) {
        let (gone, came) = match op {
            DiffOp::Equal { len, .. } => {
                (at_old, at_new) = (at_old + len, at_new + len);
                continue;
            }
            DiffOp::Delete { old_len, .. } => (old_len, 0),
            DiffOp::Insert { new_len, .. } => (0, new_len),
            DiffOp::Replace { old_len, new_len, .. } => (old_len, new_len),
        };
        match ranges.last_mut() {
            Some((p, q)) if p.end == at_old && q.end == at_new => (p.end, q.end) = (at_old + gone, at_new + came),
            _ => ranges.push((at_old..at_old + gone, at_new..at_new + came)),
        }
        (at_old, at_new) = (at_old + gone, at_new + came);
    }
    ranges
}

/// Code points, with each CRLF as one.
fn tokens(text: &str) -> Vec<u32> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' && chars.next_if_eq(&'\n').is_some() {
            tokens.push(CRLF);
        } else {
            tokens.push(u32::from(c));
        }
    }
    tokens
}

fn token_units(tokens: &[u32]) -> u32 {
    tokens.iter().map(|token| if *token > 0xffff { 2 } else { 1 }).sum()
}

fn text_of(tokens: &[u32]) -> String {
    let mut text = String::with_capacity(tokens.len());
    for token in tokens {
        match char::from_u32(*token) {
            Some(c) => text.push(c),
            None => text.push_str("\r\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::{Doc, GetString, OffsetKind, Options, Transact, WriteTxn};

    fn applied(old: &str, edits: &[Edit]) -> String {
        let doc = Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..Options::default() });
        let mut txn = doc.transact_mut();
        let text = txn.get_or_insert_text(ROOT);
        text.insert(&mut txn, 0, old);
        apply(&text, &mut txn, edits);
        text.get_string(&txn)
    }

    /// A small generator with a fixed seed: the crate has no source of randomness.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).expect("small")
        }

        fn text(&mut self) -> String {
            const PARTS: [&str; 12] = [
                "a",
                "b",
                " ",
                "\n",
                "\r\n",
                "\r",
                "é",
                "e\u{301}",
                "😀",
                "👩\u{200d}👩\u{200d}👧",
                "def f():\n",
                "x = 1\n",
            ];
            (0..self.below(40)).map(|_| PARTS[self.below(PARTS.len())]).collect()
        }
    }

    #[test]
    fn the_edits_turn_the_old_text_into_the_new_one() {
        let mut rng = Rng(42);
        for round in 0..3_000 {
            let (old, new) = (rng.text(), rng.text());
            let edits = diff(&old, &new);
            assert_eq!(applied(&old, &edits), new, "round {round}: {old:?} -> {new:?} by {edits:?}");
            assert!(edits.windows(2).all(|w| w[0].at + w[0].delete <= w[1].at), "overlap in {edits:?}");
        }
    }

    #[test]
    fn edits_are_as_small_as_the_change() {
        let check = |old: &str, new: &str, expected: &[(u32, u32, &str)]| {
            let edits = diff(old, new);
            let seen: Vec<_> = edits.iter().map(|e| (e.at, e.delete, e.insert.as_str())).collect();
            assert_eq!(seen, expected, "{old:?} -> {new:?}");
        };
        check("", "", &[]);
        check("", "a\n", &[(0, 0, "a\n")]);
        check("a\nb\nc\n", "a\nB\nc\n", &[(2, 1, "B")]);
        check("😀x", "😀y", &[(2, 1, "y")]);
        check("a\r\nb", "a\nb", &[(1, 2, "\n")]);
        check("def f():\n  return 1\n", "def f():\n    return 1\n", &[(11, 0, "  ")]);
        check("one\ntwo\nthree\n", "one\nthree\n", &[(4, 4, "")]);
    }

    #[test]
    fn a_surrogate_pair_is_never_cut() {
        // The two differ in their second surrogate only.
        assert_eq!(diff("😀", "😁"), [Edit { at: 0, delete: 2, insert: "😁".to_owned() }]);
    }

    #[test]
    fn few_changes_in_a_long_text_stay_few() {
        let old: String = (0..20_000).map(|i| format!("line number {i}\n")).collect();
        let new = old.replace("number 7\n", "number seven\n").replace("number 19000\n", "");
        let edits = diff(&old, &new);
        assert!(edits.iter().map(|e| e.insert.len()).sum::<usize>() < 20, "{edits:?}");
    }

    #[test]
    fn texts_without_anything_in_common_cost_little() {
        let old: String = (0..50_000).map(|i| format!("{}\n", i % 7)).collect();
        let new: String = (0..50_000).map(|i| format!("{}\n", 7 + i % 5)).collect();
        assert_eq!(diff(&old, &new).len(), 1);
        let (old, new) = ("a".repeat(500_000), "b".repeat(500_000));
        assert_eq!(diff(&old, &new).len(), 1);
    }

    /// Compared line by line or letter by letter, these would take minutes.
    #[test]
    fn a_long_text_that_becomes_short_costs_little() {
        let (lines, letters) = ("line\n".repeat(220_000), "ab ".repeat(170_000));
        for (old, new) in [(lines.as_str(), "short again\n"), (letters.as_str(), "c\n")] {
            assert_eq!(diff(old, new).len(), 1);
            assert_eq!(applied(old, &diff(old, new)), new);
            assert_eq!(applied(new, &diff(new, old)), old);
        }
    }
}
