//! Documents that were opened and left give their memory back.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use buildspaces_rooms::{Config, Rooms};
use buildspaces_storage::{Database, Documents, Durability};

/// The server's. glibc's keeps what it was given, which says nothing about leaks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Documents that are opened, written and left. By hand 20,000, which take a few minutes:
/// `BUILDSPACES_TEST_LEAK_DOCUMENTS=20000 cargo nextest run -p buildspaces-storage --test leak`.
const DOCUMENTS: usize = 2000;

/// Documents before the first measurement: allocators and caches take what they keep.
const WARM_UP: usize = 4000;

/// Documents that are open at the same time.
const AT_ONCE: usize = 50;

#[tokio::test]
async fn documents_that_were_left_give_their_memory_back() {
    let documents = std::env::vars_os()
        .find_map(|(key, value)| {
            (key == "BUILDSPACES_TEST_LEAK_DOCUMENTS").then(|| value.into_string().ok()?.parse().ok())
        })
        .flatten()
        .unwrap_or(DOCUMENTS);
    let dir = tempfile::tempdir().expect("temp dir");
    let database = Database::open(&dir.path().join("leak.db"), Durability::Os).await.expect("opens");
    let (tasks, log_tasks) = (Tasks::new(), Tasks::new());
    // So little memory that every document leaves as soon as nobody uses it.
    let config = Config { memory_bytes: 1, ..Config::default() };
    let rooms = Rooms::with_config(Arc::new(Documents::new(&database, &log_tasks)), tasks.clone(), &config);
    open_and_leave(&rooms, 0..WARM_UP).await;
    let before = resident();
    open_and_leave(&rooms, WARM_UP..WARM_UP + documents).await;
    let after = resident();
    assert!(after <= before + before / 10, "{before} KiB became {after} KiB after {documents} documents");
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await + log_tasks.shutdown(Duration::from_secs(30)).await, 0);
    database.close().await;
}

async fn open_and_leave(rooms: &Rooms, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for some in numbers.chunks(AT_ONCE) {
        let visits = some.iter().map(|number| visit(rooms, *number));
        futures_util::future::join_all(visits).await;
        while rooms.documents_open() > AT_ONCE {
            tokio::task::yield_now().await;
        }
    }
    while rooms.documents_open() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn visit(rooms: &Rooms, number: usize) {
    let name = DocumentName::parse(&format!("document-{number}")).expect("valid");
    let text = "A paragraph that somebody wrote. ".repeat(30);
    let document = rooms.document(&name).await.expect("opens");
    let update = Replica::new().set_text("text", &text).expect("changed");
    document.apply_own(&Principal::system(), update).await.expect("saved");
    assert_eq!(document.text().await.expect("answers"), text);
}

/// Memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
