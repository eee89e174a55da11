//! Updates built from a fuzzer's bytes, and what must hold for a document after them.
//!
//! Bytes that are mutated blindly seldom get past the parser, so [`Builder`] makes updates that do: what they refer to, place and
//! delete is the fuzzer's choice. Start with [`check`].

#![allow(dead_code, reason = "each target uses its part")]

use std::collections::BTreeMap;

use buildspaces_crdt::Replica;
use buildspaces_crdt::export::{self, Kind};
use buildspaces_crdt::replica::{Applied, Error};
use buildspaces_crdt::update::{merge, parse, split};
use bytes::Bytes;

const ROOTS: [&str; 4] = ["t", "m", "a", "x"];

/// The fuzzer's bytes as decisions.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        u32::from(self.byte()) % limit
    }

    /// Bytes of an update that stands in the input as it is, after its length.
    pub fn update(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (update, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        update.to_vec()
    }
}

/// Makes updates of a few clients, most of which are well-formed.
#[derive(Default)]
pub struct Builder {
    /// Without formats and XML, which are never cut into pieces.
    is_plain: bool,
    clocks: BTreeMap<u64, u32>,
}

impl Builder {
    pub fn new(is_plain: bool) -> Self {
        Self { is_plain, ..Self::default() }
    }

    pub fn update(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let first = u64::from(choices.below(4)) + 1;
        let sections = choices.below(3).min(2);
        let mut clocks = self.clocks.clone();
        var(&mut out, u64::from(sections));
        for section in 0..sections {
            let client = first + u64::from(section) * 2;
            let known = self.clocks.get(&client).copied().unwrap_or(0);
            let from = if choices.below(8) == 0 { known.saturating_sub(choices.below(4)) } else { known };
            let structs = 1 + choices.below(3);
            var(&mut out, u64::from(structs));
            var(&mut out, client);
            var(&mut out, u64::from(from));
            let mut at = from;
            for _ in 0..structs {
                at += self.item(choices, &clocks, &mut out);
            }
            let clock = clocks.entry(client).or_default();
            *clock = at.max(*clock);
        }
        let deletes = choices.below(3).min(1);
        var(&mut out, u64::from(deletes));
        for _ in 0..deletes {
            var(&mut out, u64::from(choices.below(6)) + 1);
            out.push(1);
            var(&mut out, u64::from(choices.below(24)));
            var(&mut out, u64::from(choices.below(4)) + 1);
        }
        out
    }

    /// What was accepted is what the next updates go on from.
    pub fn accepted(&mut self, replica: &Replica) {
        let vector = replica.state_vector();
        let mut rest = vector.as_slice();
        self.clocks.clear();
        for _ in 0..read_var(&mut rest) {
            let client = read_var(&mut rest);
            self.clocks.insert(client, read_var(&mut rest) as u32);
        }
    }

    fn item(&self, choices: &mut Choices<'_>, clocks: &BTreeMap<u64, u32>, out: &mut Vec<u8>) -> u32 {
        let kinds = if self.is_plain {
            [0, 1, 2, 3, 4, 6, 7, 10, 11, 12, 13, 14]
        } else {
            [0, 1, 5, 8, 9, 4, 6, 7, 10, 12, 13, 14]
        };
        let (kind, len, content): (u8, u32, &[u8]) = match kinds[choices.below(12) as usize] {
            0 => (0, 2, &[2]),
            1 => (1, 1, &[1]),
            2 => (1, 3, &[3]),
            3 => (3, 1, &[2, 0, 1]),
            4 => (5, 1, b"\x02{}"),
            5 => (6, 1, b"\x01b\x04true"),
            6 => (7, 1, &[0]),
            7 => (7, 1, &[1]),
            8 => (7, 1, &[2]),
            9 => (7, 1, b"\x03\x01p"),
            10 => (8, 2, &[2, 126, 119, 1, b'v']),
            11 => (9, 1, b"\x01d\x76\x00"),
            12 => (4, 2, b"\x04\xf0\x9f\x98\x80"),
            13 => (4, 3, b"\x03abc"),
            _ => (4, 1, b"\x01x"),
        };
        let links = choices.byte();
        if kind == 0 {
            out.push(0);
        } else {
            out.push(kind | (links & 0xe0));
            if links & 0x80 != 0 {
                self.id(choices, clocks, out);
            }
            if links & 0x40 != 0 {
                self.id(choices, clocks, out);
            }
            if links & 0xc0 == 0 {
                if links & 0x10 == 0 {
                    out.extend([1, 1]);
                    out.extend_from_slice(ROOTS[usize::from(links & 3)].as_bytes());
                } else {
                    out.push(0);
                    self.id(choices, clocks, out);
                }
                if links & 0x20 != 0 {
                    out.extend([1, b'k' + (links >> 2 & 1)]);
                }
            }
        }
        out.extend_from_slice(content);
        len
    }

    fn id(&self, choices: &mut Choices<'_>, clocks: &BTreeMap<u64, u32>, out: &mut Vec<u8>) {
        let client = u64::from(choices.below(6)) + 1;
        let known = clocks.get(&client).copied().unwrap_or(0);
        var(out, client);
        // Near the end, where the lists of this update are, or anywhere.
        let back = choices.below(if known > 8 { 256 } else { 9 });
        var(out, u64::from(if back < known { known - 1 - back } else { back % (known + 1) }));
    }
}

fn var(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_var(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (first, more) = rest.split_first().expect("what we wrote");
        *rest = more;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            break;
        }
    }
    value
}

/// Lets an update in. Whatever it is, the document is sound afterwards or as it was.
pub fn apply(replica: &mut Replica, update: &[u8]) -> bool {
    let before = replica.state_vector();
    let is_known = replica.knows(update);
    match replica.apply_foreign(update) {
        Ok(Applied::Changed) => {
            assert!(!is_known, "{update:?}");
            return true;
        }
        Ok(Applied::Nothing | Applied::Missing) | Err(Error::Malformed(_) | Error::TooMuch) => {}
        Err(Error::Broken(cause)) => panic!("{cause}: {update:?}"),
    }
    assert_eq!(before, replica.state_vector());
    false
}

/// Panics end the process through the target's own check; those that are caught on purpose must not.
pub fn let_panics_be_caught() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
}

/// What people see of a document, with the clocks. Not the order: a struct may claim that its right neighbour stands left of its left
/// one, and where it goes then depends, in Yjs too, on what was there before.
fn seen(replica: &Replica) -> (Vec<u8>, Vec<Vec<char>>) {
    let sorted = |root| {
        let mut text: Vec<char> = replica.text(root).chars().collect();
        text.sort_unstable();
        text
    };
    (replica.state_vector(), ROOTS.map(sorted).to_vec())
}

/// Everything that must hold for a document that accepted these updates.
pub fn check(replica: &Replica, accepted: &[Bytes], choices: &mut Choices<'_>) {
    let state = replica.state();
    let wanted = seen(replica);
    let reloaded = Replica::load(Some(&state.clone().into()), &[]).expect("its own state");
    assert_eq!(wanted, seen(&reloaded), "after a restart from {state:?}");
    let logged = Replica::load(None, accepted).expect("what was accepted");
    assert_eq!(wanted, seen(&logged), "after a restart from {accepted:?}");
    let size = 1 + choices.byte() as usize;
    assert_eq!(wanted, seen(&sequence(&split(&state, size).expect("well-formed"))), "in pieces");
    let mut turns = Vec::new();
    let mut left = accepted;
    while !left.is_empty() {
        let (turn, rest) = left.split_at((1 + choices.below(5) as usize).min(left.len()));
        let merged = merge(turn).expect("accepted");
        parse(&merged).expect("merged");
        turns.push(Bytes::from(merged));
        left = rest;
    }
    let merged = Replica::load(None, &turns).expect("merged");
    assert_eq!(wanted, seen(&merged), "merged turns {turns:?}");
    for kind in [Kind::Text, Kind::Map, Kind::Array, Kind::Xml] {
        for root in ROOTS {
            let _ = export::json(replica, root, kind);
        }
    }
    // Whoever has a part pulls the rest.
    let mut behind =
        Replica::load(None, &accepted[..choices.below(accepted.len() as u32 + 1) as usize]).expect("a part");
    let diff = replica.diff(&behind.state_vector()).expect("a state vector");
    assert_ne!(behind.apply(&diff), Ok(Applied::Missing));
    assert_eq!(wanted, seen(&behind), "after a pull");
    // Deleting all of it reaches whatever hangs in a wrong place.
    let mut emptied = reloaded;
    let everything = delete_all(&wanted.0);
    emptied.apply_foreign(&everything).expect("deletions of what is there");
    assert_eq!(emptied.state_vector(), wanted.0);
    Replica::load(Some(&emptied.state().into()), &[]).expect("its own state");
}

fn sequence(pieces: &[Vec<u8>]) -> Replica {
    let mut replica = Replica::new();
    for piece in pieces {
        let applied = replica.apply(piece).expect("a piece");
        assert_ne!(applied, Applied::Missing, "{piece:?} of {pieces:?}");
    }
    replica
}

fn delete_all(mut vector: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    let clients = read_var(&mut vector);
    var(&mut out, clients);
    for _ in 0..clients {
        var(&mut out, read_var(&mut vector));
        out.extend([1, 0]);
        var(&mut out, read_var(&mut vector));
    }
    out
}
