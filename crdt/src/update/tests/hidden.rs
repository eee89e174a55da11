use super::*;
use serde_json::json;

use crate::export::{self, Kind};
use crate::update::{Binary, held_big_int, held_bytes};
use yrs::{Any, Map, Transact};

/// An array `a` of client 1 with these values.
fn values(count: u8, values: &[u8]) -> Vec<u8> {
    [&[1, 1, 1, 0, 8, 1, 1, b'a', count], values, &[0]].concat()
}

#[test]
fn subdocuments_pass_through_without_yrs_seeing_one() {
    let options: &[u8] = &[118, 1, 8, b'a', b'u', b't', b'o', b'L', b'o', b'a', b'd', 120];
    let subdocument = [&[1, 1, 1, 0, 9, 1, 1, b'a', 2, b'i', b'd'][..], options, &[0]].concat();
    let mut replica = Replica::new();
    assert!(!replica.has_subdocument());
    assert_eq!(replica.apply_foreign(&subdocument), Ok(Applied::Changed));
    assert!(replica.has_subdocument());
    assert_eq!(replica.state(), subdocument);
    assert_eq!(replica.diff(&[0]).expect("a state vector"), subdocument);
    // Binary content that looks like the disguise stays what it is.
    let disguise = [&b"\x00buildspaces/hidden\x00\x01"[..], &[2, b'i', b'd'], options].concat();
    let mut binary = vec![1, 1, 2, 0, 0x83, 1, 0];
    crate::lib0::write_var_bytes(&mut binary, &disguise);
    binary.push(0);
    assert_eq!(replica.apply_foreign(&binary), Ok(Applied::Changed));
    let loaded = Replica::load(None, &[subdocument.into(), binary.into()]).expect("what was let in");
    assert!(loaded.has_subdocument());
    assert_eq!(loaded.state(), replica.state());
    assert_eq!(replica.diff(&[1, 1, 1]).expect("a state vector").len(), 7 + 1 + disguise.len() + 1);
}

#[test]
fn numbers_pass_through_as_they_are() {
    let small = [122, 0, 0, 0, 0, 0, 0, 0, 7];
    let largest = [122, 0x7f, 255, 255, 255, 255, 255, 255, 255];
    let marked = [&[116, 23][..], b"\x00buildspaces/hidden\x00\x02ab"].concat();
    let nested = [&[118, 1, 1, b'k', 117, 2][..], &largest, &marked].concat();
    let update = values(4, &[&small[..], &largest, &nested, &marked].concat());
    let mut replica = Replica::new();
    assert_eq!(replica.apply_foreign(&update), Ok(Applied::Changed));
    assert_eq!(replica.state(), update);
    let last = [&[1, 1, 1, 3, 0x88, 1, 2, 1][..], &marked, &[0]].concat();
    assert_eq!(replica.diff(&[1, 1, 3]).expect("a state vector"), last);
    let loaded = Replica::load(Some(&update.clone().into()), &[]).expect("what was let in");
    assert_eq!(loaded.state(), update);
    let json = export::json(&replica, "a", Kind::Array);
    assert_eq!(json, Ok(json!([7, i64::MAX, {"k": [i64::MAX, null]}, null])));
    // -0 is another -0 afterwards, also if it came with needless bytes.
    let mut replica = Replica::new();
    replica.apply_foreign(&values(3, &[125, 0x40, 125, 0xc0, 0x80, 0, 125, 0])).expect("well-formed");
    assert_eq!(replica.state(), values(3, &[124, 0x80, 0, 0, 0, 124, 0x80, 0, 0, 0, 125, 0]));
    assert_eq!(export::json(&replica, "a", Kind::Array), Ok(json!([0, 0, 0])));
}

#[test]
fn what_is_written_here_leaves_as_it_was_meant() {
    let mut replica = Replica::new();
    let map = replica.doc().get_or_insert_map("m");
    let bytes = b"\x00buildspaces/hidden\x00\x01".as_slice();
    let mut set = |value: Vec<u8>| {
        let update = replica.edit(|txn| {
            map.insert(txn, "k", Any::Buffer(value.into()));
        });
        update.expect("it changes something")
    };
    let update = set(held_big_int(-2));
    assert!(update.windows(9).any(|window| window == [122, 255, 255, 255, 255, 255, 255, 255, 254]));
    let update = set(held_bytes(bytes));
    let mut other = Replica::new();
    other.apply_foreign(&replica.state()).expect("valid");
    other.apply_foreign(&update).expect("valid");
    let held = other.doc().get_or_insert_map("m").get(&other.doc().transact(), "k");
    let Some(yrs::Out::Any(Any::Buffer(held))) = held else { panic!("{held:?}") };
    assert_eq!(Binary::of(&held), Binary::Bytes(bytes));
    assert_eq!(Binary::of(b"plain"), Binary::Bytes(b"plain"));
    assert_eq!(Binary::of(&held_big_int(i64::MIN)), Binary::BigInt(i64::MIN));
}
