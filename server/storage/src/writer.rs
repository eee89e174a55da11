//! Group commit: appends of all documents that wait at the same moment share one transaction, and so one
//! flush of the disk. While it is under way the next group gathers.

use std::collections::HashMap;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::{Record, StoreError};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

/// Appends that wait for the next group. When it is full, documents wait; they keep their own queue.
const QUEUE: usize = 1024;

/// Most appends of one transaction, so that the first of them does not wait for ever.
const MAX_GROUP: usize = 512;

/// Documents whose number and place in the log are remembered. Past it the memory is emptied and read
/// again.
const MAX_REMEMBERED: usize = 16_384;

struct Append {
    document: DocumentName,
    records: Vec<Record>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// A cheap handle to the writer's task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Append>,
}

impl Writer {
    pub(crate) fn start(pool: SqlitePool, tasks: &Tasks) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE);
        tasks.spawn("log writer", run(pool, appends, tasks.clone()));
        Self { queue }
    }

    /// Appends and returns once it is flushed. If the caller goes away the append still happens.
    pub(crate) async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        let closed = || StoreError("the log writer has ended".into());
        self.queue.send(Append { document: document.clone(), records, reply }).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

/// Ends when it is told to and nothing waits any more. Stop what appends first.
async fn run(pool: SqlitePool, mut appends: mpsc::Receiver<Append>, tasks: Tasks) {
    let mut remembered: HashMap<DocumentName, Place> = HashMap::new();
    let mut group = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = appends.recv_many(&mut group, MAX_GROUP) => if count == 0 { return },
            () = tasks.cancelled() => {
                // What is queued is still taken; the next call returns it, and then zero.
                appends.close();
                if appends.recv_many(&mut group, MAX_GROUP).await == 0 {
                    return;
                }
            }
        }
        metrics::histogram!("buildspaces_append_group_size").record(group.len() as f64);
        if remembered.len() > MAX_REMEMBERED {
            remembered.clear();
        }
        match commit(&pool, &mut remembered, &group).await {
            Ok(results) => {
                for (append, result) in group.drain(..).zip(results) {
                    let _ = append.reply.send(result);
                }
            }
            Err(error) => {
                // Nothing of the group is in the log, so what was remembered may be wrong.
                remembered.clear();
                let error = StoreError(error.to_string().into());
                for append in group.drain(..) {
                    let _ = append.reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Where a document's log stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: i64,
    seq: u64,
}

/// Writes one group. The inner results tell which appends were refused for their numbers; the outer
/// error means that nothing was written.
async fn commit(
    pool: &SqlitePool,
    remembered: &mut HashMap<DocumentName, Place>,
    group: &[Append],
) -> Result<Vec<Result<(), StoreError>>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let mut results = Vec::with_capacity(group.len());
    for append in group {
        let place = match remembered.get(&append.document) {
            Some(place) => *place,
            None => find(&mut transaction, &append.document).await?,
        };
        let in_order = append.records.iter().zip(place.seq + 1..).all(|(record, expected)| record.seq == expected);
        if !in_order {
            let message =
                format!("{}: the log stands at {}, the next update has another number", append.document, place.seq);
            results.push(Err(StoreError(message.into())));
            continue;
        }
        for record in &append.records {
            insert(&mut transaction, place.id, record).await?;
        }
        let seq = append.records.last().map_or(place.seq, |record| record.seq);
        remembered.insert(append.document.clone(), Place { seq, ..place });
        results.push(Ok(()));
    }
    transaction.commit().await?;
    Ok(results)
}

/// The document's id and the number of its last update; creates the document if need be.
async fn find(connection: &mut SqliteConnection, document: &DocumentName) -> Result<Place, sqlx::Error> {
    let id = document_id(connection, document).await?;
    let seq: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM document_update WHERE document = ?")
        .bind(id)
        .fetch_one(&mut *connection)
        .await?;
    Ok(Place { id, seq: seq.unwrap_or(0) as u64 })
}

pub(crate) async fn document_id(
    connection: &mut SqliteConnection,
    document: &DocumentName,
) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO document (name) VALUES (?) ON CONFLICT (name) DO NOTHING")
        .bind(document.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT id FROM document WHERE name = ?").bind(document.as_str()).fetch_one(connection).await
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    document: i64,
    record: &Record,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO document_update (document, seq, at, principal, data) VALUES (?, ?, ?, ?, ?)")
        .bind(document)
        .bind(record.seq as i64)
        .bind(record.at)
        .bind(record.by.as_str())
        .bind(record.update.as_ref())
        .execute(connection)
        .await?;
    Ok(())
}
