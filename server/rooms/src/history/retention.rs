//! How much of the past is kept: everything for some days, and of what is older one version per hour or day. Pure.
//!
//! Old updates are merged, not dropped: the document's state, its text at the versions that are kept, and who wrote what stay
//! as they are. What goes is the text at the moments in between. A named version always ends a merged record, so its text
//! stays.

use std::collections::{HashMap, HashSet};

use buildspaces_crdt::history::Attribution;
use buildspaces_crdt::update::merge;
use buildspaces_crdt::{Malformed, Replica};
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use bytes::Bytes;

use crate::ports::{Entry, LogRecord, Range, Share};

const HOUR: UnixMillis = 3_600_000;
const DAY: UnixMillis = 24 * HOUR;

/// Of how long a time one version is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Grain {
    #[default]
    Hour,
    Day,
}

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Every update of so many days.
    pub keep_days: u32,
    /// And before that one version of each.
    pub then: Grain,
}

/// Bytes of updates that may become one record. An archive has each record whole.
const MAX_GROUP_BYTES: u64 = 8 << 20;

/// Which updates are merged: a log's entries go in, from its beginning, and groups come out.
#[derive(Debug)]
pub struct Plan {
    named: HashSet<u64>,
    until: UnixMillis,
    grain: UnixMillis,
    groups: Vec<(u64, u64)>,
    open: Option<Open>,
    latest: UnixMillis,
}

/// A group that may go on.
#[derive(Debug)]
struct Open {
    window: i64,
    first: u64,
    seq: u64,
    entries: usize,
    bytes: u64,
}

impl Plan {
    /// `named` are the versions with names.
    pub fn new(named: HashSet<u64>, now: UnixMillis, policy: Policy) -> Self {
        let until = now.saturating_sub(DAY * i64::from(policy.keep_days));
        let grain = if policy.then == Grain::Hour { HOUR } else { DAY };
        Self { named, until, grain, groups: Vec::new(), open: None, latest: UnixMillis::MIN }
    }

    /// Takes the next entry. False if it and all after it are too young.
    pub fn push(&mut self, entry: &Entry) -> bool {
        // A clock that was set back does not make an update older than the one before it.
        self.latest = self.latest.max(entry.at);
        if self.latest >= self.until {
            return false;
        }
        let window = self.latest.div_euclid(self.grain);
        match &mut self.open {
            Some(open) if open.window == window && open.bytes + entry.bytes <= MAX_GROUP_BYTES => {
                (open.seq, open.entries, open.bytes) = (entry.seq, open.entries + 1, open.bytes + entry.bytes);
            }
            _ => {
                self.close();
                let Entry { seq, first, bytes, .. } = *entry;
                self.open = Some(Open { window, first, seq, entries: 1, bytes });
            }
        }
        if self.named.contains(&entry.seq) {
            self.close();
        }
        true
    }

    /// The first and last number of each group.
    pub fn end(mut self) -> Vec<(u64, u64)> {
        self.close();
        self.groups
    }

    fn close(&mut self) {
        let open = self.open.take().filter(|open| open.entries > 1);
        self.groups.extend(open.map(|Open { first, seq, .. }| (first, seq)));
    }
}

/// Why records were not merged. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("an update of the log could not be applied")]
    Unreadable,
    /// The library that merges made something else of it.
    #[error("the merged updates lead to another state")]
    Differs,
}

/// Merges groups of a log's records. Feed it the whole log in order; it keeps one group in memory.
#[derive(Debug, Default)]
pub struct Merger {
    attribution: Attribution<PrincipalId>,
    /// The log as it is, and as it will be.
    truth: Replica,
    merged: Replica,
    group: Vec<LogRecord>,
    shares: Vec<Share>,
}

impl Merger {
    /// The next record of the log. If it is the last of a group, the record that stands for the group; to be stored.
    pub fn push(&mut self, record: LogRecord, groups: &[(u64, u64)]) -> Result<Option<LogRecord>, Error> {
        let at = groups.partition_point(|(_, seq)| *seq < record.seq);
        let group = groups.get(at).filter(|(first, _)| *first <= record.first);
        self.learn(&record, group.is_some())?;
        apply(&mut self.truth, &record.update)?;
        let Some((first, seq)) = group.copied() else {
            apply(&mut self.merged, &record.update)?;
            return Ok(None);
        };
        let (by, when, ends) = (record.by.clone(), record.at, record.seq == seq);
        self.group.push(record);
        if !ends {
            return Ok(None);
        }
        let updates: Vec<Bytes> = std::mem::take(&mut self.group).into_iter().map(|record| record.update).collect();
        let update = Bytes::from(merge(&updates)?);
        apply(&mut self.merged, &update)?;
        if !self.truth.is_same(&self.merged) {
            return Err(Error::Differs);
        }
        Ok(Some(LogRecord { seq, first, by, at: when, update, shares: std::mem::take(&mut self.shares) }))
    }

    fn learn(&mut self, record: &LogRecord, in_group: bool) -> Result<(), Error> {
        if record.shares.is_empty() {
            let (inserted, deleted) = self.attribution.learn(&record.update, &record.by)?;
            if in_group {
                let inserted = inserted.into_iter().map(Range::from).collect();
                let deleted = deleted.into_iter().map(Range::from).collect();
                self.share(Share { by: record.by.clone(), at: record.at, seq: record.seq, inserted, deleted });
            }
            return Ok(());
        }
        for share in &record.shares {
            for range in &share.inserted {
                self.attribution.learn_inserted((*range).into(), &share.by, &mut Vec::new());
            }
            for range in &share.deleted {
                self.attribution.learn_deleted((*range).into(), &share.by, &mut Vec::new());
            }
            if in_group {
                self.share(share.clone());
            }
        }
        Ok(())
    }

    /// Adds to what its author did in this group.
    fn share(&mut self, share: Share) {
        let Some(known) = self.shares.iter_mut().find(|known| known.by == share.by) else {
            self.shares.push(share);
            return;
        };
        (known.at, known.seq) = (share.at, share.seq);
        extend(&mut known.inserted, share.inserted);
        extend(&mut known.deleted, share.deleted);
    }
}

/// Appends ranges; one that continues another of its client becomes part of it.
fn extend(ranges: &mut Vec<Range>, more: Vec<Range>) {
    let mut ends: HashMap<(u64, u64), usize> =
        ranges.iter().enumerate().map(|(at, range)| ((range.0, range.1 + range.2), at)).collect();
    for Range(client, clock, len) in more {
        match ends.remove(&(client, clock)) {
            Some(at) => {
                ranges[at].2 += len;
                ends.insert((client, clock + len), at);
            }
            None => {
                ends.insert((client, clock + len), ranges.len());
                ranges.push(Range(client, clock, len));
            }
        }
    }
}

fn apply(replica: &mut Replica, update: &[u8]) -> Result<(), Error> {
    use buildspaces_crdt::replica::Applied;
    match replica.apply(update) {
        Ok(Applied::Changed | Applied::Nothing) => Ok(()),
        Ok(Applied::Missing) | Err(_) => Err(Error::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_updates_are_merged_up_to_each_version_that_is_kept() {
        let by = PrincipalId::parse("ada").expect("valid");
        let check = |hours: &[i64], named: &[u64], now_days: i64, then: Grain, expected: &[(u64, u64)]| {
            let entries: Vec<Entry> = hours
                .iter()
                .zip(1..)
                .map(|(hour, seq)| Entry { seq, first: seq, by: by.clone(), at: hour * HOUR + 1, bytes: 1 })
                .collect();
            let named = named.iter().copied().collect();
            let mut plan = Plan::new(named, now_days * DAY, Policy { keep_days: 7, then });
            entries.iter().all(|entry| plan.push(entry));
            assert_eq!(plan.end(), expected, "{hours:?}");
        };
        check(&[], &[], 100, Grain::Hour, &[]);
        check(&[0, 0, 0, 1, 1, 5], &[], 100, Grain::Hour, &[(1, 3), (4, 5)]);
        check(&[0, 0, 0, 1, 1, 5], &[], 100, Grain::Day, &[(1, 6)]);
        check(&[0, 0, 0, 1, 1, 5], &[2, 4], 100, Grain::Day, &[(1, 2), (3, 4), (5, 6)]);
        check(&[0, 0, 23, 24, 24], &[], 8, Grain::Day, &[(1, 3)]);
        check(&[0, 0], &[], 7, Grain::Hour, &[]);
        // A clock that was set back for two updates.
        check(&[10, 2, 2, 10, 11], &[], 100, Grain::Hour, &[(1, 4)]);
    }

    #[test]
    fn what_is_merged_is_no_larger_than_an_archive_takes() {
        let by = PrincipalId::parse("ada").expect("valid");
        let mut plan = Plan::new(HashSet::new(), 100 * DAY, Policy { keep_days: 7, then: Grain::Day });
        for (bytes, seq) in [4 << 20, 4 << 20, 1, 2, 100 << 20, 3, 4].into_iter().zip(1..) {
            assert!(plan.push(&Entry { seq, first: seq, by: by.clone(), at: 1, bytes }));
        }
        assert_eq!(plan.end(), [(1, 2), (3, 4), (6, 7)]);
    }
}
