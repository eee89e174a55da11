//! Inputs that are known to make yrs 0.28.1 diverge, abort or write what nobody can read, and a
//! seeded run of mutated updates. `Yjs` 13.6 made the legal ones.

use super::*;
use crate::lib0::write_var_uint;
use crate::replica::{Applied, Replica};

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
    let delete = parse(&[0, 1, 1, 1, 0, 1]).expect("well-formed");
    assert_eq!(delete.verdict(&StateVector::default()), Verdict::Missing);
    let mut replica = Replica::new();
    replica.apply(A).expect("valid");
    assert_eq!(replica.apply(&[0, 1, 1, 1, 0, 1]), Ok(Applied::Changed));
    assert_eq!(replica.text("t"), "");
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
    let backwards = parse(&chain(CLIENTS, |client| (client + 1 < CLIENTS).then_some(client + 1))).expect("well-formed");
    // Quadratic, this would take minutes.
    assert_eq!(backwards.verdict(&StateVector::default()), Verdict::Ready);
    let circle = parse(&chain(CLIENTS, |client| Some((client + 1) % CLIENTS))).expect("well-formed");
    assert_eq!(circle.verdict(&StateVector::default()), Verdict::Missing);
}

#[test]
fn too_many_clients_are_refused_to_clients_and_loaded_from_the_log() {
    let too_many = chain(MAX_CLIENTS_PER_UPDATE as u64 + 1, |client| client.checked_sub(1));
    assert!(matches!(Replica::new().apply_foreign(&too_many), Err(crate::replica::Error::Malformed(_))));
    assert_eq!(Replica::new().apply(&too_many), Ok(Applied::Changed));
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
            if let Err(crate::replica::Error::Broken(_)) = replica.apply(&update) {
                // Such a document is thrown away.
                replica = Replica::new();
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
