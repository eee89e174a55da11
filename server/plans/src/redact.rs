//! Takes known values out of what programs print, while it streams.
//!
//! A value is known in several spellings ([`forms`]): as it is, in base64, percent-encoded, in hexadecimal, within JSON, HTML or what Python shows. Whatever is part of any
//! occurrence of any spelling is *covered*, and what is covered is shown as [`MASK`], however occurrences overlap. White space within an
//! occurrence does not matter, because tools break long lines: up to [`MAX_BLANKS`] blanks in a row are passed over.
//!
//! **Invariant:** what comes out does not depend on how what goes in was cut into pieces, and nothing covered ever comes out.
//!
//! A byte is held back only while it may still turn out to be the beginning of an occurrence; at most [`Known::span`] bytes are. Pure:
//! bytes in, bytes out. What this cannot see: a value that a program wrote in another way (reversed, encrypted, in pieces).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use automaton::{Automaton, ROOT};

mod automaton;
pub mod forms;

/// Stands for what is covered.
pub const MASK: &[u8] = b"***";

/// White space in a row that is passed over within an occurrence. More ends it.
pub const MAX_BLANKS: usize = 32;

/// Where a stream is after a gap at most. What follows it fits many times over.
const MAX_POSITION: u64 = u64::MAX >> 1;

/// Values that are looked for. Clones share them.
#[derive(Clone)]
pub struct Known(Arc<Automaton>);

impl fmt::Debug for Known {
    /// It holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl Default for Known {
    fn default() -> Self {
        Self::new([])
    }
}

impl Known {
    /// Spellings of fewer than [`forms::MIN_BYTES`] bytes are left out: they would cover what has nothing to do with a value.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns: Vec<Vec<u8>> = values.into_iter().flat_map(forms::of).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self(Arc::new(Automaton::new(&patterns)))
    }

    /// Most bytes from the first of an occurrence to its last.
    pub fn span(&self) -> u64 {
        (self.0.longest() * (MAX_BLANKS + 1)) as u64
    }

    /// A text as it may be shown.
    pub fn redact(&self, text: &str) -> String {
        let (mut redactor, mut shown) = (Redactor::new(self), Vec::new());
        redactor.push(text.as_bytes(), &mut shown);
        redactor.finish(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// How what is covered is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// As one [`MASK`], whatever its length.
    Short,
    /// Byte by byte, so that nothing moves.
    SameLength,
}

/// One stream on its way. Positions count the bytes that went in.
#[derive(Debug)]
pub struct Redactor {
    known: Known,
    style: Style,
    state: u32,
    /// Where the symbols begin that lead to `state`: as many as it is deep.
    symbols: VecDeque<u64>,
    blanks: usize,
    /// What is not settled yet, from position `base` on.
    held: Vec<u8>,
    base: u64,
    /// What is covered and not out yet: disjoint, in order.
    covered: VecDeque<(u64, u64)>,
    /// The byte before `base` was covered, so its mask stands there already.
    in_mask: bool,
    /// What is before this was shown by an earlier process.
    shown: u64,
}

impl Redactor {
    pub fn new(known: &Known) -> Self {
        Self::resumed(known, 0, 0)
    }

    /// One that leaves every byte where it is, for what has a length somewhere else.
    pub fn in_place(known: &Known) -> Self {
        Self { style: Style::SameLength, ..Self::new(known) }
    }

    /// One whose stream begins at position `from`, and that shows nothing before `shown`. If these are at least [`Known::span`] apart, or `from`
    /// is 0, what comes out is what would have come out of the whole stream.
    pub fn resumed(known: &Known, from: u64, shown: u64) -> Self {
        Self {
            known: known.clone(),
            style: Style::Short,
            state: ROOT,
            symbols: VecDeque::new(),
            blanks: 0,
            held: Vec::new(),
            base: from,
            covered: VecDeque::new(),
            in_mask: false,
            shown,
        }
    }

    /// The position up to which everything is out.
    pub fn settled(&self) -> u64 {
        self.base
    }

    /// The stream goes on with `bytes`; what can be shown is added to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let from = self.base + self.held.len() as u64;
        self.held.extend_from_slice(bytes);
        for (position, byte) in (from..).zip(bytes) {
            self.see(position, *byte);
        }
        let safe = self.symbols.front().copied().unwrap_or(from + bytes.len() as u64);
        self.release(safe, out);
    }

    /// So many bytes of the stream are missing here. What may have been the beginning of an occurrence before them, or the end of one behind,
    /// counts as covered. Returns how many of them nobody was shown before.
    pub fn gap(&mut self, bytes: u64, out: &mut Vec<u8>) -> u64 {
        self.cut(out);
        let end = self.base;
        // The number is the sandbox's word: positions must not overflow, whatever comes behind.
        self.base = end.saturating_add(bytes).min(MAX_POSITION.max(end));
        self.in_mask = false;
        if self.known.span() > 0 {
            self.cover(self.base, self.base.saturating_add(self.known.span()));
        }
        self.base.saturating_sub(end.max(self.shown))
    }

    /// The stream was broken off: what may have been the beginning of an occurrence counts as covered.
    pub fn cut(&mut self, out: &mut Vec<u8>) {
        let end = self.base + self.held.len() as u64;
        if let Some(begin) = self.symbols.front().copied() {
            self.cover(begin, end);
        }
        self.restart();
        self.release(end, out);
    }

    /// The stream has ended by itself.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.restart();
        self.release(self.base + self.held.len() as u64, out);
    }

    fn restart(&mut self) {
        self.state = ROOT;
        self.symbols.clear();
        self.blanks = 0;
    }

    fn see(&mut self, position: u64, byte: u8) {
        if byte.is_ascii_whitespace() {
            self.blanks += 1;
            if self.blanks > MAX_BLANKS {
                self.state = ROOT;
                self.symbols.clear();
            }
            return;
        }
        self.blanks = 0;
        let automaton = &self.known.0;
        self.state = automaton.next(self.state, byte);
        let (depth, longest) = (automaton.depth(self.state), automaton.longest_at(self.state));
        self.symbols.push_back(position);
        self.symbols.drain(..self.symbols.len() - depth);
        if longest > 0 {
            let begin = self.symbols[depth - longest];
            self.cover(begin, position + 1);
        }
    }

    fn cover(&mut self, mut begin: u64, mut end: u64) {
        while let Some((earlier, until)) = self.covered.back().copied()
            && until >= begin
        {
            (begin, end) = (begin.min(earlier), end.max(until));
            self.covered.pop_back();
        }
        self.covered.push_back((begin, end));
    }

    /// Lets out what is before position `to`.
    fn release(&mut self, to: u64, out: &mut Vec<u8>) {
        let mut at = self.base;
        while at < to {
            let (begin, end) = self.covered.front().copied().unwrap_or((to, to));
            if end <= at {
                self.covered.pop_front();
            } else if begin > at {
                let next = begin.min(to);
                self.show(at, next, out);
                at = next;
            } else {
                let next = end.min(to);
                self.mask(at, next, out);
                at = next;
            }
        }
        let released = usize::try_from(to - self.base).expect("what is held is in memory");
        self.held.drain(..released);
        self.base = to;
        while self.covered.front().is_some_and(|(_, end)| *end <= to) {
            self.covered.pop_front();
        }
    }

    fn show(&mut self, from: u64, to: u64, out: &mut Vec<u8>) {
        let index = |position: u64| usize::try_from(position - self.base).expect("what is held is in memory");
        let from = from.max(self.shown).min(to);
        out.extend_from_slice(&self.held[index(from)..index(to)]);
        self.in_mask = false;
    }

    fn mask(&mut self, from: u64, to: u64, out: &mut Vec<u8>) {
        if to > self.shown {
            match self.style {
                Style::Short if self.in_mask => {}
                Style::Short => out.extend_from_slice(MASK),
                Style::SameLength => {
                    let bytes = usize::try_from(to - from.max(self.shown)).expect("what is held is in memory");
                    out.resize(out.len() + bytes, MASK[0]);
                }
            }
        }
        self.in_mask = true;
    }
}

#[cfg(test)]
mod tests;
