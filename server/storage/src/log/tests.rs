//! The log on real files: what is acknowledged is found, whatever happened in between.

use std::path::Path;

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_rooms::ports::{Deletion, HistoryStore};
use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::*;
use crate::Documents;

/// A log on a file, and the tasks that end it.
struct Fixture {
    database: Database,
    log: Log,
    tasks: Tasks,
}

impl Fixture {
    async fn open(path: &Path, durability: Durability) -> Self {
        let database = Database::open(path, durability).await.expect("open");
        let tasks = Tasks::new();
        Self { log: Log::start(&database, &tasks), database, tasks }
    }

    async fn close(self) {
        assert_eq!(self.tasks.shutdown(std::time::Duration::from_secs(30)).await, 0);
        self.database.close().await;
    }

    async fn append(&self, document: &str, records: Vec<Record>) -> Result<(), StoreError> {
        self.log.append(&name(document), records).await
    }

    async fn stored(&self, document: &str) -> StoredDocument {
        self.log.load(&name(document)).await.expect("load")
    }

    async fn execute(&self, sql: &str) {
        let mut writing = self.database.write().await.expect("its turn");
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut *writing).await.expect("executed");
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(self.database.reader()).await.expect("counted")
    }
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

/// An update that tells its own number.
fn record(seq: u64) -> Record {
    sized(seq, 0)
}

/// One of `size` bytes more.
fn sized(seq: u64, size: usize) -> Record {
    let update = Bytes::from(format!("{}{seq}", "0".repeat(size)));
    Record { seq, by: PrincipalId::parse("ada").expect("valid"), at: 1, update }
}

fn numbers(stored: &StoredDocument) -> Vec<u64> {
    let number = |update: &Bytes| std::str::from_utf8(update).expect("digits").parse().expect("a number");
    stored.updates.iter().map(number).collect()
}

#[tokio::test]
async fn many_documents_share_flushes_and_are_found_in_the_journal_and_out_of_it() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("test.db");
    let first = Fixture::open(&path, Durability::Full).await;
    for round in 0..3 {
        let appends = (0..200).map(|i| {
            let (log, document) = (first.log.clone(), name(&format!("d{i}")));
            async move { log.append(&document, vec![record(2 * round + 1), record(2 * round + 2)]).await }
        });
        for result in futures_util::future::join_all(appends).await {
            result.expect("appended");
        }
    }
    let rows = first.count("journal").await;
    assert!((3..60).contains(&rows), "600 appends took {rows} flushes");
    assert_eq!(first.count("document_update").await, 0);
    assert_eq!(numbers(&first.stored("d7").await), [1, 2, 3, 4, 5, 6]);
    first.log.settle_all().await.expect("settled");
    assert_eq!((first.count("journal").await, first.count("document_update").await), (0, 1200));
    assert_eq!(numbers(&first.stored("d7").await), [1, 2, 3, 4, 5, 6]);
    first.append("d7", vec![record(7)]).await.expect("goes on where the table ends");
    assert_eq!(numbers(&first.stored("d7").await), [1, 2, 3, 4, 5, 6, 7]);
    first.close().await;

    let second = Fixture::open(&path, Durability::Full).await;
    assert_eq!(second.stored("d7").await.seq, 7);
    assert_eq!(second.stored("d199").await.seq, 6);
    assert_eq!(second.stored("never written").await, StoredDocument::default());
    second.append("d7", vec![record(8)]).await.expect("goes on where the log stands");
    second.close().await;
}

/// Copies a database as a crash of the machine would leave it: file and log as they are at this moment.
fn as_after_a_crash(path: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let file = |path: &Path| format!("{}{suffix}", path.display());
        if Path::new(&file(path)).exists() {
            std::fs::copy(file(path), file(to)).expect("copied");
        }
    }
}

#[tokio::test]
async fn what_a_crash_leaves_in_the_journal_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (path, copy) = (dir.path().join("test.db"), dir.path().join("copy.db"));
    let first = Fixture::open(&path, Durability::Full).await;
    first.append("a", vec![record(1), record(2)]).await.expect("appended");
    first.append("b", vec![record(1)]).await.expect("appended");
    first.append("a", vec![record(3)]).await.expect("appended");
    as_after_a_crash(&path, &copy);
    first.close().await;

    let second = Fixture::open(&copy, Durability::Full).await;
    assert_eq!(numbers(&second.stored("a").await), [1, 2, 3]);
    assert!(second.append("a", vec![record(3)]).await.is_err(), "a repeated number");
    second.append("a", vec![record(4)]).await.expect("goes on where the journal ends");
    second.log.settle_all().await.expect("settled");
    assert_eq!(second.count("journal").await, 0);
    assert_eq!(numbers(&second.stored("a").await), [1, 2, 3, 4]);
    assert_eq!(numbers(&second.stored("b").await), [1]);
    second.close().await;
}

#[tokio::test]
async fn a_crash_before_all_of_a_row_is_settled_brings_nothing_twice() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (path, copy) = (dir.path().join("test.db"), dir.path().join("copy.db"));
    let first = Fixture::open(&path, Durability::Full).await;
    first.append("a", vec![record(1), record(2)]).await.expect("appended");
    first.append("b", vec![record(1)]).await.expect("appended");
    // One document is settled and went on, and the rows stay for the sake of the other.
    first
        .execute(
            "INSERT INTO document_update (document, seq, at, principal, data)
             SELECT document.id, value, 1, 'ada', CAST(value AS BLOB) FROM document, json_each('[1, 2, 3]') WHERE name = 'a'",
        )
        .await;
    as_after_a_crash(&path, &copy);
    let second = Fixture::open(&copy, Durability::Full).await;
    assert_eq!(numbers(&second.stored("a").await), [1, 2, 3]);
    second.append("a", vec![record(4)]).await.expect("goes on where the table ends");
    second.log.settle_all().await.expect("settled");
    assert_eq!(numbers(&second.stored("a").await), [1, 2, 3, 4]);
    assert_eq!(numbers(&second.stored("b").await), [1]);
    second.close().await;
}

#[tokio::test]
async fn an_append_too_large_for_the_journal_does_not_overtake_what_is_in_it() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Full).await;
    log.append("a", vec![record(1)]).await.expect("appended");
    log.append("b", vec![record(1)]).await.expect("appended");
    log.append("a", vec![record(2), sized(3, 100_000)]).await.expect("appended");
    assert_eq!((log.count("journal").await, log.count("document_update").await), (1, 3));
    log.append("a", vec![record(4)]).await.expect("appended");
    assert_eq!(numbers(&log.stored("a").await), [1, 2, 3, 4]);
    assert_eq!(numbers(&log.stored("b").await), [1]);
    log.close().await;
}

#[tokio::test]
async fn one_document_is_settled_without_the_others() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Full).await;
    log.append("a", vec![record(1)]).await.expect("appended");
    log.append("b", vec![record(1)]).await.expect("appended");
    log.append("a", vec![record(2)]).await.expect("appended");
    log.log.settle(&name("a")).await.expect("settled");
    assert_eq!((log.count("document_update").await, numbers(&log.stored("a").await)), (2, vec![1, 2]));
    assert_eq!(numbers(&log.stored("b").await), [1]);
    log.log.settle(&name("never written")).await.expect("there is nothing to do");
    log.append("a", vec![record(3)]).await.expect("goes on where the table ends");
    log.log.settle_all().await.expect("settled");
    assert_eq!((log.count("journal").await, log.count("document_update").await), (0, 4));
    log.close().await;
}

#[tokio::test]
async fn a_journal_that_grows_is_settled_while_others_append() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Os).await;
    log.append("seldom", vec![record(1)]).await.expect("appended");
    for seq in 1..400 {
        log.append("often", vec![sized(seq, 20_000)]).await.expect("appended");
    }
    let settled = log.count("document_update").await;
    assert!((100..400).contains(&settled), "{settled} of 400");
    assert!(log.count("journal").await < 300);
    assert_eq!(log.stored("often").await.seq, 399);
    assert_eq!(numbers(&log.stored("often").await), (1..400).collect::<Vec<_>>());
    assert_eq!(numbers(&log.stored("seldom").await), [1]);
    log.close().await;
}

#[tokio::test]
async fn what_is_acknowledged_after_the_disk_was_full_is_on_disk() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("test.db");
    let log = Fixture::open(&path, Durability::Full).await;
    log.append("d", vec![record(1)]).await.expect("appended");
    // What SQLite does when the disk is full: it ends the transaction, or undoes the statement alone.
    for (digit, end) in [(3, "ROLLBACK"), (2, "ABORT")] {
        log.execute(&format!(
            "CREATE TRIGGER full_{end} BEFORE INSERT ON journal WHEN length(NEW.data) > {digit}000
             BEGIN SELECT RAISE({end}, 'database or disk is full'); END"
        ))
        .await;
    }
    let mut saved = 1;
    for (round, size) in [3500, 2500, 1, 3500, 3500, 2500, 2500, 1, 1].into_iter().enumerate() {
        let result = log.append("d", vec![sized(saved + 1, size)]).await;
        assert_eq!(result.is_ok(), size == 1, "{result:?}");
        saved += u64::from(result.is_ok());
        // A file of its own each time: the readers of the one before may still be closing theirs.
        let copy = dir.path().join(format!("copy{round}.db"));
        as_after_a_crash(&path, &copy);
        let others = Fixture::open(&copy, Durability::Full).await;
        assert_eq!(others.stored("d").await.seq, saved, "what others find after {size} bytes were appended");
        others.close().await;
    }
    log.close().await;
}

#[tokio::test]
async fn a_tree_change_leaves_a_document_alone_whose_updates_are_in_the_journal() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Full).await;
    log.append("d", vec![record(1)]).await.expect("appended");
    assert!(log.log.is_in_journal(&name("d")).expect("known"));
    assert!(!log.log.is_in_journal(&name("e")).expect("known"));
    log.close().await;
}

#[tokio::test]
async fn a_document_whose_numbers_are_taken_does_not_stop_the_others() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Full).await;
    log.append("broken", vec![record(1), record(2)]).await.expect("appended");
    log.append("fine", vec![record(1)]).await.expect("appended");
    log.execute(
        "INSERT INTO document_update (document, seq, at, principal, data)
         SELECT id, 2, 1, 'bo', CAST('another' AS BLOB) FROM document WHERE name = 'broken'",
    )
    .await;
    log.log.settle_all().await.expect("settled");
    assert_eq!((log.count("journal").await, log.count("document_update").await), (0, 3));
    assert_eq!(log.count("document_clash").await, 1, "what was acknowledged is kept");
    log.append("fine", vec![record(2)]).await.expect("the others go on");
    log.close().await;
}

#[tokio::test]
async fn what_is_settled_and_what_is_not_is_read_as_one_log() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = Fixture::open(&dir.path().join("test.db"), Durability::Full).await;
    let store = Documents::over(&log.database, log.log.clone());
    log.append("a", vec![record(1), record(2)]).await.expect("appended");
    log.log.settle_all().await.expect("settled");
    log.append("a", vec![record(3), record(4)]).await.expect("appended");
    log.append("b", vec![record(1)]).await.expect("appended");
    for after in 0..5 {
        let records = store.records(&name("a"), after).await.expect("read");
        assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (after + 1..5).collect::<Vec<_>>());
        let entries = store.entries(&name("a"), after, 2).await.expect("read");
        assert_eq!(
            entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
            (after + 1..5.min(after + 3)).collect::<Vec<_>>()
        );
    }
    let listed: Vec<u64> =
        store.list("", "", true, 9).await.expect("list").into_iter().map(|about| about.seq).collect();
    assert_eq!(listed, [4, 1]);
    assert_eq!((log.count("journal").await, log.count("document_update").await), (2, 2), "reading writes nothing");

    // The journal's part of an epoch that ended does not show.
    let by = PrincipalId::parse("ada").expect("valid");
    assert!(store.bury(&name("a"), &Deletion { at: 1, by }).await.expect("deleted"));
    assert!(store.begin_again(&name("a")).await.expect("again"));
    log.append("a", vec![record(5)]).await.expect("appended");
    let records = store.records(&name("a"), 0).await.expect("read");
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [5]);
    log.close().await;
}
