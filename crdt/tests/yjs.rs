//! Holds the gate, the replica, `merge` and `split` against the real Yjs.
//!
//! `yjs/cases.mjs` makes seeded cases and checks what comes back; here each case's updates are delivered out of order, twice, late and
//! merged. `BUILDSPACES_YJS_HISTORIES` and `BUILDSPACES_YJS_SEED` choose more and others: see `crdt/tests/yjs/README.md`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use buildspaces_crdt::Replica;
use buildspaces_crdt::export::{self, Kind};
use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::update::{self, merge, split};
use bytes::Bytes;
use serde_json::Value;

/// Histories that a run of the whole suite makes: a few seconds.
const HISTORIES: u32 = 400;

/// In how many ways each history's updates are delivered. Yjs looks at what came of the first; the others are compared with
/// what it said.
const DELIVERIES: u64 = 5;

#[test]
fn whatever_the_order_of_updates_everyone_sees_what_yjs_has() {
    let cases = setting("BUILDSPACES_YJS_HISTORIES").unwrap_or(HISTORIES);
    let seed = setting("BUILDSPACES_YJS_SEED").unwrap_or(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let has_node = Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !has_node || !root.join("web/node_modules/yjs").exists() {
        // `make test` installs both before, and says so.
        let needed = setting("CI").is_some() || setting("BUILDSPACES_TEST_YJS").is_some();
        assert!(!needed, "Node.js or web/node_modules/yjs is missing: run `make setup`");
        eprintln!("skipped: Node.js or web/node_modules/yjs is missing, run `make setup` to compare with Yjs");
        return;
    }
    let mut node = Command::new("node")
        .arg(root.join("crdt/tests/yjs/cases.mjs"))
        .args([seed.to_string(), cases.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let (mut to, mut from) = (node.stdin.take().expect("piped"), node.stdout.take().expect("piped"));
    let mut done = 0;
    while done < cases {
        let Some(frame) = read_frame(&mut from) else { break };
        let mut frame = Frame { bytes: &frame };
        let mut answer = Vec::new();
        for _ in 0..frame.u32() {
            let case = Case::read(&mut frame);
            for (name, updates) in case.run(0) {
                write_bytes(&mut answer, name.as_bytes());
                write_list(&mut answer, &updates);
            }
            for delivery in 1..DELIVERIES {
                case.run(delivery);
            }
            done += 1;
        }
        send(&mut to, &answer);
    }
    finish(node, to, from, done, cases);
}

#[expect(clippy::disallowed_methods, reason = "a test's own knobs are no configuration of the server")]
fn setting(name: &str) -> Option<u32> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or(1))
}

fn finish(mut node: Child, to: ChildStdin, from: ChildStdout, done: u32, cases: u32) {
    drop(to);
    drop(from);
    let status = node.wait().expect("node ends");
    assert!(status.success(), "Yjs sees something else: what it said is above");
    assert_eq!(done, cases);
    eprintln!("{done} histories in {DELIVERIES} deliveries each: no difference");
}

struct Case {
    seed: u32,
    sent: Vec<Bytes>,
    extra: Vec<Bytes>,
    wanted: Value,
    vector: Vec<(u64, u32)>,
}

impl Case {
    fn read(frame: &mut Frame<'_>) -> Self {
        let seed = frame.u32();
        let sent = frame.list();
        let extra = frame.list();
        let wanted = serde_json::from_slice(frame.bytes()).expect("JSON");
        let vector = serde_json::from_slice(frame.bytes()).expect("JSON");
        Self { seed, sent, extra, wanted, vector }
    }

    /// Delivers the updates and returns sequences that must all give the document that Yjs has.
    fn run(&self, delivery: u64) -> Vec<(&'static str, Vec<Bytes>)> {
        let mut random = Random(u64::from(self.seed) << 20 | delivery << 16 | 0x9e37);
        let mut live = Replica::new();
        let accepted = self.deliver(&mut live, &mut random);
        self.check(&live, "the live document");
        let state = Bytes::from(live.state());
        self.check(&self.applied(std::slice::from_ref(&state), "its state"), "the document after a restart");
        let loaded = Replica::load(None, &accepted).expect("what was accepted");
        self.check(&loaded, "the document loaded from its log");
        assert!(loaded.is_same(&live), "seed {}: what is deleted after loading its log", self.seed);
        let cut = random.below(accepted.len() + 1);
        let snapshot = self.applied(&accepted[..cut], "a part of the log").state().into();
        let loaded = Replica::load(Some(&snapshot), &accepted[cut..]).expect("what was accepted");
        self.check(&loaded, "the document loaded from a snapshot and a log");
        assert!(loaded.is_same(&live), "seed {}: what is deleted after loading a snapshot and a log", self.seed);
        // A peer that is behind pulls the rest.
        let mut behind = self.applied(&accepted[..random.below(cut + 1)], "a part of the log");
        let rest = live.diff(&behind.state_vector()).expect("a state vector");
        assert_ne!(behind.apply_foreign(&rest).expect("valid"), Applied::Missing, "seed {}", self.seed);
        self.check(&behind, "a peer that pulled what it lacked");

        let merged = vec![Bytes::from(merge(&accepted).expect("accepted in this order"))];
        self.check(&self.applied(&merged, "all merged"), "all merged");
        let mut turns = Vec::new();
        let mut left = accepted.as_slice();
        while !left.is_empty() {
            let (turn, rest) = left.split_at(1 + random.below(left.len().min(5)));
            turns.push(Bytes::from(merge(turn).expect("accepted in this order")));
            left = rest;
        }
        self.check(&self.applied(&turns, "merged turns"), "merged turns");
        let size = 1 + random.below(state.len() + 20);
        let pieces: Vec<Bytes> = split(&state, size).expect("valid").into_iter().map(Bytes::from).collect();
        self.check(&self.applied(&pieces, "pieces"), "pieces");
        vec![("the state", vec![state]), ("all merged", merged), ("merged turns", turns), ("pieces", pieces)]
    }

    /// Brings everything, in some order, and again what was not taken. Returns what was accepted.
    fn deliver(&self, replica: &mut Replica, random: &mut Random) -> Vec<Bytes> {
        let mut queue: Vec<&Bytes> = self.sent.iter().chain(&self.extra).collect();
        let far = if random.below(2) == 0 { queue.len() } else { 4 };
        for at in 0..queue.len() {
            let other = at + random.below(far.min(queue.len() - at));
            queue.swap(at, other);
        }
        for _ in 0..random.below(3) {
            if !queue.is_empty() {
                let again = queue[random.below(queue.len())];
                queue.insert(random.below(queue.len() + 1), again);
            }
        }
        let mut accepted = Vec::new();
        let mut rounds = 0;
        while !queue.is_empty() {
            // Some are lost, and come again as the answer to the next SyncStep1.
            queue.retain(|update| {
                if random.below(6) == 0 {
                    return true;
                }
                let vector = replica.state_vector();
                match replica.apply_foreign(update) {
                    Ok(Applied::Changed) => accepted.push((*update).clone()),
                    Ok(Applied::Nothing) => assert_eq!(vector, replica.state_vector()),
                    Ok(Applied::Missing) => {
                        assert_eq!(vector, replica.state_vector());
                        return true;
                    }
                    Err(error) => panic!("seed {}: {error}: {update:?}", self.seed),
                }
                false
            });
            rounds += 1;
            assert!(rounds < 1_000, "seed {}: updates that can never be applied", self.seed);
        }
        accepted
    }

    fn applied(&self, updates: &[Bytes], name: &str) -> Replica {
        let mut replica = Replica::new();
        for update in updates {
            update::parse(update).unwrap_or_else(|error| panic!("seed {}: {name}: {error}", self.seed));
            let applied = replica.apply_foreign(update);
            assert!(
                matches!(applied, Ok(Applied::Changed | Applied::Nothing)),
                "seed {}: {name}: {applied:?}",
                self.seed
            );
        }
        replica
    }

    fn check(&self, replica: &Replica, name: &str) {
        let vector = read_vector(&replica.state_vector());
        assert_eq!(vector, self.vector, "seed {}: {name}: the state vector", self.seed);
        let roots = [("text", Kind::Text), ("map", Kind::Map), ("array", Kind::Array), ("xml", Kind::Xml)];
        for (root, kind) in roots {
            let mut found = export::json(replica, root, kind).expect("what Yjs made");
            if let (Kind::Xml, Value::String(xml)) = (kind, &mut found) {
                // Yjs writes what is embedded in a text of XML as an object of no content.
                *xml = EMBEDS.iter().fold(xml.clone(), |xml, embed| xml.replace(embed, "[object Object]"));
            }
            assert_eq!(found, self.wanted[root], "seed {}: {name}: {root}", self.seed);
        }
    }
}

/// What people embed in texts, as JSON.
const EMBEDS: [&str; 2] = [r#"{"image":"[[{\"x"}"#, "{}"];

fn read_vector(bytes: &[u8]) -> Vec<(u64, u32)> {
    use yrs::updates::decoder::Decode;
    let vector = yrs::StateVector::decode_v1(bytes).expect("a state vector");
    let mut clocks: Vec<_> = vector.iter().map(|(client, clock)| (client.get(), *clock)).collect();
    clocks.sort_unstable_by_key(|(client, _)| std::cmp::Reverse(*client));
    clocks
}

/// A length and that many bytes; `None` at the end.
fn read_frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len).ok()?;
    let mut frame = vec![0; u32::from_le_bytes(len) as usize];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn send(to: &mut impl Write, answer: &[u8]) {
    // If the other side found a difference it is gone, and says so in its status.
    let len = u32::try_from(answer.len()).expect("small").to_le_bytes();
    let _ = to.write_all(&len).and_then(|()| to.write_all(answer)).and_then(|()| to.flush());
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("small").to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write_list(out: &mut Vec<u8>, list: &[Bytes]) {
    out.extend_from_slice(&u32::try_from(list.len()).expect("small").to_le_bytes());
    list.iter().for_each(|bytes| write_bytes(out, bytes));
}

struct Frame<'a> {
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    fn u32(&mut self) -> u32 {
        let (head, rest) = self.bytes.split_first_chunk().expect("a whole frame");
        self.bytes = rest;
        u32::from_le_bytes(*head)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.u32() as usize;
        let (bytes, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        bytes
    }

    fn list(&mut self) -> Vec<Bytes> {
        (0..self.u32()).map(|_| Bytes::copy_from_slice(self.bytes())).collect()
    }
}

/// A small generator (xorshift), so that a failing case can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }
}
