//! The database file and its connections.
//!
//! Rooms and runs are written through one connection of sqlx and read through a few; the log of documents, which is written all the
//! time, has connections and threads of its own ([`crate::log`]), because sqlx changes threads for each statement. Both use the
//! one SQLite that is linked. Who writes takes the [turn](Database::turn) first: SQLite lets those who wait for its lock poll,
//! and under load they would wait for seconds.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buildspaces_rooms::ports::StoreError;
use bytes::Bytes;
use rusqlite::{OpenFlags, OptionalExtension as _};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Connections of sqlx that read at the same time. A request beyond waits for one.
const READERS: u32 = 4;

/// How long a statement waits for another process that holds the database, for instance a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages of SQLite's log at which sqlx's writer checkpoints by itself. The log's own checkpoints begin long before; this one
/// is for a server in which nobody edits.
const AUTOCHECKPOINT: &str = "16384";

/// Bytes reserved for the index that SQLite's connections share: enough for a log of 512 MiB.
const INDEX: u64 = 1 << 20;

/// Free bytes below which a disk counts as full at the start.
const LEAST_SPACE: u64 = 2 * INDEX;

/// What an acknowledgement means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Flushed to disk. Survives everything but the loss of the disk.
    #[default]
    Full,
    /// Handed to the operating system. Survives the end of the process, however it ends; a loss of power takes up to the last
    /// half minute with it, and never more than the end of the log.
    Os,
    /// Accepted, and written within moments. The end of the process by force takes with it what was not written yet.
    Off,
}

/// An open database. Clones are cheap and share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    path: Arc<Path>,
    durability: Durability,
    turn: Arc<Mutex<()>>,
    writer: SqlitePool,
    reader: SqlitePool,
    /// Pages the file may have, for tests of a full disk; 0 for no bound.
    #[cfg(test)]
    pub(crate) max_pages: Arc<std::sync::atomic::AtomicU32>,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be created, read or written.
    #[error(
        "cannot open the database {path}: {source}; make sure that this user may write to its folder and that the disk has space"
    )]
    Open { path: PathBuf, source: sqlx::Error },
    /// The file is something else, or it was damaged.
    #[error(
        "{path} is not a whole database: {source}; restore a backup, or move it away to begin without its contents"
    )]
    Damaged { path: PathBuf, source: sqlx::Error },
    #[error(
        "a newer version of BuildSpaces wrote the database {path}; start that version, or choose another folder with --data"
    )]
    Newer { path: PathBuf },
    #[error("the disk that holds {path} is full; make at least {LEAST_SPACE} bytes free and start again")]
    NoSpace { path: PathBuf },
    /// A migration failed and was rolled back.
    #[error("cannot bring the database {path} up to date: {source}")]
    Migrate { path: PathBuf, source: MigrateError },
}

impl Error {
    fn open(path: &Path, source: sqlx::Error) -> Self {
        let code = source.as_database_error().and_then(|error| error.code());
        let path = path.to_owned();
        match code.as_deref() {
            // SQLITE_CORRUPT and SQLITE_NOTADB.
            Some("11" | "26") => Self::Damaged { path, source },
            _ => Self::Open { path, source },
        }
    }

    fn migrate(path: &Path, source: MigrateError) -> Self {
        match source {
            MigrateError::VersionMissing(_) => Self::Newer { path: path.to_owned() },
            MigrateError::Execute(source) => Self::open(path, source),
            source => Self::Migrate { path: path.to_owned(), source },
        }
    }
}

impl Database {
    /// Opens the database at `path`, creating it if need be, and applies what migrations it lacks.
    pub async fn open(path: &Path, durability: Durability) -> Result<Self, Error> {
        let open = |source| Error::open(path, source);
        if free_space(path).is_some_and(|free| free < LEAST_SPACE) {
            return Err(Error::NoSpace { path: path.to_owned() });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Full => SqliteSynchronous::Full,
                // Checkpoints still flush in the right order, so that a loss of power leaves a database and not a ruin.
                Durability::Os | Durability::Off => SqliteSynchronous::Normal,
            })
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", AUTOCHECKPOINT)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(open)?;
        sqlx::migrate!("./migrations").run(&writer).await.map_err(|source| Error::migrate(path, source))?;
        let reader =
            pool(READERS).connect_with(options.read_only(true).create_if_missing(false)).await.map_err(open)?;
        reserve_index(path)?;
        Ok(Self {
            path: path.into(),
            durability,
            turn: Arc::default(),
            writer,
            reader,
            #[cfg(test)]
            max_pages: Arc::default(),
        })
    }

    /// The connection that writes rooms and runs, and the turn to use it.
    pub(crate) async fn write(&self) -> Result<Writing, sqlx::Error> {
        let turn = self.turn.clone().lock_owned().await;
        Ok(Writing { connection: self.writer.acquire().await?, _turn: turn })
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whoever holds it is the one who writes. It goes to those who wait in the order in which they came.
    pub(crate) fn turn(&self) -> &Mutex<()> {
        &self.turn
    }

    /// A connection for a thread of the log that writes. Take the turn before you use it.
    pub(crate) fn connect_to_write(&self) -> Result<rusqlite::Connection, rusqlite::Error> {
        let connection = rusqlite::Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // FULL flushes SQLite's log at each commit: what is acknowledged survives a loss of power.
        let synchronous = if self.durability == Durability::Full { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // The log looks once for each document instead of once for each update.
        connection.pragma_update(None, "foreign_keys", false)?;
        #[cfg(test)]
        match self.max_pages.load(std::sync::atomic::Ordering::Relaxed) {
            0 => {}
            pages => connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?,
        }
        Ok(connection)
    }

    /// A connection for a thread of the log that reads.
    pub(crate) fn connect_to_read(&self) -> Result<rusqlite::Connection, rusqlite::Error> {
        let connection = rusqlite::Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // A document is read once and then is in memory; the system keeps the file's pages anyway.
        connection.pragma_update(None, "cache_size", -256)?;
        Ok(connection)
    }

    /// What is in the journal, in order.
    pub(crate) fn read_journal(&self) -> Result<Vec<(i64, Bytes)>, rusqlite::Error> {
        let connection = self.connect_to_read()?;
        let mut statement = connection.prepare("SELECT id, data FROM journal ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?))))?;
        rows.collect()
    }

    /// By number, the names of documents, and the last of their updates that is settled.
    pub(crate) fn read_names(
        &self,
        documents: impl Iterator<Item = i64>,
    ) -> Result<HashMap<i64, (String, u64)>, rusqlite::Error> {
        let connection = self.connect_to_read()?;
        let mut statement = connection.prepare(
            "SELECT name, (SELECT COALESCE(MAX(seq), 0) FROM document_update WHERE document = document.id)
             FROM document WHERE id = ?",
        )?;
        let mut names = HashMap::new();
        for document in documents {
            let name =
                statement.query_row([document], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))).optional()?;
            names.extend(name.map(|name| (document, name)));
        }
        Ok(names)
    }

    /// True if the database answers.
    pub async fn is_ready(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.reader).await.is_ok()
    }

    /// Writes SQLite's log back into the file and closes the connections.
    pub async fn close(&self) {
        self.reader.close().await;
        if let Ok(mut writing) = self.write().await {
            // What cannot be written back now is at the next start.
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writing).await;
        }
        self.writer.close().await;
    }
}

/// The connection that writes, for as long as it is one's turn.
pub(crate) struct Writing {
    connection: PoolConnection<Sqlite>,
    // Dropped after the connection, whose transaction ends first.
    _turn: OwnedMutexGuard<()>,
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// What the disk below `path` has left for this user; `None` if it does not say.
fn free_space(path: &Path) -> Option<u64> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(folder).ok().filter(|disk| disk.f_blocks > 0)?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Takes room on the disk for the index that SQLite maps into memory. Else, where blocks are smaller than pages of memory, a disk that is
/// full when a page is first written to would end the process (SIGBUS).
fn reserve_index(path: &Path) -> Result<(), Error> {
    let mut index = path.as_os_str().to_owned();
    index.push("-shm");
    let Ok(file) = std::fs::File::options().write(true).open(index) else { return Ok(()) };
    let reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, INDEX);
    // Closing any descriptor of a file gives up all of this process' locks on it, which are SQLite's.
    std::mem::forget(file);
    match reserved {
        Err(Errno::NOSPC | Errno::DQUOT) => Err(Error::NoSpace { path: path.to_owned() }),
        // A file system that cannot reserve is not one on which this is known to happen.
        _ => Ok(()),
    }
}

/// Options of a pool that gives no connection out twice whose transaction failed to end.
///
/// **Invariant:** a transaction begins outside of any other. SQLite ends a transaction by itself when the disk is full or
/// fails; the `ROLLBACK` that sqlx sends then fails too, and sqlx still believes to be within one. What it would begin next
/// is a savepoint, whose release can succeed without anything being written: acknowledged, and lost at the next crash.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        // The ping makes the rollback that a dropped transaction has queued happen first.
        .test_before_acquire(true)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// Tells a full disk from everything else.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(inner, _) if is_full(inner.extended_code) => {
            StoreError::Full(error.to_string().into())
        }
        _ => StoreError::failed(error.to_string()),
    }
}

/// The same for what sqlx says.
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse().ok());
    if code.is_some_and(is_full) {
        StoreError::Full(error.to_string().into())
    } else {
        StoreError::failed(error.to_string())
    }
}

/// True of the errors (extended codes of SQLite) of which more space is the cure, or may be.
fn is_full(code: i32) -> bool {
    /// The database or its log has no room on the disk.
    const FULL: i32 = 13;
    /// The index of the log has none.
    const IOERR_SHMSIZE: i32 = 4874;
    /// Nothing was written, and the system said no more than that it would not: a quota is reached (`EDQUOT`), or the disk is broken.
    const IOERR_WRITE: i32 = 778;
    matches!(code, FULL | IOERR_SHMSIZE | IOERR_WRITE)
}

#[cfg(test)]
mod tests;
