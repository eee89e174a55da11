//! Who speaks, from the levels that packets carry (RFC 6464). Pure.
//!
//! [`Loudness`] sums up one track so that not every packet is news; [`Speakers`] says of all tracks who is heard now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often one track's level is told.
pub const EVERY: Duration = Duration::from_millis(100);

/// Levels are `-dBov`: 0 is the loudest, 127 silence. Whoever is louder than this begins to speak.
const BEGINS: u8 = 45;

/// How long somebody speaks on after the last time they were loud: people breathe.
const HOLDS: Duration = Duration::from_millis(900);

/// The loudest of one track since it was last told.
#[derive(Debug, Default)]
pub struct Loudness {
    loudest: Option<u8>,
    told: Option<Instant>,
}

impl Loudness {
    /// A packet's level; now and then what is to be told of the track.
    pub fn heard(&mut self, now: Instant, level: u8) -> Option<u8> {
        self.loudest = Some(self.loudest.map_or(level, |loudest| loudest.min(level)));
        if self.told.is_some_and(|told| now < told + EVERY) {
            return None;
        }
        self.told = Some(now);
        self.loudest.take()
    }
}

/// Who is heard.
#[derive(Debug)]
pub struct Speakers<K> {
    loud: BTreeMap<K, Instant>,
}

impl<K> Default for Speakers<K> {
    fn default() -> Self {
        Self { loud: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Speakers<K> {
    /// True if somebody begins to speak by this.
    pub fn heard(&mut self, now: Instant, who: &K, level: u8) -> bool {
        level <= BEGINS && self.loud.insert(who.clone(), now).is_none()
    }

    /// Forgets somebody who left or was muted. True if they spoke.
    pub fn silence(&mut self, who: &K) -> bool {
        self.loud.remove(who).is_some()
    }

    /// True if somebody has fallen silent.
    pub fn elapsed(&mut self, now: Instant) -> bool {
        let before = self.loud.len();
        self.loud.retain(|_, at| now < *at + HOLDS);
        self.loud.len() != before
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.loud.values().min().map(|at| *at + HOLDS)
    }

    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.loud.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_loud_speaks_until_they_have_been_quiet_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut speakers = Speakers::default();
        assert!(!speakers.heard(at(0), &"ada", 90));
        assert!(speakers.heard(at(0), &"ada", 20));
        assert!(!speakers.heard(at(500), &"ada", 20));
        assert!(!speakers.elapsed(at(1000)), "a pause for breath");
        assert_eq!(speakers.iter().collect::<Vec<_>>(), [&"ada"]);
        assert!(speakers.elapsed(at(1400)));
        assert_eq!(speakers.iter().count(), 0);
        assert!(speakers.heard(at(1500), &"ada", 20) && speakers.silence(&"ada"));
        assert_eq!(speakers.deadline(), None);
    }

    #[test]
    fn a_track_tells_its_loudest_ten_times_a_second() {
        let start = Instant::now();
        let mut loudness = Loudness::default();
        let told: Vec<u8> = (0..50_u64)
            .filter_map(|n| loudness.heard(start + Duration::from_millis(20 * n), if n == 7 { 10 } else { 127 }))
            .collect();
        assert_eq!(told.len(), 10);
        assert_eq!(told.iter().filter(|level| **level == 10).count(), 1);
    }
}
