//! How long to wait before the next attempt to connect: twice as long each time up to a bound, and by chance up to half less, so that a
//! thousand clients of a server that was away do not come back in one moment.

/// The pauses between attempts.
#[derive(Debug)]
pub struct Backoff {
    first_ms: u64,
    longest_ms: u64,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `seed` is anything that differs between clients.
    pub fn new(first_ms: u64, longest_ms: u64, seed: u64) -> Self {
        // The generator below stays at zero for ever if it starts there.
        Self { first_ms, longest_ms: longest_ms.max(first_ms), failures: 0, random: seed | 1 }
    }

    /// An attempt failed: how many milliseconds to wait before the next.
    pub fn failed(&mut self) -> u64 {
        let whole = self.first_ms.saturating_mul(1 << self.failures.min(30)).min(self.longest_ms);
        self.failures += 1;
        let half = whole / 2;
        whole - self.below(half + 1)
    }

    /// An attempt led to something: the next pause is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// xorshift: needs no source of randomness beyond its seed.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let mut backoff = Backoff::new(100, 5_000, 7);
        let pauses: Vec<u64> = (0..20).map(|_| backoff.failed()).collect();
        for (attempt, pause) in pauses.iter().enumerate() {
            let whole = (100u64 << attempt.min(20)).min(5_000);
            assert!((whole / 2..=whole).contains(pause), "attempt {attempt}: {pause}");
        }
        let late: std::collections::HashSet<_> = pauses[10..].iter().collect();
        assert!(late.len() > 5, "{pauses:?}");
        backoff.succeeded();
        assert!(backoff.failed() <= 100);
    }
}
