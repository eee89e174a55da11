//! The past of documents in memory.

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Principal;
use bytes::Bytes;

use super::{Inner, MemoryStore};
use crate::ports::{About, Deletion, Entry, HistoryStore, LogRecord, MAX_SEQ, NamedVersion, Record, Share, StoreError};

/// Records of one answer: small, so that tests see more than one.
const PAGE: usize = 64;

/// What is kept of a document besides its log and snapshot.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Epochs that ended.
    ended: u64,
    begins: u64,
    deleted: Option<Deletion>,
    versions: Vec<(NamedVersion, Option<Bytes>)>,
    /// By a merged record's number: the first number in it, and whose part is what.
    merged: std::collections::HashMap<u64, (u64, Vec<Share>)>,
}

#[cfg(test)]
impl Past {
    pub(super) fn bytes_of_states(&self) -> usize {
        self.versions.iter().filter_map(|(_, state)| state.as_ref()).map(Bytes::len).sum()
    }
}

impl Inner {
    fn about(&self, document: &DocumentName) -> Option<About> {
        let log = self.logs.get(document)?;
        let past = self.pasts.get(document);
        let begins = past.map_or(0, |past| past.begins);
        let last = log.last().filter(|record| record.seq > begins);
        Some(About {
            document: document.clone(),
            epoch: 1 + past.map_or(0, |past| past.ended),
            begins,
            seq: last.map_or(begins, |record| record.seq),
            changed_at: last.map(|record| record.at),
            deleted: past.and_then(|past| past.deleted.clone()),
        })
    }

    /// True if the document may not be loaded.
    pub(super) fn is_deleted(&self, document: &DocumentName) -> bool {
        self.pasts.get(document).is_some_and(|past| past.deleted.is_some())
    }

    fn records(&self, document: &DocumentName, after: u64) -> impl Iterator<Item = LogRecord> {
        let past = self.pasts.get(document);
        let after = after.max(past.map_or(0, |past| past.begins));
        let log = self.logs.get(document).map(Vec::as_slice).unwrap_or_default();
        log.iter().filter(move |record| record.seq > after).map(move |record| {
            let (first, shares) =
                past.and_then(|past| past.merged.get(&record.seq)).cloned().unwrap_or((record.seq, Vec::new()));
            let Record { seq, by, at, update } = record.clone();
            LogRecord { seq, first, by, at, update, shares }
        })
    }
}

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn about(&self, document: &DocumentName) -> Result<Option<About>, StoreError> {
        Ok(self.lock().about(document))
    }

    async fn list(&self, prefix: &str, after: &str, plain: bool, limit: usize) -> Result<Vec<About>, StoreError> {
        let inner = self.lock();
        let mut names: Vec<&DocumentName> = inner.logs.keys().collect();
        names.sort();
        let wanted = names
            .into_iter()
            .filter(|name| name.as_str().starts_with(prefix) && name.as_str() > after)
            .filter(|name| !plain || name.kind() == Kind::Plain)
            .filter_map(|name| inner.about(name))
            .filter(|about| about.deleted.is_none());
        Ok(wanted.take(limit).collect())
    }

    async fn records(&self, document: &DocumentName, after: u64) -> Result<Vec<LogRecord>, StoreError> {
        Ok(self.lock().records(document, after).take(PAGE).collect())
    }

    async fn entries(&self, document: &DocumentName, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let entry = |record: LogRecord| {
            let LogRecord { seq, first, by, at, update, .. } = record;
            Entry { seq, first, by, at, bytes: update.len() as u64 }
        };
        Ok(self.lock().records(document, after).take(limit).map(entry).collect())
    }

    async fn state_before(&self, document: &DocumentName, seq: u64) -> Result<Option<(u64, Bytes)>, StoreError> {
        let inner = self.lock();
        let snapshot = inner.snapshots.get(document).cloned();
        let versions = inner.pasts.get(document).map(|past| past.versions.as_slice()).unwrap_or_default();
        let states = versions.iter().filter_map(|(version, state)| Some((version.seq, state.clone()?))).chain(snapshot);
        Ok(states.filter(|(at, _)| *at <= seq).max_by_key(|(at, _)| *at))
    }

    async fn name_version(
        &self,
        document: &DocumentName,
        version: &NamedVersion,
        state: Option<Bytes>,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let begins = inner.pasts.get(document).map_or(0, |past| past.begins);
        let Some(log) = inner.logs.get(document) else { return Ok(false) };
        if version.seq != begins && log.iter().all(|record| record.seq != version.seq) {
            return Ok(false);
        }
        let versions = &mut inner.pasts.entry(document.clone()).or_default().versions;
        let old = versions.extract_if(.., |(old, _)| old.seq == version.seq).next();
        let at = versions.partition_point(|(other, _)| other.seq < version.seq);
        versions.insert(at, (version.clone(), state.or_else(|| old.and_then(|(_, state)| state))));
        Ok(true)
    }

    async fn last_named_state(&self, document: &DocumentName) -> Result<Option<(u64, u64)>, StoreError> {
        let inner = self.lock();
        let versions = inner.pasts.get(document).map(|past| past.versions.as_slice()).unwrap_or_default();
        let kept = |(version, state): &(NamedVersion, Option<Bytes>)| Some((version.seq, state.as_ref()?.len() as u64));
        Ok(versions.iter().rev().find_map(kept))
    }

    async fn named_versions(&self, document: &DocumentName) -> Result<Vec<NamedVersion>, StoreError> {
        let inner = self.lock();
        let versions = inner.pasts.get(document).map(|past| past.versions.as_slice()).unwrap_or_default();
        Ok(versions.iter().map(|(version, _)| version.clone()).collect())
    }

    async fn principals(&self, ids: &[PrincipalId]) -> Result<Vec<Principal>, StoreError> {
        let inner = self.lock();
        Ok(ids.iter().filter_map(|id| inner.people.get(id)).cloned().collect())
    }

    async fn remember(&self, principal: &Principal, _at: UnixMillis) -> Result<(), StoreError> {
        self.lock().people.insert(principal.id.clone(), principal.clone());
        Ok(())
    }

    async fn merge_records(&self, document: &DocumentName, merged: &LogRecord) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let inside: Vec<(u64, u64)> = inner
            .records(document, merged.first.saturating_sub(1))
            .take_while(|record| record.seq <= merged.seq)
            .map(|record| (record.first, record.seq))
            .collect();
        let whole = inside.first().is_some_and(|(first, _)| *first == merged.first)
            && inside.last().is_some_and(|(_, last)| *last == merged.seq);
        let versions = inner.pasts.get(document).map(|past| past.versions.as_slice()).unwrap_or_default();
        let is_inside = |seq: u64| (merged.first..merged.seq).contains(&seq);
        if !whole || versions.iter().any(|(version, _)| is_inside(version.seq)) {
            return Ok(false);
        }
        let log = inner.logs.entry(document.clone()).or_default();
        log.retain(|record| !(merged.first..=merged.seq).contains(&record.seq));
        let at = log.partition_point(|record| record.seq < merged.seq);
        let LogRecord { seq, first, by, at: when, update, shares } = merged.clone();
        log.insert(at, Record { seq, by, at: when, update });
        let past = inner.pasts.entry(document.clone()).or_default();
        past.merged.retain(|seq, _| !(merged.first..=merged.seq).contains(seq));
        past.merged.insert(seq, (first, shares));
        Ok(true)
    }

    async fn append_records(&self, document: &DocumentName, records: Vec<LogRecord>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let mut next = inner.logs.get(document).and_then(|log| log.last()).map_or(0, |record| record.seq) + 1;
        for record in &records {
            if record.first != next || !(record.first..=MAX_SEQ).contains(&record.seq) {
                return Err(StoreError::failed(format!("update {next} was expected, not {}", record.first)));
            }
            next = record.seq + 1;
        }
        for LogRecord { seq, first, by, at, update, shares } in records {
            inner.logs.entry(document.clone()).or_default().push(Record { seq, by, at, update });
            if first != seq {
                inner.pasts.entry(document.clone()).or_default().merged.insert(seq, (first, shares));
            }
        }
        Ok(())
    }

    async fn discard(&self, document: &DocumentName) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.logs.remove(document);
        inner.snapshots.remove(document);
        inner.pasts.remove(document);
        Ok(())
    }

    async fn orphans(&self) -> Result<Vec<DocumentName>, StoreError> {
        let inner = self.lock();
        let is_orphan = |name: &&DocumentName| match name.kind() {
            Kind::File { room, .. } | Kind::Tree { room } => inner.rooms.keys().all(|known| known.as_str() != room),
            Kind::Runs { .. } | Kind::Plain => false,
        };
        let mut orphans: Vec<DocumentName> = inner.logs.keys().filter(is_orphan).cloned().collect();
        orphans.sort();
        Ok(orphans)
    }

    async fn bury(&self, document: &DocumentName, deletion: &Deletion) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        if inner.about(document).is_none_or(|about| about.deleted.is_some()) {
            return Ok(false);
        }
        inner.pasts.entry(document.clone()).or_default().deleted = Some(deletion.clone());
        Ok(true)
    }

    async fn begin_again(&self, document: &DocumentName) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let Some(about) = inner.about(document).filter(|about| about.deleted.is_some()) else { return Ok(false) };
        inner.snapshots.insert(document.clone(), (about.seq, Bytes::from_static(&[0, 0])));
        let past = inner.pasts.entry(document.clone()).or_default();
        past.versions.clear();
        (past.ended, past.begins, past.deleted) = (past.ended + 1, about.seq, None);
        Ok(true)
    }
}
