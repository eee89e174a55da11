//! The log of all documents: appends that share flushes, and loads that see them at once.
//!
//! An append would dirty one page of its own document, and a flush of a hundred documents a hundred pages for a few kilobytes.
//! So a flush writes one row with everything that waits into the table `journal` ([`journal`]), and memory knows which updates
//! of which document are in it. Later, many updates of one document at a time are *settled*: put into `document_update`.
//! [`writer`] does both on a thread of its own, [`loader`] reads, [`checkpoint`] keeps SQLite's own log short.
//!
//! **Invariant:** an update is in `document_update`, or in a row of `journal` and in [`State`]; never in neither. Who reads
//! looks at [`State`] first and at the tables afterwards, so what is settled in between is seen twice and not missed.

mod checkpoint;
mod journal;
mod loader;
mod writer;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::{Record, StoreError, StoredDocument};
use tokio::sync::{mpsc, oneshot};

use crate::database::{Durability, store_error};
use crate::{Database, meters};
pub(crate) use journal::Entry as Update;
use journal::{Chunk, chunks};

/// Appends that wait for the next flush. When it is full, documents wait; they keep their own queue.
const QUEUE: usize = 1024;

/// Documents whose place in the log is remembered although nothing of theirs is in the journal. Past it they are forgotten
/// and read again.
const MAX_REMEMBERED: usize = 4_096;

/// A cheap handle to the log.
#[derive(Clone)]
pub(crate) struct Log {
    requests: mpsc::Sender<Request>,
    loads: mpsc::Sender<loader::Load>,
    shared: Arc<Shared>,
    durability: Durability,
}

/// What the writer is asked.
enum Request {
    Append(Append),
    Keep(Keep),
    /// Put what the journal has of a document, or of all, where it belongs; then answer.
    Settle {
        of: Option<DocumentName>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Answer once everything before this is written.
    Written(oneshot::Sender<()>),
    /// A second passed.
    Tick,
    /// Write what waits, and end.
    Stop,
}

/// A document's state, so that loading need not read the updates up to `seq`.
struct Keep {
    document: DocumentName,
    seq: u64,
    state: Vec<u8>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

struct Append {
    document: DocumentName,
    records: Vec<Record>,
    /// `None` once it was answered.
    reply: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Log {
    /// Starts the threads; `tasks` waits for the one that writes.
    pub(crate) fn start(database: &Database, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared { database: database.clone(), state: Mutex::default() });
        let (requests, waiting) = mpsc::channel(QUEUE);
        writer::start(shared.clone(), requests.downgrade(), waiting, tasks);
        let loads = loader::start(shared.clone());
        Self { requests, loads, shared, durability: database.durability() }
    }

    /// Tells how much waits for the log. Whoever reads metrics asks for that, so that nobody who writes has to.
    pub(crate) fn measure(&self) {
        meters::QUEUE.set((self.requests.max_capacity() - self.requests.capacity()) as f64);
        // While a former process' journal is read, nothing can be said.
        if let Ok(state) = self.shared.state.try_lock() {
            meters::JOURNAL_BYTES.set(state.bytes as f64);
        }
    }

    /// Appends and returns once it is as durable as the settings ask. If the caller goes away the append still happens.
    pub(crate) async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        let append = Append { document: document.clone(), records, reply: Some(reply) };
        self.requests.send(Request::Append(append)).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }

    /// Keeps a document's state. It is flushed with what is appended next.
    pub(crate) async fn keep(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        let keep = Keep { document: document.clone(), seq, state, reply };
        self.requests.send(Request::Keep(keep)).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }

    pub(crate) async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError> {
        self.written().await?;
        let (reply, stored) = oneshot::channel();
        let load = loader::Load { document: document.clone(), reply };
        self.loads.send(load).await.map_err(|_| ended())?;
        stored.await.map_err(|_| ended())?
    }

    /// Returns once what was acknowledged is written.
    async fn written(&self) -> Result<(), StoreError> {
        if self.durability == Durability::Off {
            let (reply, written) = oneshot::channel();
            self.requests.send(Request::Written(reply)).await.map_err(|_| ended())?;
            written.await.map_err(|_| ended())?;
        }
        Ok(())
    }

    /// The updates of a document that are in the journal, without writing anything. Read the tables afterwards: what is settled in between
    /// is seen twice.
    pub(crate) async fn tail(&self, document: &DocumentName) -> Result<Vec<Update>, StoreError> {
        self.written().await?;
        let chunks = loader::tail(&*self.shared.ready()?, document);
        let entries = chunks.iter().map(Chunk::entries).collect::<Result<Vec<_>, _>>();
        Ok(entries.map_err(|_| unreadable_chunk(document))?.into_iter().flatten().collect())
    }

    /// The last of them, of each document that is `wanted`.
    pub(crate) async fn tails(
        &self,
        wanted: impl Fn(&DocumentName) -> bool,
    ) -> Result<HashMap<DocumentName, Update>, StoreError> {
        self.written().await?;
        let state = self.shared.ready()?;
        let mut found = HashMap::new();
        for (_, document) in state.unsettled.iter().filter(|(_, document)| wanted(document)) {
            let last = state.documents[document].chunks.back().map(|(_, chunk)| chunk.entries());
            let entries = last.transpose().map_err(|_| unreadable_chunk(document))?;
            if let Some(last) = entries.and_then(|mut entries| entries.pop()) {
                found.insert(document.clone(), last);
            }
        }
        Ok(found)
    }

    /// Returns once `document_update` holds every update of `document` that was acknowledged before. Call it before reading that table.
    pub(crate) async fn settle(&self, document: &DocumentName) -> Result<(), StoreError> {
        if self.durability != Durability::Off && !self.is_in_journal(document)? {
            return Ok(());
        }
        self.ask_to_settle(Some(document.clone())).await
    }

    /// The same for all documents.
    pub(crate) async fn settle_all(&self) -> Result<(), StoreError> {
        self.ask_to_settle(None).await
    }

    async fn ask_to_settle(&self, of: Option<DocumentName>) -> Result<(), StoreError> {
        let (reply, settled) = oneshot::channel();
        self.requests.send(Request::Settle { of, reply }).await.map_err(|_| ended())?;
        settled.await.map_err(|_| ended())?
    }

    /// True if the journal holds updates of `document`. The answer holds for as long as the caller is the one who writes.
    pub(crate) fn is_in_journal(&self, document: &DocumentName) -> Result<bool, StoreError> {
        Ok(self.shared.ready()?.documents.get(document).is_some_and(|place| !place.chunks.is_empty()))
    }
}

fn ended() -> StoreError {
    StoreError::failed("the log has ended")
}

/// What the writer knows and readers look at.
struct Shared {
    database: Database,
    state: Mutex<State>,
}

impl Shared {
    /// The state, after what a former process left in the journal was read into it.
    fn ready(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state.lock().expect("no code panics while it holds the lock");
        if !state.is_ready {
            *state = State::default();
            state.recover(&self.database)?;
            state.is_ready = true;
        }
        Ok(state)
    }
}

/// What is in the journal, and where the logs of recently used documents stand. Only the writer changes it, and only after
/// the commit that makes it true.
#[derive(Default)]
struct State {
    is_ready: bool,
    documents: HashMap<DocumentName, Place>,
    /// Documents with updates in the journal, by the row with the first of them.
    unsettled: BTreeSet<(i64, DocumentName)>,
    /// Bytes of updates in the journal that must still be settled.
    bytes: usize,
    /// The journal's newest row.
    last_row: i64,
}

/// Where a document's log stands.
#[derive(Clone, Debug)]
struct Place {
    id: i64,
    /// Number of its last update.
    seq: u64,
    /// What is in the journal, and in which row.
    chunks: VecDeque<(i64, Chunk)>,
}

impl State {
    /// Reads what a former process left in the journal.
    fn recover(&mut self, database: &Database) -> Result<(), StoreError> {
        let rows = database.read_journal().map_err(|error| store_error(&error))?;
        let mut read: Vec<(i64, Chunk)> = Vec::new();
        for (row, data) in rows {
            let of_row = chunks(data).map_err(|_| unreadable(row))?;
            if of_row.iter().any(|chunk| chunk.entries().is_err()) {
                return Err(unreadable(row));
            }
            read.extend(of_row.into_iter().map(|chunk| (row, chunk)));
            self.last_row = row;
        }
        let documents: HashSet<i64> = read.iter().map(|(_, chunk)| chunk.document).collect();
        let names = database.read_names(documents.into_iter()).map_err(|error| store_error(&error))?;
        for (row, chunk) in read {
            let (name, settled) = names.get(&chunk.document).ok_or_else(|| unreadable(row))?;
            let name = DocumentName::parse(name).map_err(|_| unreadable(row))?;
            // A row goes when all of it is settled: until then part of it is in the tables too.
            if chunk.last() > *settled {
                self.appended(&name, row, chunk);
            }
        }
        Ok(())
    }

    /// An append is in the journal.
    fn appended(&mut self, document: &DocumentName, row: i64, chunk: Chunk) {
        let place = self.documents.entry(document.clone()).or_insert_with(|| Place::new(chunk.document));
        if place.chunks.is_empty() {
            self.unsettled.insert((row, document.clone()));
        }
        place.seq = chunk.last();
        self.bytes += chunk.bytes();
        place.chunks.push_back((row, chunk));
    }

    /// The first `count` chunks of `document` are in its table.
    fn settled(&mut self, document: &DocumentName, count: usize) {
        let Some(place) = self.documents.get_mut(document) else { return };
        let Some((first, _)) = place.chunks.front() else { return };
        self.unsettled.remove(&(*first, document.clone()));
        self.bytes -= place.chunks.drain(..count).map(|(_, chunk)| chunk.bytes()).sum::<usize>();
        match place.chunks.front() {
            Some((next, _)) => {
                self.unsettled.insert((*next, document.clone()));
            }
            // Most documents are written now and then, and there are many of them.
            None => place.chunks = VecDeque::new(),
        }
    }

    /// Forgets places that can be read again, if there are many.
    fn forget(&mut self) {
        if self.documents.len() > MAX_REMEMBERED + self.unsettled.len() {
            self.documents.retain(|_, place| !place.chunks.is_empty());
        }
    }
}

impl Place {
    fn new(id: i64) -> Self {
        Self { id, seq: 0, chunks: VecDeque::new() }
    }
}

fn unreadable_chunk(document: &DocumentName) -> StoreError {
    StoreError::failed(format!("{document}: the journal holds what this version cannot read"))
}

fn unreadable(row: i64) -> StoreError {
    StoreError::failed(format!(
        "row {row} of the journal cannot be read; start the version of BuildSpaces that wrote it, or restore a backup"
    ))
}

#[cfg(test)]
mod tests;
