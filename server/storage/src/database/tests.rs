//! What a start finds on disk after everything went wrong.

use std::path::Path;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::ports::{HistoryStore, Record, Store};

use super::*;
use crate::Documents;

fn wal(path: &Path) -> PathBuf {
    format!("{}-wal", path.display()).into()
}

fn shm(path: &Path) -> PathBuf {
    format!("{}-shm", path.display()).into()
}

fn name() -> DocumentName {
    DocumentName::parse("d").expect("valid")
}

fn record(seq: u64) -> Record {
    let by = PrincipalId::parse("ada").expect("valid");
    Record { seq, by, at: 1, update: Bytes::from(vec![seq as u8; 3000]) }
}

/// A database with 20 acknowledged updates, file and log as a crash would leave them.
async fn crashed(dir: &Path) -> PathBuf {
    let (path, copy) = (dir.join("live.db"), dir.join("crashed.db"));
    let database = Database::open(&path, Durability::Full).await.expect("opens");
    let store = Documents::new(&database, &Tasks::new());
    for seq in 1..=20 {
        store.append(&name(), vec![record(seq)]).await.expect("appended");
    }
    std::fs::copy(&path, &copy).expect("copied");
    std::fs::copy(wal(&path), wal(&copy)).expect("copied");
    copy
}

/// How many updates a start finds; they are the first ones, and the log goes on behind them.
async fn found(path: &Path) -> u64 {
    let database = Database::open(path, Durability::Full).await.expect("opens");
    let tasks = Tasks::new();
    let store = Documents::new(&database, &tasks);
    let stored = store.load(&name()).await.expect("loaded");
    assert_eq!(stored.updates, (1..=stored.seq).map(|seq| record(seq).update).collect::<Vec<_>>());
    store.append(&name(), vec![record(stored.seq + 1)]).await.expect("goes on");
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
    database.close().await;
    stored.seq
}

#[tokio::test]
async fn a_log_that_was_cut_or_torn_is_read_as_far_as_it_is_whole() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = crashed(dir.path()).await;
    let (file, log) = (std::fs::read(&path).expect("there"), std::fs::read(wal(&path)).expect("there"));
    let mut last = 20;
    for cut in [0, 1, 100, 4096, 5000, 20_000, log.len() / 2] {
        // A file of its own each time: the readers of the one before may still be closing theirs.
        let copy = dir.path().join(format!("cut{cut}.db"));
        std::fs::write(&copy, &file).expect("written");
        std::fs::write(wal(&copy), &log[..log.len() - cut]).expect("written");
        let now = found(&copy).await;
        assert!(
            now <= last && (now == 20) == (cut == 0),
            "{cut} bytes less leave {now} updates, less fewer left {last}"
        );
        last = now;
    }
    // A page that did not reach the disk whole.
    let copy = dir.path().join("torn.db");
    let mut torn = log.clone();
    let at = torn.len() - 2000;
    torn[at..at + 512].fill(0);
    std::fs::write(&copy, &file).expect("written");
    std::fs::write(wal(&copy), torn).expect("written");
    assert_eq!(found(&copy).await, 19);
}

#[tokio::test]
async fn missing_and_foreign_helper_files_do_no_harm() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = crashed(dir.path()).await;
    std::fs::write(shm(&path), [0xff; 32_768]).expect("written");
    assert_eq!(found(&path).await, 20);
    // After an orderly stop the file alone is everything.
    let _ = (std::fs::remove_file(wal(&path)), std::fs::remove_file(shm(&path)));
    assert_eq!(found(&path).await, 21);
}

#[tokio::test]
async fn the_index_of_the_log_has_its_room_on_the_disk_before_it_is_needed() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("new.db");
    let database = Database::open(&path, Durability::Full).await.expect("opens");
    let index = std::fs::metadata(shm(&path)).expect("there");
    assert!(index.blocks() * 512 >= INDEX, "{} of {INDEX} bytes have a place", index.blocks() * 512);
    database.close().await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_what_to_do() {
    let dir = tempfile::tempdir().expect("temp dir");
    let error = async |path: &Path| Database::open(path, Durability::Full).await.expect_err("not opened").to_string();
    let missing = error(&dir.path().join("no/such/folder.db")).await;
    assert!(missing.contains("may write to its folder"), "{missing}");

    let other = dir.path().join("other.db");
    std::fs::write(&other, "This is no database.".repeat(1000)).expect("written");
    let other = error(&other).await;
    assert!(other.contains("restore a backup"), "{other}");

    let newer = dir.path().join("newer.db");
    let database = Database::open(&newer, Durability::Full).await.expect("opens");
    let sql = "INSERT INTO _sqlx_migrations SELECT 9999, 'of tomorrow', installed_on, success, checksum, execution_time
               FROM _sqlx_migrations WHERE version = 1";
    sqlx::query(sql).execute(&mut *database.write().await.expect("its turn")).await.expect("written");
    database.close().await;
    let newer = error(&newer).await;
    assert!(newer.contains("a newer version of BuildSpaces"), "{newer}");
}

#[tokio::test]
async fn a_room_from_before_there_were_kinds_is_of_the_default_kind_and_nobodys() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("old.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.expect("opens");
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.migrations.to_mut().retain(|migration| migration.version < 11);
    migrator.run_direct(None, &mut old, false).await.expect("as it was");
    let room = "INSERT INTO room (id, title, template, created_at, created_by) VALUES ('r', 'R', 'python', 1, 'ada')";
    sqlx::query(room).execute(&mut old).await.expect("written");
    old.close().await.expect("closed");
    let database = Database::open(&path, Durability::Full).await.expect("brought up to date");
    let store = Documents::new(&database, &Tasks::new());
    let room = store.room(&RoomId::parse("r").expect("valid")).await.expect("read").expect("there");
    assert_eq!(room.tenancy, Tenancy::default());
    assert_eq!(room.tenancy.kind.as_str(), "default");
}

#[tokio::test]
async fn a_full_disk_is_told_from_other_errors_and_appends_go_on_once_there_is_space() {
    let dir = tempfile::tempdir().expect("temp dir");
    let database = Database::open(&dir.path().join("full.db"), Durability::Full).await.expect("opens");
    let store = Documents::new(&database, &Tasks::new());
    database.max_pages.store(80, std::sync::atomic::Ordering::Relaxed);
    let mut saved = 0;
    let full = loop {
        match store.append(&name(), vec![record(saved + 1)]).await {
            Ok(()) => saved += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full(_)), "{full}");
    assert!(saved > 10, "{saved} updates of a page each fit");
    for _ in 0..3 {
        let again = store.append(&name(), vec![record(saved + 1)]).await;
        assert!(matches!(again, Err(StoreError::Full(_))), "{again:?}");
        assert_eq!(store.load(&name()).await.expect("reading goes on").seq, saved);
        // So it does of what is in the journal, which cannot be settled now.
        assert!(store.log().is_in_journal(&name()).expect("known"));
        let about = store.about(&name()).await.expect("about").expect("there");
        assert_eq!((about.seq, about.changed_at), (saved, Some(1)));
        assert_eq!(store.list("", "", true, 9).await.expect("list"), [about]);
        let numbers = |from: u64| (from..=saved).collect::<Vec<_>>();
        let records = store.records(&name(), 0).await.expect("records");
        assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), numbers(1));
        assert_eq!(records[3].update, record(4).update);
        let entries = store.entries(&name(), 4, 1000).await.expect("entries");
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), numbers(5));
        assert_eq!(store.entries(&name(), 4, 2).await.expect("entries").len(), 2);
    }
    database.max_pages.store(10_000, std::sync::atomic::Ordering::Relaxed);
    store.append(&name(), vec![record(saved + 1)]).await.expect("there is space");
    assert_eq!(store.load(&name()).await.expect("loaded").seq, saved + 1);
}

#[test]
fn what_more_space_cures_is_told_from_what_is_broken() {
    let said = |code: i32| store_error(&rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
    // SQLITE_FULL and SQLITE_IOERR_SHMSIZE.
    for code in [13, 4874] {
        assert!(matches!(said(code), StoreError::Full(_)), "{code}");
    }
    // SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_IOERR_READ.
    for code in [10, 11, 266] {
        assert!(matches!(said(code), StoreError::Failed(_)), "{code}");
    }
}
