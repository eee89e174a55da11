//! What the gate costs beside yrs: one keystroke, a paste, and the load of a long-lived text.
//!
//! `cargo run --release -p buildspaces-crdt --example cost`. The text is typed by a seeded author who types runs, jumps, and deletes about a
//! third of it again, as people do; no file is read. Each figure is the best of several rounds, because other programs only ever add time.
//! `-- <file>` loads a state (an update in format v1) from a file instead.

use std::hint::black_box;
use std::time::{Duration, Instant};

use buildspaces_crdt::Replica;
use buildspaces_crdt::update::{merge, parse, split};
use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{Doc, Text, Transact, Update};

const EDITS: usize = 40_000;

fn main() {
    let mut random = Random(11);
    let (state, keystrokes) = match std::env::args().nth(1) {
        Some(file) => (std::fs::read(file).expect("a file with an update"), Vec::new()),
        None => author(&mut random),
    };
    let paste = one_edit(&"x".repeat(10_000));
    report("load the state: yrs alone", || apply_to(&Doc::new(), std::slice::from_ref(&state)), 1);
    let kept = state.clone().into();
    report("load the state: behind the gate", || drop(Replica::load(Some(&kept), &[]).expect("valid")), 1);
    report("  of that, parse", || drop(black_box(parse(&state).expect("valid"))), 1);
    report("split it by 64 KiB", || drop(black_box(split(&state, 64 << 10).expect("valid"))), 1);
    report("paste of 10 kB: yrs alone", || apply_to(&Doc::new(), std::slice::from_ref(&paste)), 1);
    report("paste of 10 kB: behind the gate", || apply_gated(&mut Replica::new(), std::slice::from_ref(&paste)), 1);
    if keystrokes.is_empty() {
        return;
    }
    let typed = &keystrokes[..10_000];
    report("keystroke: yrs alone", || apply_to(&Doc::new(), typed), typed.len());
    report("keystroke: behind the gate", || apply_gated(&mut Replica::new(), typed), typed.len());
    report("  of that, parse", || typed.iter().for_each(|update| drop(black_box(parse(update)))), typed.len());
    let log: Vec<Bytes> = typed.iter().map(|update| Bytes::copy_from_slice(update)).collect();
    report("load 10,000 keystrokes from a log", || drop(Replica::load(None, &log).expect("valid")), 1);
    for turn in [2, 4, 16, 256] {
        report(&format!("merge {turn} keystrokes"), || drop(black_box(merge(&log[..turn]).expect("valid"))), 1);
        report(&format!("  yrs merges {turn}"), || drop(black_box(yrs::merge_updates_v1(&log[..turn]))), 1);
    }
}

fn apply_to(doc: &Doc, updates: &[Vec<u8>]) {
    for update in updates {
        let mut txn = doc.transact_mut();
        txn.apply_update(Update::decode_v1(update).expect("valid")).expect("valid");
    }
}

fn apply_gated(replica: &mut Replica, updates: &[Vec<u8>]) {
    for update in updates {
        replica.apply_foreign(update).expect("valid");
    }
}

/// Prints the best time of several rounds, per one of `count`.
fn report(name: &str, mut run: impl FnMut(), count: usize) {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    let mut rounds = 0;
    while rounds < 5 || (begin.elapsed() < Duration::from_millis(600) && rounds < 2_000) {
        let round = Instant::now();
        run();
        best = best.min(round.elapsed());
        rounds += 1;
    }
    let nanos = best.as_nanos() as f64 / count as f64;
    let shown = if nanos < 1e6 { format!("{:.3} us", nanos / 1e3) } else { format!("{:.3} ms", nanos / 1e6) };
    eprintln!("{name:40} {shown:>14}");
}

fn one_edit(text: &str) -> Vec<u8> {
    let mut replica = Replica::new();
    let root = replica.doc().get_or_insert_text("text");
    replica.edit(|txn| root.insert(txn, 0, text)).expect("it changes the document")
}

/// The state after all edits, and the first of them one by one.
fn author(random: &mut Random) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut replica = Replica::new();
    let root = replica.doc().get_or_insert_text("text");
    let mut keystrokes = Vec::new();
    let (mut at, mut len) = (0u32, 0u32);
    for _ in 0..EDITS {
        if random.below(40) == 0 {
            at = random.below(len + 1);
        }
        let deletes = at > 0 && random.below(100) < 29;
        let update = replica.edit(|txn| {
            if deletes {
                root.remove_range(txn, at - 1, 1);
            } else {
                root.insert(txn, at, ["e", "t", " ", "a", "o", "n"][random.below(6) as usize]);
            }
        });
        (at, len) = if deletes { (at - 1, len - 1) } else { (at + 1, len + 1) };
        if keystrokes.len() < 10_000 {
            keystrokes.extend(update);
        }
    }
    (replica.state(), keystrokes)
}

/// A small generator (xorshift): the same text each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(limit)) as u32
    }
}
