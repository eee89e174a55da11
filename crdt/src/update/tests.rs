//! Inputs that are known to make yrs 0.28.1 diverge, abort or write what nobody can read, and a
//! seeded run of mutated updates. `Yjs` 13.6 made the legal ones.

use super::*;
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
