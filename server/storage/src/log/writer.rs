//! The thread that writes the log.
//!
//! Appends of all documents that wait at the same moment share one transaction, and so one flush of the disk; while it is under
//! way, and for a moment after a small one, the next group gathers. Nothing waits when nothing else does. Each transaction also settles a little when the journal
//! has grown, so that no append waits for a long one; when nothing happens the journal is settled whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::{MAX_SEQ, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::{self, Checkpoints};
use super::journal::{self, Chunk};
use super::{Append, Keep, Place, Request, Shared, State};
use crate::database::{Durability, store_error};
use crate::meters;

/// Most bytes of updates in one transaction, so that the first of a group does not wait for ever.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// Most appends of one transaction.
const MAX_GROUP: usize = 4096;

/// An append of more bytes does not go through the journal: it would be written twice for nothing.
const LARGE: usize = 64 << 10;

/// Bytes in the journal from which on each transaction settles more than it adds.
const SETTLE_FROM: usize = 4 << 20;

/// Bytes that one transaction settles when nothing else happens. Appends that come meanwhile wait for it.
const SETTLE_SLICE: usize = 256 << 10;

/// How long the next group gathers after a flush where little is written: a flush takes as much of the processor for one append as
/// for many. The more was appended in the last moment, the shorter the pause, and from this many on there is none. An append that
/// nothing went before does not wait.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
const MANY: f64 = 80.0;

/// How often the writer is told that time passes: the journal is settled after a period without appends.
const TICK: Duration = Duration::from_secs(1);

const INSERT_UPDATE: &str = "INSERT INTO document_update (document, seq, at, principal, data) VALUES (?, ?, ?, ?, ?)";

const PUT_ASIDE: &str = "INSERT INTO document_clash (document, seq, at, principal, data) VALUES (?, ?, ?, ?, ?)";

const KEEP_STATE: &str = "INSERT INTO document_snapshot (document, seq, data)
    SELECT id, ?, ? FROM document WHERE name = ? AND deleted_at IS NULL
    ON CONFLICT (document) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq";

/// Starts the thread. It ends when `tasks` is told to, or when the last handle to the log is gone.
pub(super) fn start(
    shared: Arc<Shared>,
    requests: mpsc::WeakSender<Request>,
    waiting: mpsc::Receiver<Request>,
    tasks: &Tasks,
) {
    let (ended, mut end) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("log writer".to_owned())
        .spawn(move || {
            Writer::new(shared).run(waiting);
            drop(ended);
        })
        .expect("the machine can start a thread");
    let stopping = tasks.clone();
    tasks.spawn("log writer", async move {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut end => return,
                () = stopping.cancelled() => break,
                _ = tick.tick() => if let Some(requests) = requests.upgrade() {
                    // A full queue means that the writer has better things to do.
                    let _ = requests.try_send(Request::Tick);
                },
            }
        }
        if let Some(requests) = requests.upgrade() {
            let _ = requests.send(Request::Stop).await;
        }
        let _ = end.await;
    });
}

struct Writer {
    shared: Arc<Shared>,
    checkpoints: Checkpoints,
    /// Opened when it is needed, and again after an error.
    connection: Option<Connection>,
    /// Something was appended since the last tick.
    appended: bool,
    pace: Pace,
}

/// When the next group may begin.
///
/// What counts is the last moment and not only the last flush: otherwise one append that comes just after a large group would make
/// everybody who was answered with that group wait.
struct Pace {
    next: Instant,
    /// When the last group was flushed, and how many appends there were lately.
    last: Instant,
    recent: f64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { next: now, last: now, recent: 0.0 }
    }

    fn flushed(&mut self, appends: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.last).div_duration_f64(LONGEST_PAUSE);
        self.recent = self.recent * (-passed).exp() + appends as f64;
        self.last = now;
        self.next = now + LONGEST_PAUSE.mul_f64((1.0 - self.recent / MANY).max(0.0));
    }
}

/// Appends that share a transaction.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, append: Append) {
        self.bytes += bytes(&append);
        self.appends.push(append);
    }

    fn is_full(&self) -> bool {
        self.bytes >= MAX_GROUP_BYTES || self.appends.len() >= MAX_GROUP
    }
}

fn bytes(append: &Append) -> usize {
    append.records.iter().map(|record| record.update.len()).sum()
}

impl Writer {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            checkpoints: Checkpoints::start(&shared.database),
            shared,
            connection: None,
            appended: false,
            pace: Pace::new(Instant::now()),
        }
    }

    fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(request) = waiting.blocking_recv() {
            if matches!(request, Request::Append(_)) {
                std::thread::sleep(self.pace.next.saturating_duration_since(Instant::now()));
            }
            let mut next = Some(request);
            let mut group = Group::default();
            let mut states = Vec::new();
            while let Some(request) = next.take() {
                match request {
                    Request::Append(append) => group.push(append),
                    Request::Keep(keep) => states.push(keep),
                    Request::Written(reply) => {
                        self.commit(std::mem::take(&mut group));
                        let _ = reply.send(());
                    }
                    Request::Settle { of, reply } => {
                        self.commit(std::mem::take(&mut group));
                        let settled = match of {
                            Some(document) => self.write(&mut [], Settle::Document(&document)).map(drop),
                            None => self.settle_all(),
                        };
                        let _ = reply.send(settled);
                    }
                    Request::Tick => {
                        if !std::mem::take(&mut self.appended) && group.appends.is_empty() {
                            self.settle_while_idle(&waiting);
                        }
                    }
                    // What is queued is still taken.
                    Request::Stop => waiting.close(),
                }
                if !group.is_full() {
                    next = waiting.try_recv().ok();
                }
            }
            self.commit(group);
            for keep in states {
                let kept = self.keep(&keep);
                answer(keep.reply, kept);
            }
        }
        if let Err(error) = self.settle_all() {
            tracing::warn!(%error, "the journal stays for the next start");
        }
    }

    /// Writes a group and answers.
    fn commit(&mut self, group: Group) {
        if group.appends.is_empty() {
            return;
        }
        let _step = tracing::trace_span!(target: "keystroke", "commit", appends = group.appends.len()).entered();
        self.appended = true;
        meters::GROUP_SIZE.record(group.appends.len() as f64);
        let mut group = group;
        let results = self.try_to_commit(&mut group);
        self.pace.flushed(group.appends.len(), Instant::now());
        for (append, result) in group.appends.into_iter().zip(results) {
            match append.reply {
                Some(reply) => answer(reply, result),
                None => {
                    if let Err(error) = result {
                        tracing::error!(document = %append.document, %error, "acknowledged updates are lost, as durability = off allows");
                    }
                }
            }
        }
    }

    fn try_to_commit(&mut self, group: &mut Group) -> Vec<Result<(), StoreError>> {
        let in_journal = match self.shared.ready() {
            Ok(state) => state.bytes,
            Err(error) => return vec![Err(error); group.appends.len()],
        };
        let to_settle = if in_journal > SETTLE_FROM { 2 * group.bytes } else { 0 };
        let mut result = self.write(&mut group.appends, Settle::Oldest(to_settle));
        if let Err(StoreError::Full(cause)) = &result {
            tracing::warn!(%cause, "the disk is full");
            // Settling needs space of its own. Without it, and after a checkpoint, there may be enough.
            result = self.checkpoint().and_then(|()| self.write(&mut group.appends, Settle::Oldest(0)));
        }
        meters::STORE_FULL.set(f64::from(u8::from(matches!(result, Err(StoreError::Full(_))))));
        result.unwrap_or_else(|error| vec![Err(error); group.appends.len()])
    }

    /// A transaction of its own, so that no append fails because a state is too large, and without a flush: the next append's
    /// flush covers it.
    fn keep(&mut self, keep: &Keep) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let _turn = shared.database.turn().blocking_lock();
        let connection = self.connect()?;
        keep_state(&connection, keep, shared.database.durability()).map_err(|error| store_error(&error))?;
        self.connection = Some(connection);
        self.checkpoints.committed();
        Ok(())
    }

    /// The connection. It is put back by who used it without an error: closing it ends a transaction, whatever state that is in.
    fn connect(&mut self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connection = self.shared.database.connect_to_write().map_err(|error| store_error(&error))?;
        checkpoint::watch(&connection);
        Ok(connection)
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let connection = self.shared.database.connect_to_write().map_err(|error| store_error(&error))?;
        checkpoint::now(&connection).map_err(|error| store_error(&error))
    }

    fn settle_all(&mut self) -> Result<(), StoreError> {
        while !self.shared.ready()?.unsettled.is_empty() {
            self.write(&mut [], Settle::Oldest(SETTLE_SLICE))?;
        }
        Ok(())
    }

    /// Settles until somebody wants to append.
    fn settle_while_idle(&mut self, waiting: &mpsc::Receiver<Request>) {
        while waiting.is_empty() {
            match self.shared.ready().map(|state| state.unsettled.is_empty()) {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            if let Err(error) = self.write(&mut [], Settle::Oldest(SETTLE_SLICE)) {
                tracing::warn!(%error, "the journal could not be settled; it is tried again");
                return;
            }
        }
    }

    /// One transaction: the appends, and a part of the journal put where it belongs. The inner results
    /// tell which appends were refused for their numbers; an error means that nothing was written.
    fn write(&mut self, group: &mut [Append], settle: Settle<'_>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let shared = self.shared.clone();
        let _turn = shared.database.turn().blocking_lock();
        let connection = self.connect()?;
        let plan = Plan::new(&*shared.ready()?, group, settle);
        let done = prepare(&connection, plan, group).map_err(|error| store_error(&error))?;
        if shared.database.durability() == Durability::Off {
            done.answer_early(group);
        }
        let commit = connection.execute_batch("COMMIT");
        commit.map_err(|error| store_error(&error))?;
        let mut state = shared.ready()?;
        let results = done.apply(&mut state, group);
        state.forget();
        drop(state);
        self.connection = Some(connection);
        self.checkpoints.committed();
        Ok(results)
    }
}

/// What a transaction puts where it belongs.
#[derive(Clone, Copy)]
enum Settle<'a> {
    /// About so many bytes, the oldest first.
    Oldest(usize),
    /// All of one document.
    Document(&'a DocumentName),
}

/// What a transaction will do, as far as memory knows.
struct Plan {
    /// Where the documents of the group stand, without what is in the journal.
    places: HashMap<DocumentName, Place>,
    /// Documents that leave the journal: those with an append that is too large for it, and one that was asked for. All theirs goes to the
    /// table at once, so that a table never holds an update whose predecessor is in the journal.
    direct: HashSet<DocumentName>,
    settle: Vec<(DocumentName, i64, Vec<Chunk>)>,
    /// The row for this group.
    row: i64,
    /// The journal's oldest row that is still needed, if any before this one.
    oldest: Option<i64>,
}

impl Plan {
    fn new(state: &State, group: &[Append], settle: Settle<'_>) -> Self {
        let place = |document: &DocumentName| {
            let place = state.documents.get(document)?;
            Some((document.clone(), Place { seq: place.seq, ..Place::new(place.id) }))
        };
        let places = group.iter().filter_map(|append| place(&append.document)).collect();
        let large = group.iter().filter(|append| bytes(append) > LARGE);
        let (to_settle, whole) = match settle {
            Settle::Oldest(bytes) => (bytes, None),
            Settle::Document(document) => (0, Some(document)),
        };
        let direct: HashSet<DocumentName> = large.map(|append| &append.document).chain(whole).cloned().collect();
        let mut settle = Vec::new();
        let mut settled = 0;
        let mut oldest = None;
        for (_, document) in &state.unsettled {
            let place = &state.documents[document];
            let wanted = place.chunks.iter().take_while(|(_, chunk)| {
                let wanted = settled < to_settle || direct.contains(document);
                settled += if wanted { chunk.bytes() } else { 0 };
                wanted
            });
            let chunks: Vec<Chunk> = wanted.map(|(_, chunk)| chunk.clone()).collect();
            let left = place.chunks.get(chunks.len()).map(|(row, _)| *row);
            oldest = [oldest, left].into_iter().flatten().min();
            if !chunks.is_empty() {
                settle.push((document.clone(), place.id, chunks));
            } else if direct.is_empty() {
                // The rest is younger.
                break;
            }
        }
        Self { places, direct, settle, row: state.last_row + 1, oldest }
    }
}

/// What a transaction does.
struct Done {
    results: Vec<Result<(), StoreError>>,
    plan: Plan,
    /// The group's row of the journal; empty if there is none.
    data: Vec<u8>,
}

/// Everything but the commit.
fn prepare(connection: &Connection, mut plan: Plan, group: &[Append]) -> Result<Done, rusqlite::Error> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for (_, document, chunks) in &plan.settle {
        settle(connection, *document, chunks)?;
    }
    let mut data = journal::begin();
    let empty = data.len();
    let mut results = Vec::with_capacity(group.len());
    for append in group {
        let place = match plan.places.get_mut(&append.document) {
            Some(place) => place,
            None => plan.places.entry(append.document.clone()).or_insert(find(connection, &append.document)?),
        };
        let in_order = append.records.iter().zip(place.seq + 1..).all(|(record, expected)| record.seq == expected);
        if !in_order || place.seq + append.records.len() as u64 > MAX_SEQ {
            let (document, seq) = (&append.document, place.seq);
            results.push(Err(StoreError::failed(format!(
                "{document}: the log stands at {seq}, the next update has another number"
            ))));
            continue;
        }
        place.seq += append.records.len() as u64;
        if plan.direct.contains(&append.document) {
            let mut insert = connection.prepare_cached(INSERT_UPDATE)?;
            for record in &append.records {
                let (seq, by) = (record.seq as i64, record.by.as_str());
                insert.execute(params![place.id, seq, record.at, by, &record.update[..]])?;
            }
        } else {
            journal::push(&mut data, place.id, &append.records);
        }
        results.push(Ok(()));
    }
    if data.len() > empty {
        connection.prepare_cached("INSERT INTO journal (id, data) VALUES (?, ?)")?.execute(params![plan.row, data])?;
    }
    if !plan.settle.is_empty() {
        let oldest = plan.oldest.unwrap_or(plan.row);
        connection.prepare_cached("DELETE FROM journal WHERE id < ?")?.execute(params![oldest])?;
    }
    Ok(Done { results, plan, data })
}

/// Who asked may have gone.
fn answer(reply: oneshot::Sender<Result<(), StoreError>>, result: Result<(), StoreError>) {
    let _ = reply.send(result);
}

impl Done {
    /// Acknowledges what was accepted before it is written.
    fn answer_early(&self, group: &mut [Append]) {
        for (append, result) in group.iter_mut().zip(&self.results) {
            if let Some(reply) = append.reply.take() {
                answer(reply, result.clone());
            }
        }
    }

    /// Makes it known to those who read.
    fn apply(self, state: &mut State, group: &[Append]) -> Vec<Result<(), StoreError>> {
        let Self { results, mut plan, data } = self;
        for (document, _, chunks) in &plan.settle {
            state.settled(document, chunks.len());
        }
        let written =
            group.iter().zip(&results).filter(|(append, result)| result.is_ok() && !append.records.is_empty());
        let mut chunks = journal::chunks(data.into()).expect("written above").into_iter();
        for (append, _) in written {
            if plan.direct.contains(&append.document) {
                if let Some(place) = plan.places.remove(&append.document) {
                    state.documents.insert(append.document.clone(), place);
                }
            } else if let Some(chunk) = chunks.next() {
                state.appended(&append.document, plan.row, chunk);
                state.last_row = plan.row;
            }
        }
        results
    }
}

fn keep_state(connection: &Connection, keep: &Keep, durability: Durability) -> Result<(), rusqlite::Error> {
    let flushes = durability == Durability::Full;
    if flushes {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    let Keep { document, seq, state, .. } = keep;
    connection.prepare_cached(KEEP_STATE)?.execute(params![*seq as i64, state, document.as_str()])?;
    if flushes {
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    Ok(())
}

/// Puts updates from the journal where they belong.
fn settle(connection: &Connection, document: i64, chunks: &[Chunk]) -> Result<(), rusqlite::Error> {
    let exists =
        connection.prepare_cached("SELECT 1 FROM document WHERE id = ?")?.query_row(params![document], |_| Ok(()));
    if exists.optional()?.is_none() {
        tracing::warn!(document, "updates of a document that was deleted are dropped");
        return Ok(());
    }
    let mut insert = connection.prepare_cached(INSERT_UPDATE)?;
    let mut clashes = 0;
    for entry in chunks.iter().flat_map(|chunk| chunk.entries().expect("written by this process, or read before")) {
        let by = String::from_utf8_lossy(&entry.by);
        let values = params![document, entry.seq as i64, entry.at, by, &entry.update[..]];
        match insert.execute(values) {
            // One document that is broken must not keep all others from being settled, and what was acknowledged is not thrown away.
            Err(error) if is_clash(&error) => clashes += connection.prepare_cached(PUT_ASIDE)?.execute(values)?,
            done => drop(done?),
        }
    }
    if clashes > 0 {
        tracing::error!(
            document,
            updates = clashes,
            "the log has other updates under their numbers; they are in document_clash"
        );
    }
    Ok(())
}

/// True if there is a row with that key. The statement alone was undone.
fn is_clash(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// The document's place without what is in the journal; creates the document if need be.
fn find(connection: &Connection, document: &DocumentName) -> Result<Place, rusqlite::Error> {
    let id = connection
        .prepare_cached("SELECT id FROM document WHERE name = ?")?
        .query_row(params![document.as_str()], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        let mut insert = connection.prepare_cached("INSERT INTO document (name) VALUES (?)")?;
        return Ok(Place::new(insert.insert(params![document.as_str()])?));
    };
    let seq: Option<i64> = connection
        .prepare_cached("SELECT MAX(seq) FROM document_update WHERE document = ?")?
        .query_row(params![id], |row| row.get(0))?;
    Ok(Place { seq: seq.unwrap_or(0) as u64, ..Place::new(id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after groups of so many appends, each with the time since the one before.
    fn pauses(groups: &[(u64, usize)]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let pause = |&(millis, appends): &(u64, usize)| {
            now += Duration::from_millis(millis);
            pace.flushed(appends, now);
            pace.next.saturating_duration_since(now).as_millis() as u64
        };
        groups.iter().map(pause).collect()
    }

    #[test]
    fn a_few_appends_gather() {
        let pauses = pauses(&[(0, 8), (45, 8), (45, 8), (45, 8)]);
        assert!(pauses.iter().all(|pause| (40..50).contains(pause)), "{pauses:?}");
    }

    #[test]
    fn an_append_after_a_large_group_does_not_make_others_wait() {
        assert_eq!(pauses(&[(0, 100), (1, 1), (1, 100), (1, 1)]), [0; 4]);
    }

    #[test]
    fn a_large_group_is_forgotten_after_a_while() {
        assert!(pauses(&[(0, 100), (500, 1)])[1] > 40);
    }
}
