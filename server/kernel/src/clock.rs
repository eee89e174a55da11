//! Wall-clock time as it is stored and shown. Pure cores take `now` as an argument instead.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMillis = i64;

/// The present time; 0 if the machine's clock stands before 1970.
pub fn unix_millis() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// The time for what cannot be taken back, such as giving up what is old: the present time, and never later than what passed since this was made says.
/// So a clock that is set ahead while the process runs makes nothing old.
#[derive(Clone, Copy, Debug)]
pub struct CautiousClock {
    began: UnixMillis,
    since: Instant,
}

impl CautiousClock {
    /// Make it when the process starts.
    pub fn start() -> Self {
        Self { began: unix_millis(), since: Instant::now() }
    }

    pub fn now(&self) -> UnixMillis {
        cautious(unix_millis(), self.began, self.since.elapsed())
    }
}

fn cautious(wall: UnixMillis, began: UnixMillis, passed: Duration) -> UnixMillis {
    wall.min(began.saturating_add(millis(passed)))
}

fn millis(duration: Duration) -> UnixMillis {
    UnixMillis::try_from(duration.as_millis()).unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_makes_nothing_old() {
        let after = |seconds, wall| cautious(wall, 1_000_000, Duration::from_secs(seconds));
        assert_eq!(after(5, 1_005_000), 1_005_000, "nobody touched it");
        assert_eq!(after(5, 9_000_000_000), 1_005_000, "set ahead");
        assert_eq!(after(5, 2_000), 2_000, "set back");
        assert_eq!(cautious(UnixMillis::MAX, UnixMillis::MAX, Duration::MAX), UnixMillis::MAX);
    }
}
