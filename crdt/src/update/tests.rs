//! Inputs that are known to make yrs 0.28.1 diverge, abort or write what nobody can read, and a
//! seeded run of mutated updates. `Yjs` 13.6 made the legal ones.

use std::collections::HashMap;

use bytes::Bytes;

use super::*;
use crate::lib0::write_var_uint;
use crate::replica::{Applied, Replica};
use crate::update::gate::{Gate, Source, Verdict};
use crate::update::work::{BUDGET, Model};

mod gaps;
mod hidden;
mod settled;
mod values;

/// Three legal updates of two clients: "t", then "v" beside it, then "n".
const A: &[u8] = &[1, 1, 1, 0, 4, 1, 1, 116, 1, 116, 0];
const B: &[u8] = &[1, 1, 2, 0, 68, 1, 0, 1, 118, 0];
const C: &[u8] = &[1, 1, 1, 1, 196, 2, 0, 1, 0, 1, 110, 0];

#[test]
fn every_order_of_valid_updates_ends_in_the_text_that_yjs_has() {
    for order in [[A, B, C], [A, C, B], [B, A, C], [B, C, A], [C, A, B], [C, B, A]] {
        let mut replica = Replica::new();
        let mut queue = order.to_vec();
        while !queue.is_empty() {
            let before = queue.len();
            queue.retain(|update| replica.apply(update) == Ok(Applied::Missing));
            assert!(queue.len() < before, "no update could be applied");
        }
        assert_eq!(replica.text("t"), "vnt");
    }
}

#[test]
fn what_yrs_handles_wrongly_is_refused_with_its_reason() {
    let check = |update: &[u8], reason: &str| {
        let error = parse(update).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    };
    check(&[1, 1, 1, 0, 2, 1, 1, 97, 1, 1, 49, 0], "legacy JSON");
    check(&[1, 1, 1, 0, 7, 1, 1, 120, 5, 1, 112, 0], "XML hook");
    check(&[1, 1, 1, 0, 10, 3, 0], "gap");
    check(&[1, 1, 1, 1, 0xc4, 1, 0, 1, 0, 1, b'x', 0], "itself");
    check(&[1, 1, 1, 1, 0x84, 1, 1, 1, b'x', 0], "builds on itself");
    check(&[1, 1, 1, 1, 0x27, 0, 1, 2, 1, b'k', 1, 0], "a later one");
    check(&[0xff, 0xff, 0xff, 0x7f], "count larger");
    check(&[0, 0, 0], "bytes after");
    check(&[1, 1, 1, 0, 4, 1, 1, 116, 1, 0xff, 0], "UTF-8");
    check(&[0, 1, 1, 1, 0, 0], "impossible range");
    let mut deep = vec![1, 1, 1, 0, 8, 1, 1, 97, 1];
    deep.extend(std::iter::repeat_n([117, 1], 10_000).flatten());
    deep.extend([126, 0]);
    check(&deep, "nested");
}

#[test]
fn deletions_of_unknown_elements_wait() {
    let delete = [0, 1, 1, 1, 0, 1];
    let mut replica = Replica::new();
    assert_eq!(replica.apply(&delete), Ok(Applied::Missing));
    replica.apply(A).expect("valid");
    assert_eq!(replica.apply(&delete), Ok(Applied::Changed));
    assert_eq!(replica.text("t"), "");
}

/// What yrs alone answers with a panic, a hang or a read of freed memory: see `crdt/tests/hostile/README.md`.
#[test]
fn inputs_that_bring_yrs_down_are_harmless_behind_the_gate() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut sequences = 0;
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("text");
            let mut replica = Replica::new();
            for update in text.lines().map(unhex) {
                if let Err(crate::replica::Error::Broken(cause)) = replica.apply_foreign(&update) {
                    panic!("{}: {cause}", path.display());
                }
            }
            let copy = Replica::load(Some(&replica.state().into()), &[]).expect("its own state");
            // Not the bytes: yrs writes the entries of a map in any order.
            let seen = |replica: &Replica| (replica.state_vector(), replica.state().len(), replica.text("t"));
            assert_eq!(seen(&copy), seen(&replica), "{}", path.display());
            sequences += 1;
        }
    }
    assert!(sequences >= 6);
}

fn unhex(line: &str) -> Vec<u8> {
    let digits: Vec<u8> = line.bytes().map(|c| (c as char).to_digit(16).expect("a hexadecimal digit") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn counts_that_nothing_follows_reserve_no_memory() {
    const BOMB: &[u8] = &[0xff, 0xff, 0xff, 0x7f];
    let check = |before: &[u8], after: &[u8]| {
        let update = [before, BOMB, after].concat();
        assert!(parse(&update).is_err(), "{update:?}");
    };
    check(&[], &[]);
    check(&[1], &[1, 0, 4, 1, 1, b't', 1, b'x', 0]);
    check(&[0], &[]);
    check(&[0, 1, 1], &[0, 1]);
    check(&[1, 1, 1, 0, 4, 1], &[b't', 1, b'x', 0]);
    check(&[1, 1, 1, 0, 4, 1, 1, b't'], &[b'x', 0]);
    check(&[1, 1, 1, 0, 8, 1, 1, b'a'], &[126, 0]);
    check(&[1, 1, 1, 0, 8, 1, 1, b'a', 1, 117], &[126, 0]);
    check(&[1, 1, 1, 0, 8, 1, 1, b'a', 1, 118], &[1, b'k', 126, 0]);
    check(&[1, 1, 1, 0, 8, 1, 1, b'a', 1, 116], &[1, 0]);
    assert!(check_state_vector(BOMB).is_err());
    assert!(check_state_vector(&[2, 1, 1, 1, 2]).is_err(), "a client twice");
    assert!(check_state_vector(&[2, 1, 1, 2, 2, 0]).is_err(), "bytes after it");
    assert!(check_state_vector(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "a clock that is too large");
    assert_eq!(check_state_vector(&[2, 2, 1, 1, 2]), Ok(()));
    // Clients without structs: yrs recurses over them.
    let mut empty = Vec::new();
    write_var_uint(&mut empty, 30_000);
    for client in 0..30_000 {
        empty.push(0);
        write_var_uint(&mut empty, client);
        empty.push(0);
    }
    empty.push(0);
    assert!(parse(&empty).is_err());
}

#[test]
fn integers_that_overflow_in_yrs_are_refused() {
    // -2^63, which cannot be negated.
    let update = [&[1, 1, 1, 0, 8, 1, 1, b'a', 1, 125, 0xc0][..], &[0x80; 8], &[2, 0]].concat();
    assert!(parse(&update).is_err());
}

#[test]
fn an_embed_that_is_not_json_leaves_the_document_as_it_was() {
    let mut replica = Replica::new();
    replica.apply_foreign(A).expect("valid");
    let embed = [&[1, 1, 2, 0, 0x85, 1, 0, 3][..], b"{{{", &[0]].concat();
    assert!(matches!(replica.apply_foreign(&embed), Err(crate::replica::Error::Malformed(_))));
    assert_eq!(replica.apply_foreign(&[1, 1, 2, 0, 0x84, 1, 0, 1, b'!', 0]), Ok(Applied::Changed));
    assert_eq!(replica.text("t"), "t!");
    // Brackets in a string are no nesting.
    let text = format!("\"{}\\\"[\"", "[".repeat(100));
    let mut embed = vec![1, 1, 2, 1, 0x85, 2, 0];
    crate::lib0::write_var_bytes(&mut embed, text.as_bytes());
    embed.push(0);
    assert_eq!(replica.apply_foreign(&embed), Ok(Applied::Changed));
}

#[test]
fn a_struct_lies_in_one_list_of_a_shared_type() {
    let refused = |before: &[&[u8]], update: &[u8]| {
        let mut replica = Replica::new();
        for update in before {
            assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed), "{update:?}");
        }
        let state = (replica.state(), replica.state_vector());
        let refused = matches!(replica.apply_foreign(update), Err(crate::replica::Error::Malformed(_)));
        assert!(!refused || state == (replica.state(), replica.state_vector()));
        // Whatever the gate noted of a refused update is forgotten: what is valid is taken still.
        replica.apply_foreign(&[1, 1, 1, 1, 0x84, 1, 0, 1, b'!', 0]).expect("valid");
        refused
    };
    // "x" in the text "t" of client 2, and "y" at the key "k" of the map "m" of client 3.
    let x: &[u8] = &[1, 1, 2, 0, 4, 1, 1, b't', 1, b'x', 0];
    let y: &[u8] = &[1, 1, 3, 0, 0x28, 1, 1, b'm', 1, b'k', 1, 119, 1, b'y', 0];
    assert!(!refused(&[A, x], &[1, 1, 4, 0, 0xc4, 1, 0, 2, 0, 1, b'z', 0]), "between two of one list");
    assert!(refused(&[A, y], &[1, 1, 4, 0, 0xc4, 1, 0, 3, 0, 1, b'z', 0]), "between two of two lists");
    assert!(refused(&[A], &[1, 1, 4, 0, 0x04, 0, 1, 0, 1, b'z', 0]), "inside of text");
    assert!(refused(&[A, y], &[1, 1, 4, 0, 0x28, 0, 3, 0, 1, b'k', 1, 126, 0]), "inside of a value");
    // The rest of a struct that is known in part lies beside that part.
    assert!(refused(&[A, y], &[1, 1, 3, 0, 8, 1, 1, b'a', 2, 126, 126, 0]), "elsewhere than its beginning");
    // The same in pieces.
    let in_pieces = |root: u8| [1, 2, 2, 0, 4, 1, 1, root, 1, b'x', 0x84, 2, 0, 1, b'z', 0];
    assert!(!refused(&[A, x], &in_pieces(b't')), "where its beginning is");
    assert!(refused(&[A, x], &in_pieces(b'm')), "elsewhere than the piece before it");
    let collected: &[u8] = &[1, 1, 2, 0, 0, 1, 0];
    assert!(refused(&[A, collected], &in_pieces(b'm')), "beside what was collected");
    let deleted_in_pieces = [1, 2, 2, 0, 1, 1, 1, b'm', 1, 0x81, 2, 0, 1, 0];
    assert!(refused(&[A, x], &deleted_in_pieces), "came deleted, elsewhere than the piece before it");
    // A type that was deleted before this document saw it is no type any more, but what others placed into it may come.
    let deleted: &[u8] = &[1, 1, 2, 0, 0x21, 1, 1, b'm', 1, b'k', 1, 0];
    let within: &[u8] = &[1, 2, 4, 0, 0x28, 0, 2, 0, 1, b'k', 1, 126, 0x28, 0, 4, 0, 1, b'k', 1, 126, 0];
    for gone in [deleted, collected] {
        assert!(!refused(&[A, gone], within));
    }
    assert!(refused(&[A, x], within));
}

/// Someone lies of elements of theirs that were collected: that they lie in a type that is there.
#[test]
fn what_goes_on_behind_what_was_collected_is_collected() {
    let array: &[u8] = &[1, 1, 9, 0, 7, 1, 1, b'r', 0, 0];
    let map: &[u8] = &[1, 1, 9, 0, 7, 1, 1, b'r', 1, 0];
    let collected: &[u8] = &[1, 1, 2, 0, 0, 3, 0];
    let rest: &[u8] = &[1, 1, 2, 3, 0x84, 2, 2, 3, b'd', b'e', b'f', 0];
    let whole = [1, 1, 2, 0, 4, 0, 9, 0, 6, b'a', b'b', b'c', b'd', b'e', b'f', 0];
    let in_pieces = [1, 2, 2, 0, 4, 0, 9, 0, 3, b'a', b'b', b'c', 0x84, 2, 2, 3, b'd', b'e', b'f', 0];
    let of_key = [1, 1, 2, 0, 0x24, 0, 9, 0, 1, b'k', 6, b'a', b'b', b'c', b'd', b'e', b'f', 0];
    for (of, sent) in [(array, &whole[..]), (array, &in_pieces), (map, &of_key)] {
        let mut replica = Replica::new();
        let log: Vec<Bytes> = [of, collected, sent]
            .map(|update| {
                assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed), "{update:?}");
                replica.completed(Bytes::copy_from_slice(update))
            })
            .into();
        assert_eq!(log[2], rest, "only what is new is kept and passed on");
        for loaded in [Replica::load(None, &log), Replica::load(Some(&replica.state().into()), &[])] {
            assert_eq!(loaded.expect("loaded").state(), replica.state());
        }
        assert_eq!(replica.apply_foreign(sent), Ok(Applied::Nothing));
    }
}

/// Merged, the string would be there still when its child comes: yrs fails half-way then.
#[test]
fn what_was_no_type_when_it_came_never_takes_a_child() {
    let mut replica = Replica::new();
    replica.apply_foreign(A).expect("valid");
    replica.apply_foreign(&[0, 1, 1, 1, 0, 1]).expect("valid");
    let child = [1, 1, 4, 0, 0x28, 0, 1, 0, 1, b'k', 1, 126, 0];
    assert!(matches!(replica.apply_foreign(&child), Err(crate::replica::Error::Malformed(_))));
    // From a state in which it is only known as deleted, nobody can tell, and yrs collects the child.
    let mut loaded = Replica::load(Some(&replica.state().into()), &[]).expect("its own state");
    assert_eq!(loaded.apply_foreign(&child), Ok(Applied::Changed));
    // What was noted of an update that came too early is forgotten.
    let early = [1, 1, 5, 0, 0x21, 1, 1, b'm', 1, b'k', 1, 1, 9, 1, 0, 1];
    assert_eq!(replica.apply_foreign(&early), Ok(Applied::Missing));
    replica.apply_foreign(&[1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0]).expect("valid");
    let child = [1, 1, 4, 0, 0x28, 0, 5, 0, 1, b'k', 1, 126, 0];
    assert!(matches!(replica.apply_foreign(&child), Err(crate::replica::Error::Malformed(_))));
}

/// One struct each of `clients` clients, in this order; each builds on the one that `before` names.
fn chain(clients: u64, before: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
    let mut update = Vec::new();
    write_var_uint(&mut update, clients);
    for client in 0..clients {
        update.push(1);
        write_var_uint(&mut update, client + 1);
        update.push(0);
        match before(client) {
            Some(before) => {
                update.push(0x84);
                write_var_uint(&mut update, before + 1);
                update.push(0);
            }
            None => update.extend([4, 1, 1, b't']),
        }
        update.extend([1, b'x']);
    }
    update.push(0);
    update
}

#[test]
fn the_order_of_an_update_does_not_make_its_verdict_slow() {
    const CLIENTS: u64 = 100_000;
    let verdict = |update: &[u8]| Gate::default().admit(&parse(update).expect("well-formed"), Source::Own);
    // Quadratic, these would take minutes.
    let backwards = chain(CLIENTS, |client| (client + 1 < CLIENTS).then_some(client + 1));
    assert_eq!(verdict(&backwards), Ok(Verdict::Ready));
    let circle = chain(CLIENTS, |client| Some((client + 1) % CLIENTS));
    assert_eq!(verdict(&circle), Ok(Verdict::Missing));
}

#[test]
fn too_many_clients_are_refused_to_clients_and_loaded_from_the_log() {
    let too_many = chain(MAX_CLIENTS_PER_UPDATE as u64 + 1, |client| client.checked_sub(1));
    assert!(matches!(Replica::new().apply_foreign(&too_many), Err(crate::replica::Error::Malformed(_))));
    assert_eq!(Replica::new().apply(&too_many), Ok(Applied::Changed));
    assert_eq!(Replica::new().apply_whole(&too_many), Ok(Applied::Changed));
    let far_too_many = chain(MAX_CLIENTS_PER_DOCUMENT as u64 + 1, |_| None);
    assert!(matches!(Replica::new().apply_whole(&far_too_many), Err(crate::replica::Error::Malformed(_))));
}

/// One collected element each of clients whose ids have the same 21 last bits, highest first.
fn alike(clients: u64) -> Vec<u8> {
    let mut update = Vec::new();
    write_var_uint(&mut update, clients);
    for client in (1..=clients).rev() {
        update.push(1);
        write_var_uint(&mut update, client << 21);
        update.extend([0, 0, 1]);
    }
    update.push(0);
    update
}

#[test]
fn ids_that_end_alike_keep_nobody_busy() {
    // yrs looks through all whose ids end alike; with what is tried here, for hours.
    const MANY: u64 = 1_000_000;
    let pairs = |clients: u64, each: &[u8]| {
        let mut bytes = Vec::new();
        write_var_uint(&mut bytes, clients);
        for client in (1..=clients).rev() {
            write_var_uint(&mut bytes, client << 21);
            bytes.extend_from_slice(each);
        }
        bytes
    };
    let mut replica = Replica::new();
    replica.apply_foreign(A).expect("valid");
    let most = MAX_CLIENTS_PER_STATE_VECTOR as u64;
    assert_eq!(replica.diff(&pairs(most, &[1])), Ok(replica.state()));
    for too_many in [most + 1, MANY] {
        assert_eq!(replica.diff(&pairs(too_many, &[1])), Err(Malformed("a state vector of too many clients")));
    }
    let deletes = [vec![0], pairs(MANY, &[1, 0, 1])].concat();
    assert_eq!(replica.apply_foreign(&deletes), Ok(Applied::Missing));
    assert!(!replica.knows(&deletes));
    assert!(replica.apply_foreign(&alike(MANY)).is_err() && replica.apply_whole(&alike(MANY)).is_err());
    assert!(!replica.knows(&alike(MANY)));
    // A few are nothing to yrs, and so are many of which few are alike.
    assert_eq!(replica.apply_foreign(&alike(1000)), Ok(Applied::Changed));
    assert!(replica.apply_foreign(&alike(1100)).is_err(), "a hundred more");
    let mut replica = Replica::new();
    assert_eq!(replica.apply_whole(&chain(20_000, |_| None)), Ok(Applied::Changed));
    assert_eq!(
        Replica::load(Some(&replica.state().into()), &[]).expect("its own state").state_vector(),
        replica.state_vector()
    );
}

#[test]
fn ranges_that_are_deleted_many_times_are_refused_to_clients_and_deleted_once_from_the_log() {
    const TIMES: u64 = 300_000;
    let mut replica = Replica::new();
    let deletes = |range: &dyn Fn(u64) -> (u64, u64)| {
        let mut update = vec![0, 1];
        write_var_uint(&mut update, 7);
        write_var_uint(&mut update, TIMES);
        for time in 0..TIMES {
            let (clock, len) = range(time);
            write_var_uint(&mut update, clock);
            write_var_uint(&mut update, len);
        }
        update
    };
    let mut typed = vec![1];
    write_var_uint(&mut typed, 100_000);
    typed.extend([7, 0]);
    (0..100_000_u32).for_each(|_| typed.extend([4, 1, 1, b't', 1, b'x']));
    typed.push(0);
    // Each stands before the ones before it, so that yrs joins none.
    replica.apply_whole(&typed).expect("valid");
    let same = deletes(&|_| (1, 99_998));
    let backwards = deletes(&|time| (TIMES - time, 1));
    for tangled in [&same, &backwards] {
        assert!(!replica.knows(tangled));
        assert_eq!(
            replica.apply_foreign(tangled),
            Err(Malformed("a delete set whose ranges overlap or are out of order").into())
        );
    }
    assert_eq!(replica.apply(&same), Ok(Applied::Changed), "it was let in before there was this rule");
    assert!(!replica.knows(&backwards) && replica.knows(&[0, 1, 7, 2, 1, 5, 9, 1]));
    assert_eq!(replica.text("t").len(), 2);
}

#[test]
fn a_value_of_a_key_is_never_left_in_part() {
    // A text as the value of a key, as older yrs writes attributes; "abc" at (4, 0) in a type at (2, 0).
    let value: &[u8] = &[2, 1, 2, 0, 7, 1, 1, b'a', 2, 1, 4, 0, 0x24, 0, 2, 0, 1, b'k', 3, b'a', b'b', b'c', 0];
    let after = |at: u8| [1, 1, 1, 0, 0x88, 4, at, 1, 126, 0];
    let before = |at: u8| [1, 1, 1, 0, 0x48, 4, at, 1, 126, 0];
    let deletion = |from: u8, len: u8| [0, 1, 4, 1, from, len];
    let with = |update: &[u8]| {
        let mut replica = Replica::new();
        assert_eq!(replica.apply_foreign(value), Ok(Applied::Changed));
        let state = replica.state();
        let applied = replica.apply_foreign(update);
        assert!(applied == Ok(Applied::Changed) || replica.state() == state);
        applied
    };
    let refused = || Err(Malformed("a change that leaves a part of a key's value").into());
    for at in [0, 1] {
        assert_eq!(with(&after(at)), refused());
        assert_eq!(with(&before(at + 1)), refused());
    }
    for (from, len) in [(1, 1), (1, 2), (2, 1)] {
        assert_eq!(with(&deletion(from, len)), refused());
    }
    // What is before a cut is deleted, by the same update or by one before.
    let cut_and_deleted = [1, 1, 1, 0, 0x88, 4, 0, 1, 126, 1, 4, 2, 0, 1, 1, 1];
    for whole in [
        &after(2)[..],
        &before(0),
        &deletion(0, 3),
        &[0, 1, 2, 1, 0, 1],
        &deletion(0, 1),
        &deletion(0, 2),
        &cut_and_deleted,
    ] {
        assert_eq!(with(whole), Ok(Applied::Changed), "{whole:?}");
    }
    // The same where the key's list is the only one.
    let mut replica = Replica::new();
    let first = [1, 1, 4, 0, 0x24, 1, 1, b'm', 1, b'k', 3, b'a', b'b', b'c', 0];
    assert_eq!(replica.apply_foreign(&first), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&after(0)), refused());
    assert_eq!(replica.apply_foreign(&deletion(0, 1)), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&deletion(2, 1)), refused());
    assert_eq!(replica.apply_foreign(&after(1)), refused());
    assert_eq!(replica.apply_foreign(&after(0)), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&deletion(1, 2)), Ok(Applied::Changed));
    // Found by fuzzing: in one update with the type's deletion, after which yrs read what it had freed.
    let found: [&[u8]; 2] = [
        b"\x02\x02\x02\0\x07\x01\x01a\x02a\x04\0\x01\x03\x04\0$\0\x02\0\x01k\x03abc\x01\x01\x01x\x01\0\x02\x01\x02\x01\0\x01",
        b"\x01\x01\x01\0\x81\x04\0\x01\0",
    ];
    let mut replica = Replica::new();
    assert_eq!(replica.apply_foreign(found[0]), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(found[1]), refused());
    let both = merge(&found.map(Bytes::from_static)).expect("well-formed");
    assert_eq!(Replica::new().apply_foreign(&both), refused());
}

/// A map in a map in a map: `depth` of them, of one client from `clock` on, inside `outer`.
fn maps(depth: u64, clock: u64, outer: Option<u64>) -> Vec<u8> {
    let mut update = vec![1];
    write_var_uint(&mut update, depth);
    update.push(7);
    write_var_uint(&mut update, clock);
    for at in clock..clock + depth {
        update.push(0x27);
        match at.checked_sub(1).filter(|_| at > clock).or(outer) {
            Some(parent) => {
                update.extend([0, 7]);
                write_var_uint(&mut update, parent);
            }
            None => update.extend([1, 1, b'm']),
        }
        update.extend([1, b'a', 1]);
    }
    update.push(0);
    update
}

#[test]
fn types_nest_only_so_deep_that_deleting_them_is_safe() {
    let limit = u64::from(MAX_NESTING);
    let mut replica = Replica::new();
    assert_eq!(replica.apply_foreign(&maps(limit, 0, None)), Ok(Applied::Changed));
    // One deeper is too deep, in an update of its own too and after the document was loaded again.
    let deeper = maps(1, limit, Some(limit - 1));
    assert!(replica.apply_foreign(&deeper).is_err());
    let mut loaded = Replica::new();
    loaded.apply(&replica.state()).expect("its own state");
    assert!(loaded.apply_foreign(&deeper).is_err());
    // So is one beside something that lies there.
    let beside = [1, 1, 8, 0, 0x87, 7, 0xff, 1, 1, 0];
    assert_eq!(loaded.apply_foreign(&beside), Ok(Applied::Changed));
    let within = [1, 1, 8, 1, 0x27, 0, 8, 0, 1, b'a', 1, 0];
    assert!(loaded.apply_foreign(&within).is_err());
    assert_eq!(loaded.apply_foreign(&maps(1, limit, Some(0))), Ok(Applied::Changed));
    // The outermost, with all that is in it.
    assert_eq!(loaded.apply_foreign(&[0, 1, 7, 1, 0, 1]), Ok(Applied::Changed));
    assert!(Replica::new().apply_foreign(&maps(100_000, 0, None)).is_err());
}

/// Text of `client` from `clock` on, between two elements of the root type "t".
fn typed(client: u64, clock: u32, text: &str, between: [Option<Id>; 2]) -> Vec<u8> {
    let mut update = vec![1, 1];
    write_var_uint(&mut update, client);
    write_var_uint(&mut update, u64::from(clock));
    let flags = between.map(|id| id.is_some());
    update.push(4 | if flags[0] { HAS_LEFT } else { 0 } | if flags[1] { HAS_RIGHT } else { 0 });
    for id in between.into_iter().flatten() {
        write_var_uint(&mut update, id.client);
        write_var_uint(&mut update, u64::from(id.clock));
    }
    if between == [None; 2] {
        update.extend([1, 1, b't']);
    }
    write_var_uint(&mut update, text.len() as u64);
    update.extend(text.as_bytes());
    update.push(0);
    update
}

#[test]
fn the_model_puts_everything_where_yrs_does() {
    let mut random = Random(29);
    for _ in 0..300 {
        let (mut model, mut replica) = (Model::default(), Replica::new());
        let (mut clocks, mut letters) = ([0u32; 5], HashMap::new());
        let mut updates = Vec::new();
        for _ in 0..random.below(60) {
            let client = random.below(clocks.len());
            // Anywhere at all, as neighbours that others have separated since.
            let order = model.elements().pop().unwrap_or_default();
            let from = random.below(order.len() + 1);
            let to = from + random.below(order.len() + 1 - from);
            let id = |at: usize| order.get(at).map(|(client, clock)| Id { client: *client, clock: *clock });
            let between = [from.checked_sub(1).and_then(id), id(to)];
            let text: String = (0..=random.below(3))
                .map(|at| {
                    let letter = char::from(b' ' + (letters.len() % 95) as u8);
                    letters.insert((client as u64, clocks[client] + at as u32), letter);
                    letter
                })
                .collect();
            let update = typed(client as u64, clocks[client], &text, between);
            clocks[client] += text.len() as u32;
            model.integrate(&parse(&update).expect("well-formed"), BUDGET).expect("few steps");
            assert_eq!(replica.apply(&update), Ok(Applied::Changed));
            updates.push(Bytes::from(update));
            let expected: String = model.elements().iter().flatten().map(|element| letters[element]).collect();
            assert_eq!(replica.text("t"), expected);
        }
        // At once they come in another order. Nobody honest names such neighbours, so what comes out may be another text too.
        let mut at_once = Model::default();
        let merged = merge(&updates).expect("valid");
        at_once.integrate(&parse(&merged).expect("well-formed"), BUDGET).expect("few steps");
        let mut replica = Replica::new();
        replica.apply(&merged).expect("valid");
        let expected: String = at_once.elements().iter().flatten().map(|element| letters[element]).collect();
        assert_eq!(replica.text("t"), expected);
    }
}

#[test]
fn what_would_take_yrs_minutes_is_put_together_in_another_way_or_refused() {
    // Two people who each put 7,000 lines at the head of one list, one by one, before they hear of each other.
    let lines = |client: u64| {
        let mut list = vec![1];
        write_var_uint(&mut list, 7000);
        write_var_uint(&mut list, client);
        list.extend([0, 4, 1, 1, b't', 1, b'x']);
        for before in 0..6999u64 {
            list.push(4 | HAS_RIGHT);
            write_var_uint(&mut list, client);
            write_var_uint(&mut list, before);
            list.extend([1, b'x']);
        }
        list.push(0);
        list
    };
    let (of_one, of_two) = (lines(1), lines(2));
    let mut replica = Replica::new();
    assert_eq!(replica.apply_foreign(&of_one), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&of_two), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&of_two), Ok(Applied::Nothing));
    let mut other_way = Replica::new();
    other_way.apply_foreign(&of_two).expect("valid");
    other_way.apply_foreign(&of_one).expect("valid");
    assert!(replica.is_same(&other_way) && replica.text("t").len() == 14_000);
    // What was put together goes on.
    let update = replica.set_text("t", "short").expect("it changes");
    assert_eq!(other_way.apply_foreign(&update), Ok(Applied::Changed));
    assert_eq!(other_way.text("t"), "short");

    // A key that is set over and over as if nobody had before: no order helps.
    let mut key = vec![1];
    write_var_uint(&mut key, 10_000);
    key.extend([7, 0]);
    for _ in 0..10_000 {
        key.extend([0x28, 1, 1, b'm', 1, b'k', 1, 126]);
    }
    key.push(0);
    let before = replica.state();
    assert_eq!(replica.apply_foreign(&key), Err(crate::replica::Error::TooMuch));
    assert_eq!(replica.state(), before);
    assert_eq!(replica.apply_foreign(&typed(9, 0, "on", [None, None])), Ok(Applied::Changed));

    // A text that is cut behind each of its letters.
    let mut cut = vec![0, 1, 9];
    let text = "x".repeat(400_000);
    let mut replica = Replica::new();
    replica.apply_foreign(&typed(9, 0, &text, [None, None])).expect("valid");
    write_var_uint(&mut cut, 200_000);
    for at in 0..200_000u64 {
        write_var_uint(&mut cut, 2 * at);
        cut.push(1);
    }
    assert_eq!(replica.apply_foreign(&cut), Ok(Applied::Changed));
    assert_eq!(replica.text("t"), text[..200_000]);
    let log = [typed(9, 0, &text, [None, None]).into(), cut.into()];
    assert!(Replica::load(None, &log).expect("loaded").is_same(&replica));
}

/// An array of `count` values, each pushed for itself behind the one before.
fn pushed(client: u64, from: u64, count: u64) -> Vec<u8> {
    let mut update = vec![1];
    write_var_uint(&mut update, count);
    write_var_uint(&mut update, client);
    write_var_uint(&mut update, from);
    for at in from..from + count {
        match at.checked_sub(1) {
            Some(before) => {
                update.push(0x88);
                write_var_uint(&mut update, client);
                write_var_uint(&mut update, before);
            }
            None => update.extend([8, 1, 1, b'a']),
        }
        update.extend([1, 125, (at % 50) as u8]);
    }
    update.push(0);
    update
}

#[test]
fn what_was_inserted_at_once_reaches_yrs_as_one() {
    let all = pushed(7, 0, 30_000);
    assert!(parse(&all).expect("well-formed").has_chains());
    let mut replica = Replica::new();
    // yrs alone would copy half a thousand million values.
    assert_eq!(replica.apply_foreign(&all), Ok(Applied::Changed));
    let mut in_parts = Replica::new();
    for part in 0..3 {
        assert_eq!(in_parts.apply_foreign(&pushed(7, part * 10_000, 10_000)), Ok(Applied::Changed));
    }
    assert!(replica.is_same(&in_parts));
    assert_eq!(replica.state(), in_parts.state());
    let one_by_one: Vec<_> = (0..1000).map(|at| Bytes::from(pushed(7, at, 1))).collect();
    let merged = merge(&one_by_one).expect("valid");
    let merged = parse(&merged).expect("well-formed");
    assert_eq!((merged.structs.len(), merged.structs[0].len, merged.has_chains()), (1, 1000, false));
    // What stands between others or was not put there at once stays for itself.
    let apart = merge(&[pushed(7, 0, 1).into(), [1, 1, 7, 1, 0x48, 7, 0, 1, 126, 0].to_vec().into()]).expect("valid");
    assert_eq!(parse(&apart).expect("well-formed").structs.len(), 2);
}

#[test]
fn the_bound_of_the_work_is_of_what_is_there_and_not_of_what_was_refused() {
    let mut gate = Gate::default();
    let mut steps = |update: &[u8], expected: Verdict| {
        let mut steps = 0;
        let verdict = gate.admit_if(&parse(update).expect("well-formed"), Source::Foreign, |most, _| {
            steps = most;
            true
        });
        assert_eq!(verdict, Ok(expected));
        steps
    };
    // A range of two thousand million elements that were collected, once with a deletion of something unknown.
    let mut collected = vec![1, 1, 5, 0, 0, 0xfe, 0xff, 0xff, 0xff, 7];
    steps(&[&collected[..], &[1, 9, 1, 0, 1]].concat(), Verdict::Missing);
    collected.push(0);
    steps(&collected, Verdict::Ready);
    assert!(steps(A, Verdict::Ready) < 100);
    assert!(steps(B, Verdict::Ready) < 100);
    let long = format!("{:1000}", "");
    assert!(steps(&typed(8, 0, &long.repeat(1000), [None, None]), Verdict::Ready) > 1000);
}

#[test]
fn keys_have_a_longest_length_for_clients() {
    let set = |key: usize| {
        let mut update = vec![1, 1, 7, 0, 0x28, 1, 1, b'm'];
        write_var_uint(&mut update, key as u64);
        update.extend(std::iter::repeat_n(b'k', key));
        update.extend([1, 126, 0]);
        update
    };
    assert_eq!(Replica::new().apply_foreign(&set(MAX_KEY)), Ok(Applied::Changed));
    assert!(matches!(Replica::new().apply_foreign(&set(MAX_KEY + 1)), Err(crate::replica::Error::Malformed(_))));
    assert_eq!(Replica::new().apply(&set(MAX_KEY + 1)), Ok(Applied::Changed));
}

/// Mutated updates never panic, and what is accepted leaves a document that can be read back.
#[test]
fn mutated_updates_leave_the_document_sound() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let mut replica = Replica::new();
        for _ in 0..3 {
            let mut update = [A, B, C][random.below(3)].to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(update.len());
                match random.below(3) {
                    0 => update[at] = random.below(256) as u8,
                    1 => {
                        update.remove(at);
                    }
                    _ => update.insert(at, random.below(256) as u8),
                }
                if update.is_empty() {
                    update.push(0);
                }
            }
            if let Err(crate::replica::Error::Broken(cause)) = replica.apply_foreign(&update) {
                panic!("{cause}: {update:?}");
            }
        }
        let state = replica.state();
        let mut copy = Replica::new();
        assert!(copy.apply(&state).is_ok(), "cannot be read back: {state:?}");
    }
}

/// A small generator (xorshift) so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
