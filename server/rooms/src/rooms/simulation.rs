//! Many documents and writers on a disk with faults, with kills in between: what was acknowledged is never missing, and in the
//! end everybody has the same. Each seed is one plan; time is simulated.

use super::*;
use crate::memory::MemoryStore;
use crate::memory::faults::FaultStore;

/// With five lives each, two hundred kills.
const SEEDS: u64 = 40;
const LIVES: u64 = 5;
const DOCUMENTS: usize = 6;
const WRITERS: usize = 3;

/// Somebody with a copy of a document, who writes numbered words and sends all that is not acknowledged.
struct Writer {
    name: DocumentName,
    mark: String,
    replica: Replica,
    written: usize,
    acknowledged: usize,
}

impl Writer {
    fn word(&self, number: usize) -> String {
        format!("<{}.{number}>", self.mark)
    }

    /// Writes until the process dies.
    async fn write(&mut self, rooms: &Rooms, random: impl Fn(u64) -> u64) {
        loop {
            self.written += 1;
            let word = self.word(self.written);
            let text = self.replica.text("text");
            let changed = if random(2) == 0 { format!("{word}{text}") } else { format!("{text}{word}") };
            self.replica.set_text("text", &changed);
            tokio::time::sleep(Duration::from_millis(random(30))).await;
            if self.exchange(rooms).await.is_ok() {
                self.acknowledged = self.written;
            }
        }
    }

    /// Sends what the server lacks, and takes what it has.
    async fn exchange(&mut self, rooms: &Rooms) -> Result<(), Error> {
        let document = rooms.document(&self.name).await?;
        let theirs = document.diff(self.replica.state_vector()).await?;
        self.replica.apply(&theirs).expect("what the server sends is whole");
        document.apply_own(&Principal::system(), self.replica.state()).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_kills_and_faults_and_all_are_equal_in_the_end() {
    for seed in 0..SEEDS {
        let disk = Arc::new(MemoryStore::default());
        let mut writers: Vec<Writer> = (0..DOCUMENTS * WRITERS)
            .map(|i| Writer {
                name: DocumentName::parse(&format!("d{}", i % DOCUMENTS)).expect("valid"),
                mark: i.to_string(),
                replica: Replica::new(),
                written: 0,
                acknowledged: 0,
            })
            .collect();
        for life in 0..LIVES {
            let store = Arc::new(FaultStore::over(disk.clone(), seed * 1000 + life));
            // Memory for about two documents, so that they come and go while they are written.
            let config = Config { memory_bytes: 40_000, ..Config::default() };
            let rooms = Rooms::with_config(store.clone(), Tasks::new(), &config);
            let writing = writers.iter_mut().enumerate().map(|(i, writer)| {
                let random = oracle(seed * 1_000_000 + life * 1000 + i as u64);
                let rooms = rooms.clone();
                async move { writer.write(&rooms, random).await }
            });
            let killing = async {
                let random = oracle(seed + life * 7919);
                tokio::time::sleep(Duration::from_millis(200 + random(300))).await;
                // In some lives there is no space for a while.
                store.set_full(random(2) == 0);
                tokio::time::sleep(Duration::from_millis(random(200))).await;
                store.set_full(false);
                tokio::time::sleep(Duration::from_millis(random(300))).await;
                store.kill();
            };
            tokio::select! {
                _ = futures_util::future::join_all(writing) => unreachable!("they write for ever"),
                () = killing => {}
            }
            for writer in &writers {
                let stored = disk.load(&writer.name).await.expect("load");
                let document = crate::document::Document::load(Access::Shared, &stored).expect("the log is whole");
                let text = document.replica().text("text");
                for number in 1..=writer.acknowledged {
                    let word = writer.word(number);
                    assert!(text.contains(&word), "seed {seed}, life {life}: {word} of {} is missing", writer.name);
                }
            }
        }
        // A last life without faults.
        let rooms = Rooms::new(disk.clone(), Tasks::new());
        for _ in 0..2 {
            for writer in &mut writers {
                writer.exchange(&rooms).await.expect("no faults any more");
            }
        }
        for writer in &writers {
            assert!(writer.acknowledged > 10, "seed {seed}: only {} were acknowledged", writer.acknowledged);
            let text = rooms.document(&writer.name).await.expect("open").text().await.expect("text");
            assert_eq!(writer.replica.text("text"), text, "seed {seed}");
            for number in 1..=writer.written {
                assert_eq!(text.matches(&writer.word(number)).count(), 1, "seed {seed}");
            }
        }
    }
}

/// Numbers below what is asked for, from a seed.
fn oracle(seed: u64) -> impl Fn(u64) -> u64 {
    let state = std::cell::Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    move |below| {
        // xorshift64 (Marsaglia 2003).
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        (x >> 16) % below
    }
}
