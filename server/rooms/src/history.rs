//! A document's past, read from its log: versions, the text at each, in what two differ, and who wrote what.
//!
//! It reads the store alone and never asks the document's actor, so a question about the past delays nobody who types. The
//! work is done on threads for blocking work, a few questions at a time. What is read is what is durable.
//!
//! Restoring a version is new operations on the present document; the log only ever grows.
//! Read [`sessions`] for what counts as a version, [`reader`] for how a log becomes a state, `crdt::history` for blame.

mod reader;
pub mod retention;
pub mod sessions;
mod turns;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use buildspaces_crdt::history as past;
use buildspaces_crdt::names::Kind;
use buildspaces_crdt::replica::LoadError;
use buildspaces_crdt::revert::Revert;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::{CautiousClock, unix_millis};
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Principal, PrincipalKind};
use bytes::Bytes;

use crate::actor::{is_worth_a_state, weight};
use crate::copies::Copies;
use crate::ports::{About, NamedVersion, Store};
use crate::{DocumentHandle, Error};
pub use reader::Author;
pub(crate) use reader::blocking;
use reader::{Reader, check_version};
use retention::{Merger, Plan, Policy};
pub use sessions::Session;
use sessions::Sessions;
use turns::{Turn, Turns};

/// Most named versions of a document; another is refused.
pub const MAX_NAMED_VERSIONS: usize = 1000;

/// Longest name of a version, in characters.
pub const MAX_VERSION_NAME_CHARS: usize = 120;

/// How often naming the present version is tried while old updates are merged.
const NAMING_ATTEMPTS: usize = 3;

/// Log entries that are read at a time.
const ENTRIES: usize = 10_000;

/// A pause after which the same author's neighbouring words count as written at another time.
const SAME_TIME: u64 = 5 * 60_000;

/// See the module. Clones are cheap and share the limits.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Store>,
    turns: Arc<Turns>,
    copies: Copies,
}

/// What happened to a document, by number: versions that somebody named, and the sessions between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versions {
    pub about: About,
    pub named: Vec<NamedVersion>,
    /// The newest of those asked for, oldest first.
    pub sessions: Vec<Session>,
    /// Everybody that is mentioned and known.
    pub authors: Vec<Principal>,
}

/// A piece of text and who did something to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    pub text: String,
    /// Nobody, if the log does not say.
    pub by: Option<Author>,
}

/// One place where two versions differ. Offsets count UTF-16 units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hunk {
    /// Where it begins in the older text.
    pub from: u64,
    /// Where it begins in the newer text.
    pub to: u64,
    /// What is gone, and who deleted it.
    pub removed: Vec<Piece>,
    /// What came, and who wrote it.
    pub inserted: Vec<Piece>,
}

/// A stretch of the text and who wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blame {
    /// In UTF-16 units from the text's beginning.
    pub at: u64,
    pub text: String,
    pub by: Option<Author>,
    /// Whose client the text was written with, if somebody else brought it first: it may have been relayed, or forged.
    pub client_of: Option<PrincipalId>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl History {
    pub(crate) fn new(store: Arc<dyn Store>, copies: Copies) -> Self {
        Self { store, turns: Arc::default(), copies }
    }

    /// What is known of a document that has a past and was not deleted.
    pub async fn about(&self, document: &DocumentName) -> Result<About, Error> {
        let about = self.store.about(document).await?;
        let about = about.ok_or_else(|| Error::NoSuchDocument(document.to_string()))?;
        if about.deleted.is_some() { Err(Error::Deleted) } else { Ok(about) }
    }

    /// Every named version, and the newest `most` sessions that ended below `before`.
    pub async fn versions(&self, document: &DocumentName, before: u64, most: usize) -> Result<Versions, Error> {
        let about = self.about(document).await?;
        let named = self.store.named_versions(document).await?;
        let names: HashSet<u64> = named.iter().map(|version| version.seq).collect();
        let _turn = self.turn().await?;
        let mut authors = Authors::default();
        authors.learn(self, named.iter().map(|version| &version.by)).await?;
        let (mut sessions, mut after) = (Sessions::new(most), about.begins);
        // A session that goes up to `before` or beyond is the last that is looked at.
        while after < before {
            let page = self.store.entries(document, after, ENTRIES).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            authors.learn(self, page.iter().map(|entry| &entry.by)).await?;
            for entry in page {
                let seq = entry.seq;
                sessions.push(entry, |id| authors.kind(id), |seq| names.contains(&seq));
                if seq >= before {
                    break;
                }
            }
        }
        Ok(Versions { about, named, sessions: sessions.end(before), authors: authors.known() })
    }

    /// The document as it was after update `seq`. It counts among [`crate::copies`] for as long as anybody holds it.
    pub async fn state(&self, document: &DocumentName, seq: u64) -> Result<Bytes, Error> {
        let (turn, state) = self.replica(document, seq, |replica| replica.state()).await?;
        // It keeps its turn until it has a place. Otherwise any number of states would wait for one.
        let place = self.copies.place(state.len()).await?;
        drop(turn);
        Ok(place.hold(state))
    }

    /// The text at `root` as it was after update `seq`.
    pub async fn text(&self, document: &DocumentName, seq: u64, root: &str) -> Result<String, Error> {
        let root = root.to_owned();
        Ok(self.replica(document, seq, move |replica| replica.text(&root)).await?.1)
    }

    /// What is made of the document as it was after update `seq`, and the turn that was taken for it.
    async fn replica<T: Send + 'static>(
        &self,
        document: &DocumentName,
        seq: u64,
        then: impl FnOnce(Replica) -> T + Send + 'static,
    ) -> Result<(Turn, T), Error> {
        let about = self.about(document).await?;
        let turn = self.turn().await?;
        let mut reader = Reader::begin(&*self.store, about, turn.clone());
        reader.start_from_kept(seq).await?;
        let (_, result) = reader.read_to(seq, |read| then(std::mem::take(&mut read.replica))).await?;
        Ok((turn, result))
    }

    /// Names the present version. Naming it again renames it.
    pub async fn checkpoint(&self, document: &DocumentName, by: &Principal, name: &str) -> Result<NamedVersion, Error> {
        let name = name.trim();
        let chars = name.chars().count();
        if chars == 0 || chars > MAX_VERSION_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(Error::BadVersionName);
        }
        self.store.remember(by, unix_millis()).await?;
        for _ in 0..NAMING_ATTEMPTS {
            let about = self.about(document).await?;
            let seq = about.seq;
            let present = self.store.named_versions(document).await?;
            if present.len() >= MAX_NAMED_VERSIONS && present.iter().all(|version| version.seq != seq) {
                return Err(Error::TooManyVersions);
            }
            let state = if self.is_worth_a_state(&about).await? {
                let (_turn, state) = self.replica(document, seq, |replica| replica.state()).await?;
                Some(Bytes::from(state))
            } else {
                None
            };
            let version = NamedVersion { seq, name: name.to_owned(), by: by.id.clone(), at: unix_millis() };
            if self.store.name_version(document, &version, state).await? {
                return Ok(version);
            }
            // It was merged with later ones meanwhile, so it is not the present one any more.
        }
        Err(Error::Busy)
    }

    /// True if so much was written since the last named version whose state is kept that the present one is worth a state of its own.
    async fn is_worth_a_state(&self, about: &About) -> Result<bool, Error> {
        let kept = self.store.last_named_state(&about.document).await?;
        let (mut after, kept) = kept.map_or((about.begins, 0), |(seq, bytes)| (seq, bytes as usize));
        let mut behind = 0;
        while !is_worth_a_state(behind, kept) {
            let page = self.store.entries(&about.document, after, ENTRIES).await?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.seq;
            behind += weight(page.iter().map(|entry| entry.bytes as usize));
        }
        Ok(true)
    }

    /// In what the text at `root` after update `to` differs from that after update `from`.
    pub async fn diff(
        &self,
        document: &DocumentName,
        from: u64,
        to: u64,
        root: &str,
    ) -> Result<(Vec<Hunk>, Vec<Principal>), Error> {
        let (first, last) = (from.min(to), from.max(to));
        let about = self.about(document).await?;
        let turn = self.turn().await?;
        let mut reader = Reader::begin(&*self.store, about, turn);
        reader.start_from_kept(first).await?;
        reader.attribute();
        let (old_root, new_root) = (root.to_owned(), root.to_owned());
        let (reader, old) = reader.read_to(first, move |read| past::runs(&read.replica, &old_root)).await?;
        let (_, mut hunks) = reader
            .read_to(last, move |read| {
                let found = past::changes(old, past::runs(&read.replica, &new_root));
                found.into_iter().map(|change| read.hunk(change)).collect::<Vec<Hunk>>()
            })
            .await?;
        if from > to {
            hunks.iter_mut().for_each(Hunk::turn_around);
        }
        let pieces = hunks.iter().flat_map(|hunk| hunk.removed.iter().chain(&hunk.inserted));
        let authors = self.principals(pieces.filter_map(|piece| Some(piece.by.as_ref()?.by.clone())).collect()).await?;
        Ok((hunks, authors))
    }

    /// The people and agents whose edits make the difference between the text at `root` as it was at `since` and as it is now. Nobody,
    /// if there is no such document.
    pub async fn editors(
        &self,
        document: &DocumentName,
        since: UnixMillis,
        root: &str,
    ) -> Result<Vec<Principal>, Error> {
        let about = match self.about(document).await {
            Err(Error::NoSuchDocument(_) | Error::Deleted) => return Ok(Vec::new()),
            about => about?,
        };
        let mut from = about.begins;
        loop {
            let page = self.store.entries(document, from, ENTRIES).await?;
            let Some(last) = page.iter().take_while(|entry| entry.at <= since).last() else { break };
            from = last.seq;
        }
        if from == about.seq {
            return Ok(Vec::new());
        }
        let (_, mut authors) = self.diff(document, from, about.seq, root).await?;
        authors.retain(|author| author.kind.is_user());
        Ok(authors)
    }

    /// Who wrote each part of the text at `root` as it was after update `seq`; the newest if there is none.
    pub async fn blame(
        &self,
        document: &DocumentName,
        seq: Option<u64>,
        root: &str,
    ) -> Result<(u64, Vec<Blame>, Vec<Principal>), Error> {
        let about = self.about(document).await?;
        let seq = seq.unwrap_or(about.seq);
        let turn = self.turn().await?;
        let mut reader = Reader::begin(&*self.store, about, turn);
        reader.start_from_kept(seq).await?;
        reader.attribute();
        let root = root.to_owned();
        let (_, blame) = reader.read_to(seq, move |read| join(read.blame(past::runs(&read.replica, &root)))).await?;
        let ids = blame.iter().flat_map(|piece| piece.by.iter().map(|author| &author.by).chain(&piece.client_of));
        let authors = self.principals(ids.cloned().collect()).await?;
        Ok((seq, blame, authors))
    }

    /// Whose each Yjs client is: who brought something under its id first.
    pub async fn clients(&self, document: &DocumentName) -> Result<(Vec<(u64, Author)>, Vec<Principal>), Error> {
        let about = self.about(document).await?;
        let seq = about.seq;
        let turn = self.turn().await?;
        let mut reader = Reader::begin(&*self.store, about, turn);
        reader.start_from_kept(seq).await?;
        reader.attribute();
        let (_, clients) = reader.read_to(seq, |read| read.clients()).await?;
        let authors = self.principals(clients.iter().map(|(_, author)| author.by.clone()).collect()).await?;
        Ok((clients, authors))
    }

    /// Makes the document what it was after update `seq`, by new edits of `by`. Returns once that is durable.
    pub async fn restore(
        &self,
        document: &DocumentName,
        live: &DocumentHandle,
        by: &Principal,
        seq: u64,
    ) -> Result<(), Error> {
        let update = if matches!(document.kind(), Kind::File { .. }) {
            // A file is a plain text: the difference of two texts is all there is to do.
            let text = self.text(document, seq, buildspaces_crdt::text::ROOT).await?;
            let present = live.present().await?;
            let turn = self.turn().await?;
            let work = turn.work(move || {
                let mut replica = Replica::load(Some(&present.state), &[])?;
                Ok(replica.set_text(buildspaces_crdt::text::ROOT, &text).unwrap_or_default())
            });
            work.await?.map_err(|error: LoadError| Error::Storage(error.to_string().into()))?
        } else {
            self.revert(document, seq).await?
        };
        // As anybody's: it waits for space, and leaves the document no larger than it may be.
        if update.is_empty() { Ok(()) } else { live.propose(by, update.into(), None).await }
    }

    /// The update that takes the document back.
    async fn revert(&self, document: &DocumentName, seq: u64) -> Result<Vec<u8>, Error> {
        let about = self.about(document).await?;
        check_version(&about, seq)?;
        let turn = self.turn().await?;
        let (mut revert, mut after, mut marked) = (Revert::default(), about.begins, false);
        while after < about.seq {
            let page = self.store.records(document, after).await?;
            let Some(last) = page.last().map(|record| record.seq) else { break };
            let work = turn.work(move || {
                for record in page {
                    if !marked && record.seq > seq {
                        if record.first <= seq {
                            return Err(Error::VersionMerged { seq, first: record.first, last: record.seq });
                        }
                        revert.mark();
                        marked = true;
                    }
                    revert.apply(&record.update).map_err(|error| Error::Storage(error.to_string().into()))?;
                }
                Ok((revert, marked))
            });
            (revert, marked) = work.await??;
            after = last;
        }
        if !marked {
            return Ok(Vec::new());
        }
        turn.work(|| revert.finish()).await?.ok_or(Error::NotRestorable)
    }

    /// Merges what is older than `policy` keeps. Returns how many merged records were stored. It can be stopped at any moment
    /// and called again: each record is stored by itself, and the log is whole before and after.
    pub async fn compact(&self, document: &DocumentName, policy: Policy, now: UnixMillis) -> Result<usize, Error> {
        if self.is_held(document) {
            return Ok(0);
        }
        let about = self.about(document).await?;
        let named = self.store.named_versions(document).await?.into_iter().map(|version| version.seq).collect();
        let turn = self.turn().await?;
        let (mut plan, mut after) = (Plan::new(named, now, policy), about.begins);
        while let page = self.store.entries(document, after, ENTRIES).await?
            && let Some(last) = page.last()
            && page.iter().all(|entry| plan.push(entry))
        {
            after = last.seq;
        }
        let groups = Arc::new(plan.end());
        let Some((_, end)) = groups.last().copied() else { return Ok(0) };
        let (mut merger, mut after, mut stored) = (Merger::default(), about.begins, 0);
        while after < end {
            let page = self.store.records(document, after).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            let groups = groups.clone();
            let work = turn.work(move || {
                let mut merged = Vec::new();
                for record in page {
                    merged.extend(merger.push(record, &groups)?);
                }
                Ok::<_, retention::Error>((merger, merged))
            });
            let (next, merged) = work.await?.map_err(|error| Error::Storage(error.to_string().into()))?;
            merger = next;
            for record in merged {
                let _merging = self.turns.merging.lock().await;
                if self.is_held(document) {
                    return Ok(stored);
                }
                stored += usize::from(self.store.merge_records(document, &record).await?);
            }
        }
        Ok(stored)
    }

    /// Compacts every document once. Ends early when the process stops.
    pub(crate) async fn compact_all(&self, policy: Policy, clock: CautiousClock, tasks: &Tasks) {
        const AT_ONCE: usize = 100;
        let mut after = String::new();
        loop {
            let page = match self.store.list("", &after, false, AT_ONCE).await {
                Ok(page) => page,
                Err(error) => return tracing::warn!(%error, "old updates are not merged now"),
            };
            let Some(last) = page.last() else { return };
            after = last.document.to_string();
            for about in page {
                if tasks.is_cancelled() {
                    return;
                }
                match self.compact(&about.document, policy, clock.now()).await {
                    Ok(0) => {}
                    Ok(records) => tracing::debug!(document = %about.document, records, "old updates were merged"),
                    Err(error) => tracing::warn!(document = %about.document, %error, "old updates were not merged"),
                }
            }
        }
    }

    /// Everybody of `ids` that is known, each once.
    pub async fn principals(&self, mut ids: Vec<PrincipalId>) -> Result<Vec<Principal>, Error> {
        ids.sort();
        ids.dedup();
        let mut found = Vec::with_capacity(ids.len());
        for known in [Principal::system(), Principal::file_system()] {
            if let Ok(at) = ids.binary_search(&known.id) {
                ids.remove(at);
                found.push(known);
            }
        }
        found.extend(self.store.principals(&ids).await?);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }
}

/// Everybody that something was asked about so far.
#[derive(Default)]
struct Authors(BTreeMap<PrincipalId, Option<Principal>>);

impl Authors {
    async fn learn(&mut self, history: &History, ids: impl Iterator<Item = &PrincipalId>) -> Result<(), Error> {
        let new: Vec<PrincipalId> = ids.filter(|id| !self.0.contains_key(id)).cloned().collect();
        self.0.extend(new.iter().map(|id| (id.clone(), None)));
        let found = history.principals(new).await?;
        self.0.extend(found.into_iter().map(|principal| (principal.id.clone(), Some(principal))));
        Ok(())
    }

    fn kind(&self, id: &PrincipalId) -> PrincipalKind {
        self.0.get(id).and_then(Option::as_ref).map_or(PrincipalKind::Person, |principal| principal.kind)
    }

    /// By id.
    fn known(self) -> Vec<Principal> {
        self.0.into_values().flatten().collect()
    }
}

impl Hunk {
    fn turn_around(&mut self) {
        std::mem::swap(&mut self.from, &mut self.to);
        std::mem::swap(&mut self.removed, &mut self.inserted);
    }
}

/// Joins neighbours that one author wrote at about the same time.
fn join(pieces: Vec<Blame>) -> Vec<Blame> {
    let mut joined: Vec<Blame> = Vec::new();
    for piece in pieces {
        let Some(last) = joined.last_mut() else {
            joined.push(piece);
            continue;
        };
        let together = match (&last.by, &piece.by) {
            (Some(a), Some(b)) => a.by == b.by && a.at.abs_diff(b.at) < SAME_TIME,
            (None, None) => true,
            _ => false,
        };
        if together && last.client_of == piece.client_of {
            last.text.push_str(&piece.text);
            if last.by.as_ref().zip(piece.by.as_ref()).is_some_and(|(a, b)| b.seq > a.seq) {
                last.by = piece.by;
            }
        } else {
            joined.push(piece);
        }
    }
    joined
}

fn piece((run, by): (past::Run, Option<Author>)) -> Piece {
    Piece { text: run.text, by }
}

#[cfg(test)]
mod tests;
