//! The database file and its connections: one that writes, a few that read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};

/// Connections that read at the same time. A request beyond waits for one.
const READERS: u32 = 4;

/// How long a statement waits for another process that holds the database, for instance a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database. Clones are cheap and share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be created, read or written, or it is not a database.
    #[error("cannot open the database {path}: {source}")]
    Open { path: PathBuf, source: sqlx::Error },
    /// It was written by a newer version, or a migration failed and was rolled back.
    #[error("cannot bring the database {path} up to date: {source}")]
    Migrate { path: PathBuf, source: sqlx::migrate::MigrateError },
}

impl Database {
    /// Opens the database at `path`, creating it if need be, and applies what migrations it lacks.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        // FULL flushes the log at each commit: what is acknowledged survives a loss of power.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(open)?;
        sqlx::migrate!("./migrations")
            .run(&writer)
            .await
            .map_err(|source| Error::Migrate { path: path.to_owned(), source })?;
        let reader =
            pool(READERS).connect_with(options.read_only(true).create_if_missing(false)).await.map_err(open)?;
        Ok(Self { writer, reader })
    }

    /// The one connection that writes. Whoever holds it keeps other writers waiting.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// True if the database answers.
    pub async fn is_ready(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.reader).await.is_ok()
    }

    /// Writes the log back into the file and closes every connection.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
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
