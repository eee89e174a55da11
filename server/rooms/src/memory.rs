//! A store that forgets everything with the process, one with [faults], and a socket without a network ([`wire`]): for tests, and
//! for nothing else.

#[cfg(any(test, feature = "contract"))]
pub mod faults;
pub mod wire;

mod blobs;
mod history;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, OrganisationId, PrincipalId, RoomId};
use buildspaces_policy::Principal;
use buildspaces_policy::revocation::Revocation;
use bytes::Bytes;

use crate::ports::{KindChange, MAX_SEQ, Record, RoomRecord, Store, StoreError, StoredDocument, TreeChange};
use crate::tree::Node;

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    logs: HashMap<DocumentName, Vec<Record>>,
    snapshots: HashMap<DocumentName, (u64, Bytes)>,
    pasts: HashMap<DocumentName, history::Past>,
    rooms: HashMap<RoomId, (RoomRecord, BTreeMap<NodeId, Node>)>,
    /// Oldest first.
    kinds: HashMap<RoomId, Vec<KindChange>>,
    sessions: HashMap<[u8; 32], PrincipalId>,
    people: HashMap<PrincipalId, Principal>,
    revocations: Vec<Revocation>,
    blobs: blobs::Blobs,
    failing: bool,
    full: bool,
}

impl MemoryStore {
    /// From now on every append fails, or works again.
    pub fn fail_appends(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// From now on there is no space for people and what was taken back from them, as on a full disk; or there is again.
    pub fn fill(&self, full: bool) {
        self.lock().full = full;
    }

    /// Bytes of the states that are kept for named versions.
    #[cfg(test)]
    pub(crate) fn bytes_of_states(&self) -> usize {
        self.lock().pasts.values().map(history::Past::bytes_of_states).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the lock")
    }
}

impl Inner {
    fn check_space(&self) -> Result<(), StoreError> {
        if self.full { Err(StoreError::Full("told to be".into())) } else { Ok(()) }
    }

    fn change_tree(
        &mut self,
        room: &RoomId,
        by: &PrincipalId,
        at: UnixMillis,
        change: TreeChange,
    ) -> Result<(), StoreError> {
        let named = change.changed.iter().filter_map(|node| node.blob);
        self.blobs.check(named)?;
        let once_named = self.named_blobs();
        let (_, nodes) = self.rooms.get_mut(room).ok_or_else(|| StoreError::failed("no such room"))?;
        nodes.extend(change.changed.into_iter().map(|node| (node.id.clone(), node)));
        nodes.retain(|id, _| !change.deleted.contains(id));
        self.release_blobs(&once_named);
        for (name, update) in change.documents {
            let log = self.logs.entry(name).or_default();
            if log.is_empty() {
                log.push(Record { seq: 1, by: by.clone(), at, update });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError> {
        let inner = self.lock();
        let log = inner.logs.get(document).map(Vec::as_slice).unwrap_or_default();
        let snapshot = inner.snapshots.get(document).cloned();
        let from = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let updates = log.iter().filter(|record| record.seq > from).map(|record| record.update.clone()).collect();
        Ok(StoredDocument {
            snapshot,
            updates,
            seq: log.last().map_or(0, |record| record.seq),
            is_deleted: inner.is_deleted(document),
        })
    }

    async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.failing {
            return Err(StoreError::failed("told to fail"));
        }
        let log = inner.logs.entry(document.clone()).or_default();
        let mut next = log.last().map_or(0, |record| record.seq);
        for record in &records {
            next += 1;
            if record.seq != next || record.seq > MAX_SEQ {
                return Err(StoreError::failed(format!("update {} was expected, not {}", next, record.seq)));
            }
        }
        log.extend(records);
        Ok(())
    }

    async fn save_snapshot(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let is_older = inner.snapshots.get(document).is_some_and(|(kept, _)| *kept >= seq);
        if !is_older && !inner.is_deleted(document) {
            inner.snapshots.insert(document.clone(), (seq, state.into()));
        }
        Ok(())
    }

    async fn create_room(&self, room: &RoomRecord, tree: TreeChange) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.rooms.insert(room.id.clone(), (room.clone(), BTreeMap::new()));
        inner.change_tree(&room.id, &room.created_by, room.created_at, tree)
    }

    async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        Ok(self.lock().rooms.get(room).map(|(record, _)| record.clone()))
    }

    async fn rooms_of(&self, organisation: &OrganisationId) -> Result<Vec<RoomId>, StoreError> {
        let inner = self.lock();
        let theirs = inner.rooms.values().filter(|(room, _)| room.tenancy.organisation.as_ref() == Some(organisation));
        Ok(theirs.map(|(room, _)| room.id.clone()).collect())
    }

    async fn change_kind(&self, room: &RoomId, change: &KindChange) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if let Some((record, _)) = inner.rooms.get_mut(room) {
            record.tenancy.kind = change.to.clone();
            inner.kinds.entry(room.clone()).or_default().push(change.clone());
        }
        Ok(())
    }

    async fn kind_changes(&self, room: &RoomId) -> Result<Vec<KindChange>, StoreError> {
        Ok(self.lock().kinds.get(room).into_iter().flatten().rev().cloned().collect())
    }

    async fn nodes(&self, room: &RoomId) -> Result<Vec<Node>, StoreError> {
        Ok(self.lock().rooms.get(room).map(|(_, nodes)| nodes.values().cloned().collect()).unwrap_or_default())
    }

    async fn change_tree(
        &self,
        room: &RoomId,
        by: &PrincipalId,
        at: UnixMillis,
        change: TreeChange,
    ) -> Result<(), StoreError> {
        self.lock().change_tree(room, by, at, change)
    }

    async fn create_session(
        &self,
        token_hash: [u8; 32],
        person: &Principal,
        _at: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.check_space()?;
        inner.people.insert(person.id.clone(), person.clone());
        inner.sessions.insert(token_hash, person.id.clone());
        Ok(())
    }

    async fn session(&self, token_hash: [u8; 32]) -> Result<Option<Principal>, StoreError> {
        let inner = self.lock();
        Ok(inner.sessions.get(&token_hash).and_then(|id| inner.people.get(id)).cloned())
    }

    async fn rename_person(&self, person: &PrincipalId, name: &str) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.check_space()?;
        if let Some(person) = inner.people.get_mut(person) {
            person.name = name.into();
        }
        Ok(())
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.check_space()?;
        let revocations = &mut inner.revocations;
        revocations.retain(|old| (&old.subject, &old.room) != (&revocation.subject, &revocation.room));
        revocations.push(revocation.clone());
        Ok(())
    }

    async fn revocations(&self, now: UnixMillis) -> Result<Vec<Revocation>, StoreError> {
        let revocations = &mut self.lock().revocations;
        revocations.retain(|revocation| revocation.expires.is_none_or(|at| at > now));
        Ok(revocations.clone())
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_keeps_the_contract() {
        crate::contract::run(&super::MemoryStore::default()).await;
    }
}
