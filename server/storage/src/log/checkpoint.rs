//! Keeps SQLite's write-ahead log short without stopping those who write.
//!
//! A checkpoint copies pages from the log into the database file and flushes both. While that is under way others go on
//! committing, so a second, short one follows in which nobody writes; only then does SQLite begin its log from the start.

use std::cell::Cell;
use std::sync::mpsc;

use rusqlite::Connection;

use crate::Database;

/// Pages of the log (4 KiB each) from which on it is checkpointed.
const FROM: i32 = 4096;

thread_local! {
    /// Pages in the log after this thread's last commit.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Wakes the thread that checkpoints. It ends when this is dropped.
pub(super) struct Checkpoints {
    /// One wish is enough: more of them say the same.
    wishes: mpsc::SyncSender<()>,
}

impl Checkpoints {
    pub(super) fn start(database: &Database) -> Self {
        let (wishes, wished) = mpsc::sync_channel(1);
        let database = database.clone();
        std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                while wished.recv().is_ok() {
                    if let Err(error) = run(&database) {
                        tracing::warn!(%error, "the database was not checkpointed; its log grows");
                    }
                }
            })
            .expect("the machine can start a thread");
        Self { wishes }
    }

    /// To be called after each commit of a connection that [`watch`] was called with.
    pub(super) fn committed(&self) {
        if PAGES.get() >= FROM {
            // Full means that one is wished for already.
            let _ = self.wishes.try_send(());
        }
    }
}

/// Counts the log's pages at each commit of `connection`, in the thread that commits.
pub(super) fn watch(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(pages);
        Ok(())
    }));
}

fn run(database: &Database) -> Result<(), rusqlite::Error> {
    let connection = database.connect_to_write()?;
    now(&connection)?;
    let _turn = database.turn().blocking_lock();
    now(&connection)
}

/// Copies what no reader needs any more, without waiting for anybody.
pub(super) fn now(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
