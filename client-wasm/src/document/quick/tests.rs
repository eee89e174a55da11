use buildspaces_crdt::Replica;
use buildspaces_crdt::update::merge;
use yrs::Any;
use yrs::types::Attrs;

use super::*;
use crate::document::UndoId;

const CHUNKS: &[&str] = &["a", "b", "hello", "\n", "ä", "😀", "x😀y😀", "日本"];

/// One of the people of a simulated round, with the text that should be theirs.
struct Person {
    document: Document,
    of: TypeId,
    undo: UndoId,
    model: Vec<u16>,
    is_quick: bool,
    quick_edits: usize,
    last_at: usize,
}

impl Person {
    fn new(is_quick: bool) -> Self {
        let mut document = Document::new();
        let of = document.root("text", Kind::Text);
        let undo = document.new_undo(&[of], &[], 500).expect("a root");
        Self { document, of, undo, model: Vec::new(), is_quick, quick_edits: 0, last_at: 0 }
    }

    fn edit(&mut self, now: u64, random: &mut impl FnMut(u64) -> u64) {
        // Whoever is quick looks for the places at once, whoever is not never does.
        self.document.quick.walked = if self.is_quick { PATIENCE } else { 0 };
        let len = self.model.len() as u64;
        let mut index = if random(3) == 0 { len } else { random(len + 1) } as usize;
        if random(4) == 0 {
            index = self.model.len().min(index & !7);
        }
        self.last_at = index;
        if random(3) > 0 {
            let chunk = CHUNKS[random(CHUNKS.len() as u64) as usize];
            let units: Vec<u16> = chunk.encode_utf16().collect();
            let done = self.document.insert_text(now, self.of, index as u32, chunk, None);
            assert_eq!(done.is_ok(), !self.splits(index));
            if done.is_ok() {
                self.model.splice(index..index, units);
            }
        } else {
            let end = index + random(5).min(len - index as u64) as usize;
            let done = self.document.delete_text(now, self.of, index as u32, (end - index) as u32);
            assert_eq!(done.is_ok(), !self.splits(index) && !self.splits(end), "{index}..{end}");
            if done.is_ok() {
                self.model.drain(index..end);
            }
        }
        self.quick_edits += usize::from(self.document.quick.knows(self.of));
        assert_eq!(self.text(), String::from_utf16(&self.model).expect("whole characters"));
    }

    fn splits(&self, index: usize) -> bool {
        self.model.get(index).is_some_and(|unit| (0xdc00..0xe000).contains(unit))
    }

    fn text(&mut self) -> String {
        self.document.text(self.of).expect("there")
    }

    fn look(&mut self) {
        self.model = self.text().encode_utf16().collect();
    }
}

/// Three people, two of them quick, edit one text, alone and within transactions, exchange what they wrote at random, undo, and sometimes format.
#[test]
fn whoever_edits_quickly_stays_the_same_as_the_others() {
    let mut quick_edits = 0;
    for seed in 1..=150u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut people = [Person::new(true), Person::new(false), Person::new(true)];
        let mut log: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut seen = [0usize; 3];
        let is_formatted = seed % 4 == 0;
        for step in 0..200u64 {
            let who = random(3) as usize;
            let now = step * 200;
            match random(20) {
                0..=2 => {
                    let until = (seen[who] + 1 + random(12) as usize).min(log.len());
                    for (by, update) in &log[seen[who]..until] {
                        if *by != who {
                            people[who].document.apply(update).expect("valid");
                        }
                    }
                    seen[who] = seen[who].max(until);
                    people[who].look();
                }
                3 => {
                    let undo = people[who].undo;
                    if random(2) == 0 {
                        people[who].document.undo(now, undo).expect("whole");
                    } else {
                        people[who].document.redo(now, undo).expect("whole");
                    }
                    people[who].look();
                }
                4 if is_formatted => {
                    let person = &mut people[who];
                    let len = person.model.len() as u32;
                    let bold = Attrs::from([("b".into(), if random(2) == 0 { Any::Null } else { Any::Bool(true) })]);
                    let _ = person.document.format(now, person.of, len / 3, len / 3, bold);
                    person.look();
                }
                5..=7 => {
                    let person = &mut people[who];
                    person.document.begin(now, None).expect("none is open");
                    for _ in 0..=random(4) {
                        person.edit(now, &mut random);
                    }
                    person.document.commit().expect("whole");
                }
                _ => {
                    for _ in 0..=random(6) {
                        people[who].edit(now, &mut random);
                    }
                }
            }
            log.extend(people[who].document.take_updates().into_iter().map(|update| (who, update)));
        }
        let mut server = Replica::new();
        // Everyone's updates in their own order, one person after the other as far as they do not need each other's.
        let mut waiting: Vec<&[u8]> = log.iter().map(|(_, update)| update.as_slice()).collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|update| server.apply_foreign(update) == Ok(buildspaces_crdt::replica::Applied::Missing));
            assert!(waiting.len() < before, "seed {seed}: something builds on what nobody wrote");
        }
        for (who, person) in people.iter_mut().enumerate() {
            for (by, update) in &log[seen[who]..] {
                if *by != who {
                    person.document.apply(update).expect("valid");
                }
            }
            assert_eq!(person.text(), server.text("text"), "seed {seed}");
            assert!(person.document.replica.is_same(&server), "seed {seed}");
            let mut again = Replica::new();
            again.apply(&person.document.state().expect("whole")).expect("valid");
            assert_eq!(again.text("text"), server.text("text"), "seed {seed}");
            quick_edits += person.quick_edits;
        }
        let [first, second, third] = &mut people;
        let pieces = first.document.pieces(first.of);
        assert_eq!(second.document.pieces(second.of), pieces, "seed {seed}");
        assert_eq!(third.document.pieces(third.of), pieces, "seed {seed}");
    }
    assert!(quick_edits > 10_000, "{quick_edits}");
}

/// yrs writes what is deleted in whatever order the clients come; this has one order.
fn sorted(update: &[u8]) -> Vec<u8> {
    let update = bytes::Bytes::copy_from_slice(update);
    merge(&[update.clone(), update]).expect("valid")
}

/// The strictest there is: each edit is also made by yrs alone, in a document under the same id.
#[test]
fn what_is_written_is_what_yrs_would_have_written() {
    for seed in 1..=60u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut person = Person::new(true);
        let mut other = Person::new(false);
        let options = yrs::Options {
            client_id: person.document.replica.doc().client_id(),
            offset_kind: yrs::OffsetKind::Utf16,
            ..yrs::Options::default()
        };
        let alone = yrs::Doc::with_options(options);
        let text = alone.get_or_insert_text("text");
        let mut known = 0;
        for step in 0..300 {
            if random(25) == 0 {
                // Somebody else goes on from what there is, deletes more than they write, and it comes back.
                other.document.apply(&person.document.state().expect("whole")).expect("valid");
                other.look();
                other.document.take_updates();
                for _ in 0..random(12) {
                    other.edit(step, &mut random);
                }
                for update in other.document.take_updates() {
                    person.document.apply(&update).expect("valid");
                    let decoded = Update::decode_v1(&update).expect("valid");
                    yrs::Transact::transact_mut(&alone).apply_update(decoded).expect("valid");
                }
                person.look();
                continue;
            }
            let before: Vec<u16> = person.model.clone();
            person.edit(step, &mut random);
            known += usize::from(person.document.quick.knows(person.of));
            let after = &person.model;
            let written = person.document.take_updates();
            let mut txn = yrs::Transact::transact_mut(&alone);
            let Some(update) = written.first() else { continue };
            let inserted = after.len() > before.len();
            let at = person.last_at;
            if inserted {
                let chunk = String::from_utf16(&after[at..at + after.len() - before.len()]).expect("whole characters");
                yrs::Text::insert(&text, &mut txn, at as u32, &chunk);
            } else {
                yrs::Text::remove_range(&text, &mut txn, at as u32, (before.len() - after.len()) as u32);
            }
            assert_eq!(sorted(&txn.encode_update_v1()), sorted(update), "seed {seed}, step {step}");
        }
        assert!(known > 200, "{known}");
    }
}

#[test]
fn places_are_looked_for_when_it_pays() {
    let mut person = Person::new(true);
    let insert = |person: &mut Person, index| {
        person.document.insert_text(0, person.of, index, "x", None).expect("fits");
        person.document.quick.knows(person.of)
    };
    let known: Vec<bool> = (0..=PATIENCE).map(|index| insert(&mut person, index)).collect();
    assert_eq!(known.iter().filter(|known| **known).count(), 1, "only the last was quick");
    // Somebody else's change, and one's own step back, make them unknown.
    let mut other = Person::new(false);
    insert(&mut other, 0);
    for update in other.document.take_updates() {
        person.document.apply(&update).expect("valid");
    }
    assert!(!insert(&mut person, 0));
    let known: Vec<bool> = (1..=PATIENCE).map(|_| insert(&mut person, 0)).collect();
    assert_eq!(known.last(), Some(&true));
    person.document.undo(10, person.undo).expect("whole");
    assert!(!insert(&mut person, 0));
    // A text with something embedded has none.
    person.document.embed(0, person.of, 1, Any::from("image"), None).expect("fits");
    assert!((0..PATIENCE * 2).all(|_| !insert(&mut person, 0)));
}
