//! Reads documents on threads of its own: a load costs one change of thread, not one for each statement.

use std::sync::{Arc, Mutex};

use buildspaces_crdt::DocumentName;
use buildspaces_rooms::ports::{StoreError, StoredDocument};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::journal::Chunk;
use super::{Shared, State, unreadable_chunk};
use crate::database::store_error;

/// Threads that load. One that reads something large does not keep everybody waiting.
const THREADS: usize = 2;

/// Loads that wait. When it is full, those who ask wait.
const QUEUE: usize = 1024;

/// Most loads that share one read transaction. A large one among them delays the others, so there are few.
const MAX_BATCH: usize = 16;

pub(super) struct Load {
    pub(super) document: DocumentName,
    pub(super) reply: oneshot::Sender<Result<StoredDocument, StoreError>>,
}

/// The threads end when the last sender is gone.
pub(super) fn start(shared: Arc<Shared>) -> mpsc::Sender<Load> {
    let (loads, waiting) = mpsc::channel(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..THREADS {
        let (shared, waiting) = (shared.clone(), waiting.clone());
        std::thread::Builder::new()
            .name("document loader".to_owned())
            .spawn(move || run(&shared, &waiting))
            .expect("the machine can start a thread");
    }
    loads
}

fn run(shared: &Shared, waiting: &Mutex<mpsc::Receiver<Load>>) {
    let mut connection = None;
    let mut batch = Vec::new();
    loop {
        {
            let mut waiting = waiting.lock().expect("no code panics while it receives");
            if waiting.blocking_recv_many(&mut batch, MAX_BATCH) == 0 {
                return;
            }
        }
        let results = read(shared, &mut connection, &batch);
        for (load, result) in batch.drain(..).zip(results) {
            let _ = load.reply.send(result);
        }
    }
}

fn read(
    shared: &Shared,
    connection: &mut Option<Connection>,
    batch: &[Load],
) -> Vec<Result<StoredDocument, StoreError>> {
    let failed = |error: StoreError| batch.iter().map(|_| Err(error.clone())).collect();
    // Before the tables are looked at: what is settled in between is seen twice.
    let tails: Vec<Vec<Chunk>> = match shared.ready() {
        Ok(state) => batch.iter().map(|load| tail(&state, &load.document)).collect(),
        Err(error) => return failed(error),
    };
    let open = connection.take().map_or_else(|| shared.database.connect_to_read(), Ok);
    let begun = open.and_then(|open| open.execute_batch("BEGIN").map(|()| open));
    let open = match begun {
        Ok(open) => open,
        Err(error) => return failed(store_error(&error)),
    };
    let mut sound = true;
    let mut one = |(load, tail): (&Load, &Vec<Chunk>)| {
        let stored = document(&open, &load.document);
        sound &= stored.is_ok();
        add_tail(stored.map_err(|error| store_error(&error))?, tail, &load.document)
    };
    let results = batch.iter().zip(&tails).map(&mut one).collect();
    // A connection that failed is not used again.
    if sound && open.execute_batch("COMMIT").is_ok() {
        *connection = Some(open);
    }
    results
}

/// What the journal holds of a document.
pub(super) fn tail(state: &State, document: &DocumentName) -> Vec<Chunk> {
    match state.documents.get(document) {
        Some(place) => place.chunks.iter().map(|(_, chunk)| chunk.clone()).collect(),
        None => Vec::new(),
    }
}

/// What the tables hold.
fn document(connection: &Connection, name: &DocumentName) -> Result<StoredDocument, rusqlite::Error> {
    let mut stored = StoredDocument::default();
    let found = connection
        .prepare_cached(
            "SELECT document.id, document_snapshot.seq, document_snapshot.data, deleted_at IS NOT NULL FROM document
             LEFT JOIN document_snapshot ON document_snapshot.document = document.id WHERE document.name = ?",
        )?
        .query_row(params![name.as_str()], |row| {
            let snapshot = match row.get::<_, Option<i64>>(1)? {
                Some(seq) => Some((seq as u64, Bytes::from(row.get::<_, Vec<u8>>(2)?))),
                None => None,
            };
            Ok((row.get::<_, i64>(0)?, snapshot, row.get::<_, bool>(3)?))
        })
        .optional()?;
    let Some((id, snapshot, is_deleted)) = found else { return Ok(stored) };
    stored.is_deleted = is_deleted;
    stored.seq = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
    stored.snapshot = snapshot;
    let mut statement = connection
        .prepare_cached("SELECT seq, data FROM document_update WHERE document = ? AND seq > ? ORDER BY seq")?;
    let mut rows = statement.query(params![id, stored.seq as i64])?;
    while let Some(row) = rows.next()? {
        stored.seq = row.get::<_, i64>(0)? as u64;
        stored.updates.push(Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?));
    }
    Ok(stored)
}

/// Adds what the journal holds beyond the tables.
fn add_tail(mut stored: StoredDocument, tail: &[Chunk], document: &DocumentName) -> Result<StoredDocument, StoreError> {
    for chunk in tail {
        if chunk.last() <= stored.seq {
            continue;
        }
        let entries = chunk.entries().map_err(|_| unreadable_chunk(document))?;
        for entry in entries {
            if entry.seq > stored.seq {
                stored.seq = entry.seq;
                stored.updates.push(entry.update);
            }
        }
    }
    Ok(stored)
}
