//! How fast the log of documents is on this machine: durable acknowledgements at a steady rate, and loads.
//!
//! `taskset -c 0 cargo bench -p buildspaces-storage --bench log -- [updates per second] [full|os|off] [folder]` measures what
//! a server on one core would see. Latencies are from the moment an update came to its acknowledgement; what comes
//! while an append of its document is under way waits for the next, as the document's actor has it.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and has no server to end its tasks"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::ports::{Record, Store};
use buildspaces_storage::{Database, Documents, Durability};
use bytes::Bytes;

const DOCUMENTS: u64 = 100;
const SECONDS: u64 = 10;
/// What one keystroke is, about.
const UPDATE: &[u8] = &[7; 30];
const SMALL_DOCUMENTS: usize = 4500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let rate: u64 = arguments.first().map_or(20_000, |rate| rate.parse().expect("a number"));
    let durability = match arguments.get(1).map_or("full", String::as_str) {
        "full" => Durability::Full,
        "os" => Durability::Os,
        "off" => Durability::Off,
        other => panic!("{other:?} is not full, os or off"),
    };
    let dir = arguments.get(2).map_or_else(
        || tempfile::tempdir().expect("a folder"),
        |folder| tempfile::tempdir_in(PathBuf::from(folder)).expect("a folder"),
    );
    let flush = flush_times(dir.path());
    report("one flush of 16 KiB", flush);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(&dir.path().join("bench.db"), durability).await.expect("opens");
        let tasks = Tasks::new();
        let store = Arc::new(Documents::new(&database, &tasks));
        appends(&store, rate).await;
        store_small(&store).await;
        loads(&store, "small documents, from the journal").await;
        assert_eq!(tasks.shutdown(Duration::from_secs(60)).await, 0);
        let tasks = Tasks::new();
        let store = Arc::new(Documents::new(&database, &tasks));
        loads(&store, "small documents, from their table").await;
        unknown(&store).await;
        large(&store).await;
        tasks.shutdown(Duration::from_secs(60)).await;
        database.close().await;
    });
}

fn record(seq: u64) -> Record {
    Record { seq, by: by(), at: 1_700_000_000_000, update: Bytes::from_static(UPDATE) }
}

fn by() -> PrincipalId {
    PrincipalId::parse("abcdefghijklmnopqrst").expect("valid")
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

async fn appends(store: &Arc<Documents>, rate: u64) {
    let (begin, cpu) = (Instant::now(), cpu());
    let documents: Vec<_> = (0..DOCUMENTS)
        .map(|document| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = name(&format!("document-{document}"));
                let due = |n: u64| begin + Duration::from_nanos((n * DOCUMENTS + document) * 1_000_000_000 / rate);
                let (mut done, mut latencies) = (0, Vec::new());
                while begin.elapsed() < Duration::from_secs(SECONDS) {
                    tokio::time::sleep_until(due(done).into()).await;
                    let now = Instant::now();
                    let waiting = (done..).take_while(|n| due(*n) <= now).count() as u64;
                    store
                        .append(&name, (done..done + waiting).map(|n| record(n + 1)).collect())
                        .await
                        .expect("appended");
                    let end = Instant::now();
                    latencies.extend((done..done + waiting).map(|n| end - due(n)));
                    done += waiting;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for document in documents {
        latencies.extend(document.await.expect("no panic"));
    }
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), self::cpu() - cpu);
    let count = latencies.len() as f64;
    println!("{:.0} updates/s of {rate} asked for, {:.2} µs of CPU each", count / elapsed, cpu * 1e6 / count);
    report("acknowledged after", latencies);
}

async fn store_small(store: &Arc<Documents>) {
    let appends = (0..SMALL_DOCUMENTS).map(|i| {
        let store = store.clone();
        async move { store.append(&name(&format!("small-{i}")), (1..=5).map(record).collect()).await.expect("appended") }
    });
    futures_util::future::join_all(appends).await;
}

async fn loads(store: &Arc<Documents>, what: &str) {
    let (begin, cpu) = (Instant::now(), cpu());
    let loads = (0..SMALL_DOCUMENTS).map(|i| {
        let store = store.clone();
        tokio::spawn(async move { assert_eq!(store.load(&name(&format!("small-{i}"))).await.expect("loaded").seq, 5) })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("no panic");
    }
    per_load(what, begin, cpu);
}

async fn unknown(store: &Arc<Documents>) {
    let (begin, cpu) = (Instant::now(), cpu());
    let loads = (0..SMALL_DOCUMENTS).map(|i| {
        let store = store.clone();
        tokio::spawn(async move { assert_eq!(store.load(&name(&format!("none-{i}"))).await.expect("loaded").seq, 0) })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("no panic");
    }
    per_load("documents that do not exist", begin, cpu);
}

fn per_load(what: &str, begin: Instant, cpu: f64) {
    let (elapsed, cpu) = (begin.elapsed(), self::cpu() - cpu);
    println!(
        "{SMALL_DOCUMENTS} loads at once, {what}: {elapsed:.1?}, {:.1} µs of CPU each",
        cpu * 1e6 / SMALL_DOCUMENTS as f64
    );
}

async fn large(store: &Arc<Documents>) {
    let name = name("large");
    store.append(&name, vec![record(1)]).await.expect("appended");
    let begin = Instant::now();
    store.save_snapshot(&name, 1, vec![7; 20 << 20]).await.expect("saved");
    println!("a snapshot of 20 MiB was saved in {:.1?}", begin.elapsed());
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(store.load(&name).await.expect("loaded").snapshot.expect("there").1.len(), 20 << 20);
        println!("and loaded in {:.1?}", begin.elapsed());
    }
}

/// What a flush alone takes here.
fn flush_times(dir: &std::path::Path) -> Vec<Duration> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(dir.join("flush")).expect("a file");
    file.write_all_at(&vec![1; 8 << 20], 0).expect("written");
    file.sync_all().expect("flushed");
    (0..300)
        .map(|i| {
            let begin = Instant::now();
            file.write_all_at(&[2; 16 << 10], i * (16 << 10)).expect("written");
            file.sync_data().expect("flushed");
            begin.elapsed()
        })
        .collect()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.2?}, p99 {:.2?}, longest {:.2?}", at(0.5), at(0.99), at(1.0));
}

/// CPU that all threads of this process have used, in seconds.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}
