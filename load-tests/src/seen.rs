//! What one receiver has of one writer: how far it got, and which keystrokes before that point are missing.

/// Clocks that arrived, from 0 on.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Every clock below this one arrived, except for the holes.
    end: u32,
    holes: Vec<(u32, u32)>,
}

impl Seen {
    /// Somebody who joins late and has everything below `end` already.
    pub fn from(end: u32) -> Self {
        Self { end, holes: Vec::new() }
    }

    /// Takes note of a range, and calls `new` for each part of it that was not there before.
    pub fn arrived(&mut self, start: u32, end: u32, mut new: impl FnMut(u32, u32)) {
        if !self.holes.is_empty() && start < self.end {
            self.fill(start, end, &mut new);
        }
        if end <= self.end {
            return;
        }
        if start > self.end {
            self.holes.push((self.end, start));
        }
        new(start.max(self.end), end);
        self.end = end;
    }

    fn fill(&mut self, start: u32, end: u32, new: &mut impl FnMut(u32, u32)) {
        let mut left = Vec::with_capacity(self.holes.len() + 1);
        for (from, to) in self.holes.drain(..) {
            let (filled_from, filled_to) = (from.max(start), to.min(end));
            if filled_from >= filled_to {
                left.push((from, to));
                continue;
            }
            new(filled_from, filled_to);
            if from < filled_from {
                left.push((from, filled_from));
            }
            if filled_to < to {
                left.push((filled_to, to));
            }
        }
        self.holes = left;
    }

    /// Clocks that arrived, counted.
    pub fn count(&self) -> u64 {
        u64::from(self.end) - self.holes.iter().map(|(from, to)| u64::from(to - from)).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(ranges: &[(u32, u32)]) -> (Vec<(u32, u32)>, u64) {
        let mut seen = Seen::default();
        let mut new = Vec::new();
        for (start, end) in ranges {
            seen.arrived(*start, *end, |from, to| new.push((from, to)));
        }
        (new, seen.count())
    }

    #[test]
    fn each_clock_counts_once_however_often_it_comes() {
        assert_eq!(play(&[(0, 1), (1, 2), (0, 2), (0, 5)]), (vec![(0, 1), (1, 2), (2, 5)], 5));
    }

    #[test]
    fn what_comes_late_fills_its_hole() {
        assert_eq!(play(&[(0, 1), (4, 6)]), (vec![(0, 1), (4, 6)], 3));
        assert_eq!(play(&[(0, 1), (4, 6), (2, 3), (0, 8)]), (vec![(0, 1), (4, 6), (2, 3), (1, 2), (3, 4), (6, 8)], 8));
    }
}
