//! Which element stands at which index of a text: what lets an edit be made without going through the text.
//!
//! yrs finds an index by walking from the first block, deleted ones included, which in a long-lived text are tens of thousands. With the
//! ids of its neighbours an insertion can be written as an update, and those yrs finds by search. So this keeps, of one text, the runs of
//! elements that are visible, in chunks whose lengths are known. It knows what was edited through it and nothing else: whoever changes the
//! text in another way throws it away. Indices count UTF-16 units, which are elements too.
//!
//! **Invariant:** an insertion is made between elements that stand beside each other in the list, deleted ones included. Anything else would
//! have elements pass for concurrent that were known, of which replicas then disagree. Where it is not known what stands before a run, there
//! is no insertion.

use buildspaces_crdt::history::{self, Span};
use buildspaces_crdt::update::write::Element;

/// Runs in a chunk before it is cut in two.
const CHUNK: usize = 64;

/// Where the visible elements of one text are.
#[derive(Debug)]
pub(super) struct Places {
    /// None is empty.
    chunks: Vec<Chunk>,
    /// What the list ends with.
    end: Before,
}

#[derive(Debug, Default)]
struct Chunk {
    len: u32,
    runs: Vec<Run>,
}

/// Elements of one client that were written one behind the other, and between which there is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: Element,
    len: u32,
    /// The two halves of one character, which are a run of their own.
    is_pair: bool,
    before: Before,
}

/// What stands immediately before something in the list, deleted or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Unknown,
    Nothing,
    This(Element),
}

/// The elements before and behind an insertion.
pub(super) type Neighbours = (Option<Element>, Option<Element>);

/// Behind `offset` elements (at least one) of a run; `None` is the start of the text.
type Cursor = Option<(usize, usize, u32)>;

impl Places {
    /// Of the pieces of a text. `is_dense`: nothing in the list is deleted, so there is nothing between them.
    pub(super) fn new(pieces: &[history::Run], is_dense: bool) -> Self {
        let mut runs = Vec::new();
        let mut end = if is_dense { Before::Nothing } else { Before::Unknown };
        for piece in pieces {
            let first = Element { client: piece.client, clock: piece.clock as u32 };
            let last = cut(&piece.text, first, end, |run| push(&mut runs, run));
            end = if is_dense { Before::This(last) } else { Before::Unknown };
        }
        let chunk = |runs: &[Run]| Chunk { len: runs.iter().map(|run| run.len).sum(), runs: runs.to_vec() };
        Self { chunks: runs.chunks(CHUNK / 2).map(chunk).collect(), end }
    }

    pub(super) fn len(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.len).sum()
    }

    /// Notes that `text` is inserted at `index`, its first element being `first`. Returns between what. `None`, and nothing is noted, if
    /// that is not known, there is no such index, or it lies within a pair.
    pub(super) fn insert(&mut self, index: u32, first: Element, text: &str) -> Option<Neighbours> {
        let at = self.find(index)?;
        let left = match self.before(at) {
            Before::Unknown => return None,
            Before::Nothing => None,
            Before::This(left) => Some(left),
        };
        let neighbours = (left, self.behind(at));
        self.place(at, first, left, text);
        Some(neighbours)
    }

    /// Notes that `text` was inserted at `index` in another way, and between what. False, and nothing is noted, if that cannot be.
    pub(super) fn learn(&mut self, index: u32, first: Element, (left, right): Neighbours, text: &str) -> bool {
        match self.find(index) {
            Some(at) if self.behind(at) == right => {
                self.place(at, first, left, text);
                true
            }
            _ => false,
        }
    }

    fn place(&mut self, at: Cursor, first: Element, left: Option<Element>, text: &str) {
        let mut new = Vec::with_capacity(1);
        let last = cut(text, first, left.map_or(Before::Nothing, Before::This), |run| push(&mut new, run));
        let (chunk, run) = match at {
            Some((chunk, run, offset)) => {
                self.chunks[chunk].split(run, offset);
                (chunk, run + 1)
            }
            None => {
                if self.chunks.is_empty() {
                    self.chunks.push(Chunk::default());
                }
                (0, 0)
            }
        };
        *self.before_mut(chunk, run) = Before::This(last);
        let into = &mut self.chunks[chunk];
        into.len += new.iter().map(|run| run.len).sum::<u32>();
        let goes_on = run > 0 && new.first().is_some_and(|new| into.runs[run - 1].take(new));
        for (at, new) in new.into_iter().skip(usize::from(goes_on)).enumerate() {
            into.runs.insert(run + at, new);
        }
        self.divide(chunk);
    }

    /// Notes that `len` elements from `index` on are deleted, and returns which. `None`, and nothing is noted, if there are not as many or
    /// one of the ends lies within a pair. They stay in the list, so what stands before what is as it was.
    pub(super) fn remove(&mut self, index: u32, len: u32) -> Option<Vec<Span>> {
        self.find(index.checked_add(len)?)?;
        let (mut chunk, mut run) = match self.find(index)? {
            Some((chunk, run, offset)) => {
                self.chunks[chunk].split(run, offset);
                (chunk, run + 1)
            }
            None => (0, 0),
        };
        let mut gone = Vec::new();
        let mut left = len;
        while left > 0 {
            let from = &mut self.chunks[chunk];
            if run == from.runs.len() {
                (chunk, run) = (chunk + 1, 0);
                continue;
            }
            from.split(run, left);
            let removed = from.runs.remove(run);
            from.len -= removed.len;
            left -= removed.len;
            gone.push(Span {
                client: removed.first.client,
                clock: removed.first.clock.into(),
                len: removed.len.into(),
            });
            if from.runs.is_empty() {
                self.chunks.remove(chunk);
                run = 0;
            }
        }
        Some(gone)
    }

    fn find(&self, index: u32) -> Option<Cursor> {
        if index == 0 {
            return Some(None);
        }
        let mut left = index;
        for (at, chunk) in self.chunks.iter().enumerate() {
            if left > chunk.len {
                left -= chunk.len;
                continue;
            }
            for (run, of) in chunk.runs.iter().enumerate() {
                if left > of.len {
                    left -= of.len;
                    continue;
                }
                return (!of.is_pair || left == of.len).then_some(Some((at, run, left)));
            }
        }
        None
    }

    /// What stands immediately before the visible element that is next, or before the end: where an insertion goes.
    fn before(&self, at: Cursor) -> Before {
        let (chunk, run) = match at {
            None => (0, 0),
            Some((chunk, run, offset)) => {
                let of = &self.chunks[chunk].runs[run];
                if offset < of.len {
                    return Before::This(of.element(offset - 1));
                }
                (chunk, run + 1)
            }
        };
        self.run(chunk, run).map_or(self.end, |next| next.before)
    }

    /// The visible element that is next.
    fn behind(&self, at: Cursor) -> Option<Element> {
        match at {
            None => Some(self.run(0, 0)?.first),
            Some((chunk, run, offset)) => {
                let of = &self.chunks[chunk].runs[run];
                if offset < of.len { Some(of.element(offset)) } else { Some(self.run(chunk, run + 1)?.first) }
            }
        }
    }

    /// A run, which may be the first of the next chunk.
    fn run(&self, chunk: usize, run: usize) -> Option<&Run> {
        self.chunks.get(chunk)?.runs.get(run).or_else(|| self.chunks.get(chunk + 1)?.runs.first())
    }

    fn before_mut(&mut self, chunk: usize, run: usize) -> &mut Before {
        let (chunk, run) = if run < self.chunks[chunk].runs.len() { (chunk, run) } else { (chunk + 1, 0) };
        match self.chunks.get_mut(chunk) {
            Some(chunk) => &mut chunk.runs[run].before,
            None => &mut self.end,
        }
    }

    /// Cuts a chunk in two if it became too long.
    fn divide(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        if chunk.runs.len() <= CHUNK {
            return;
        }
        let runs = chunk.runs.split_off(chunk.runs.len() / 2);
        let len = runs.iter().map(|run| run.len).sum();
        chunk.len -= len;
        self.chunks.insert(at + 1, Chunk { len, runs });
    }
}

impl Chunk {
    /// Makes two of a run, unless one of them would be nothing.
    fn split(&mut self, run: usize, offset: u32) {
        let of = self.runs[run];
        if offset < of.len {
            let before = Before::This(of.element(offset - 1));
            self.runs[run].len = offset;
            self.runs.insert(run + 1, Run { first: of.element(offset), len: of.len - offset, before, ..of });
        }
    }
}

impl Run {
    fn element(&self, offset: u32) -> Element {
        Element { client: self.first.client, clock: self.first.clock + offset }
    }

    /// True if `next` goes on where this run ends; then it is one with it.
    fn take(&mut self, next: &Self) -> bool {
        let goes_on = !self.is_pair
            && !next.is_pair
            && self.element(self.len) == next.first
            && next.before == Before::This(self.element(self.len - 1));
        if goes_on {
            self.len += next.len;
        }
        goes_on
    }
}

fn push(runs: &mut Vec<Run>, run: Run) {
    if !runs.last_mut().is_some_and(|last| last.take(&run)) {
        runs.push(run);
    }
}

/// Cuts elements that are written one behind the other where there are pairs. Returns the last element.
fn cut(text: &str, first: Element, before: Before, mut each: impl FnMut(Run)) -> Element {
    let (mut next, mut before) = (first, before);
    let mut run = |len: usize, is_pair| {
        if len > 0 {
            let run = Run { first: next, len: len as u32, is_pair, before };
            before = Before::This(run.element(run.len - 1));
            next.clock += run.len;
            each(run);
        }
    };
    if text.is_ascii() {
        run(text.len(), false);
    } else {
        let mut single = 0;
        for character in text.chars() {
            match character.len_utf16() {
                1 => single += 1,
                pair => {
                    run(std::mem::take(&mut single), false);
                    run(pair, true);
                }
            }
        }
        run(single, false);
    }
    Element { clock: next.clock.saturating_sub(1), ..next }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn of(clock: u32) -> Element {
        Element { client: 7, clock }
    }

    fn span(clock: u64, len: u64) -> Span {
        Span { client: 7, clock, len }
    }

    fn empty() -> Places {
        Places::new(&[], true)
    }

    #[test]
    fn neighbours_are_those_in_the_list() {
        let mut places = empty();
        assert_eq!(places.insert(0, of(0), "abc"), Some((None, None)));
        assert_eq!(places.insert(1, of(3), "x"), Some((Some(of(0)), Some(of(1)))));
        assert_eq!(places.insert(0, of(4), "y"), Some((None, Some(of(0)))));
        assert_eq!(places.insert(5, of(5), "z"), Some((Some(of(2)), None)));
        assert_eq!(places.insert(7, of(6), "!"), None);
        assert_eq!(places.len(), 6);
        // y a x b c z: of these a, x and b go.
        assert_eq!(places.remove(1, 3), Some(vec![span(0, 1), span(3, 1), span(1, 1)]));
        assert_eq!(places.remove(2, 2), None);
        assert_eq!(places.insert(1, of(6), "w"), Some((Some(of(1)), Some(of(2)))), "behind what is deleted");
        assert_eq!(places.remove(0, 4), Some(vec![span(4, 1), span(6, 1), span(2, 1), span(5, 1)]));
        assert_eq!((places.len(), places.chunks.len()), (0, 0));
        assert_eq!(places.insert(0, of(7), "v"), Some((Some(of(5)), None)), "at the end of all that is deleted");
    }

    #[test]
    fn no_index_is_within_a_pair() {
        let mut places = empty();
        places.insert(0, of(0), "a😀b😀");
        assert_eq!(places.insert(2, of(6), "x"), None);
        assert_eq!(places.remove(1, 1), None);
        assert_eq!(places.remove(2, 1), None);
        assert_eq!(places.remove(1, 2), Some(vec![span(1, 2)]));
        assert_eq!(places.insert(1, of(6), "x"), Some((Some(of(2)), Some(of(3)))));
        assert_eq!(places.len(), 5);
    }

    #[test]
    fn between_pieces_nothing_is_known_before_it_was_learnt() {
        let piece = |clock, text: &str| history::Run { client: 7, clock, text: text.to_owned() };
        let mut places = Places::new(&[piece(0, "ab"), piece(5, "cd")], false);
        assert_eq!(places.insert(0, of(9), "x"), None);
        assert_eq!(places.insert(2, of(9), "x"), None);
        assert_eq!(places.insert(4, of(9), "x"), None);
        assert_eq!(places.insert(1, of(9), "x"), Some((Some(of(0)), Some(of(1)))), "within one it is");
        assert!(!places.learn(3, of(10), (Some(of(1)), None), "y"), "that is not what stands there");
        assert!(places.learn(3, of(10), (Some(of(4)), Some(of(5))), "y"));
        assert_eq!(places.insert(3, of(11), "z"), Some((Some(of(4)), Some(of(10)))));
        assert_eq!(places.insert(5, of(12), "w"), Some((Some(of(10)), Some(of(5)))));
    }

    #[test]
    fn what_goes_on_is_one_run_and_chunks_stay_short() {
        let mut places = empty();
        for clock in 0..1_000 {
            places.insert(clock, of(clock), "a");
        }
        assert_eq!(places.chunks[0].runs.len(), 1);
        for clock in 1_000..2_000 {
            // Always at the start, so that nothing goes on.
            places.insert(0, of(clock), "a");
        }
        assert!(places.chunks.len() > 2_000 / CHUNK / 2 && places.chunks.iter().all(|chunk| chunk.runs.len() <= CHUNK));
        assert_eq!(places.len(), 2_000);
        assert_eq!(places.remove(0, 1_000).map(|gone| gone.len()), Some(1_000));
        assert_eq!(places.remove(0, 1_000), Some(vec![span(0, 1_000)]));
    }
}
