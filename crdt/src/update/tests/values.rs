//! Values of keys that others replaced: they are deleted, whoever says so or not, and stay so in logs and merges.

use bytes::Bytes;

use crate::lib0::write_var_uint;
use crate::replica::{Applied, Replica};
use crate::update::{merge, parse};

fn applied(updates: &[&Bytes]) -> Replica {
    let mut replica = Replica::new();
    updates.iter().for_each(|update| assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed)));
    replica
}

fn load(snapshot: Option<&Bytes>, updates: &[&Bytes]) -> Replica {
    Replica::load(snapshot, &updates.iter().map(|update| (*update).clone()).collect::<Vec<_>>()).expect("valid")
}

/// A log as a server keeps it: what was applied, completed.
fn log(updates: &[&Bytes]) -> Vec<Bytes> {
    let mut replica = Replica::new();
    let completed = |update: &&Bytes| {
        assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed));
        replica.completed((*update).clone())
    };
    updates.iter().map(completed).collect()
}

#[test]
fn a_replaced_value_is_deleted_though_nobody_says_so() {
    // A map at (2, 0), and one key of it set to true, false and null by client 4.
    let head: &[u8] = &[2, 1, 2, 0, 7, 1, 1, b'a', 1];
    let update = |structs: &[u8]| Bytes::from([head, structs, &[0]].concat());
    let first = update(&[1, 4, 0, 0x28, 0, 2, 0, 1, b'k', 1, 120]);
    let chain = update(&[3, 4, 0, 0x28, 0, 2, 0, 1, b'k', 1, 120, 0x88, 4, 0, 1, 121, 0x88, 4, 1, 1, 126]);
    let one = update(&[1, 4, 0, 0x28, 0, 2, 0, 1, b'k', 3, 120, 121, 126]);
    let second = Bytes::from_static(&[1, 1, 4, 1, 0x88, 4, 0, 1, 121, 0]);
    let third = Bytes::from_static(&[1, 1, 4, 2, 0x88, 4, 1, 1, 126, 0]);
    let rest = Bytes::from_static(&[1, 1, 4, 1, 0x88, 4, 0, 2, 121, 126, 0]);
    let live = || applied(&[&first, &second, &third]);
    assert_eq!(live().state()[live().state().len() - 5..], [1, 4, 1, 0, 2]);

    let merged = |updates: &[&Bytes]| Bytes::from(merge(&log(updates)).expect("valid"));
    let all = merged(&[&first, &second, &third]);
    assert_eq!(parse(&all).expect("valid").structs.len(), 2, "three values are one struct");
    for mut replica in [
        applied(&[&chain]),
        applied(&[&one]),
        applied(&[&first, &one]),
        applied(&[&first, &rest]),
        applied(&[&first, &second, &one]),
        applied(&[&all]),
        applied(&[&first, &merged(&[&first, &rest])]),
        load(None, &[&first, &second, &third]),
        load(None, &[&chain]),
        load(None, &[&one]),
        load(None, &[&first, &rest]),
        load(None, &[&all]),
        load(Some(&first), &[&second, &third]),
        load(Some(&chain), &[]),
        load(Some(&one), &[]),
    ] {
        assert!(replica.is_same(&live()));
        assert_eq!(replica.state(), live().state());
        // The last value goes, then the map.
        assert_eq!(replica.apply_foreign(&[0, 1, 4, 1, 2, 1]), Ok(Applied::Changed));
        assert_eq!(replica.apply_foreign(&[0, 1, 2, 1, 0, 1]), Ok(Applied::Changed));
        let again = applied(&[&replica.state().into()]);
        assert!(again.is_same(&replica));
    }
}

#[test]
fn an_update_is_passed_on_with_what_it_does_and_otherwise_as_it_is() {
    let head: &[u8] = &[1, 1, 4, 0, 0x28, 1, 1, b'm', 1, b'k', 1, 120, 0];
    let silent = Bytes::from_static(&[1, 1, 4, 1, 0x88, 4, 0, 1, 121, 0]);
    let honest = Bytes::from_static(&[1, 1, 4, 1, 0x88, 4, 0, 1, 121, 1, 4, 1, 0, 1]);
    let passed_on = |update: &Bytes| log(&[&Bytes::from_static(head), update])[1].clone();
    assert_eq!(passed_on(&silent), honest);
    assert_eq!(passed_on(&honest), honest);
    // In an array nothing is replaced.
    let array = [Bytes::from_static(&[1, 1, 4, 0, 8, 1, 1, b'a', 1, 120, 0]), silent];
    assert_eq!(log(&[&array[0], &array[1]]), array);
    assert_eq!(load(None, &[&array[0], &array[1]]).state(), [1, 1, 4, 0, 8, 1, 1, b'a', 2, 120, 121, 0]);
    // What was not applied, or changed nothing, completes nothing that comes later.
    let mut replica = applied(&[&Bytes::from_static(head)]);
    assert_eq!(replica.apply_foreign(&array[1]), Ok(Applied::Changed));
    assert_eq!(replica.apply_foreign(&array[1]), Ok(Applied::Nothing));
    assert_eq!(replica.completed(Bytes::from_static(b"other")), b"other"[..]);
}

#[test]
fn texts_that_replaced_each_other_are_not_one_text() {
    // A map at (9, 0), and a key of it set to texts, as older yrs writes attributes.
    let map = Bytes::from_static(&[1, 1, 9, 0, 7, 1, 1, b'a', 1, 0]);
    let ab = Bytes::from_static(&[1, 1, 4, 0, 0x24, 0, 9, 0, 1, b'k', 2, b'a', b'b', 0]);
    let cd = Bytes::from_static(&[1, 1, 4, 2, 0x84, 4, 1, 2, b'c', b'd', 0]);
    let rest = [Bytes::from_static(&[0, 1, 4, 1, 2, 2]), Bytes::from_static(&[0, 1, 9, 1, 0, 1])];
    let live = applied(&[&map, &ab, &cd]);
    let whole = applied(&[&map, &ab, &cd, &rest[0], &rest[1]]);
    let [map, ab, cd] = log(&[&map, &ab, &cd]).try_into().expect("three");
    let record = Bytes::from(merge(&[ab.clone(), cd.clone()]).expect("valid"));
    for log in [&[&map, &ab, &cd][..], &[&map, &record]] {
        for replica in [load(None, log), applied(log)] {
            assert!(replica.is_same(&live));
            assert_eq!(replica.state(), live.state());
        }
        assert!(load(None, &[log, &[&rest[0], &rest[1]]].concat()).is_same(&whole));
    }
    // From a time when updates were merged without being completed: one text, and what is cut off from it goes.
    let old =
        Bytes::from(merge(&[ab, Bytes::from_static(&[1, 1, 4, 2, 0x84, 4, 1, 2, b'c', b'd', 0])]).expect("valid"));
    let loaded = load(None, &[&map, &old, &rest[0], &rest[1]]);
    assert!(loaded.is_same(&whole));
    assert_eq!(loaded.state(), whole.state());
}

/// So many values that client 4 gives the key "k" of the map "m", in one struct.
fn values(count: u64) -> Vec<u8> {
    let mut update = vec![1, 1, 4, 0, 0x28, 1, 1, b'm', 1, b'k'];
    write_var_uint(&mut update, count);
    update.extend(std::iter::repeat_n(120, count as usize));
    update
}

#[test]
fn many_values_of_one_key_take_no_longer_than_one() {
    const VALUES: u64 = 800_000;
    // A text in pieces, so that loading looks at every block.
    let mut text = vec![1];
    write_var_uint(&mut text, 20_000);
    text.extend([6, 0, 4, 1, 1, b't', 1, b'x']);
    for before in 0..20_000 - 1 {
        text.extend([0x84, 6]);
        write_var_uint(&mut text, before);
        text.extend([1, b'x']);
    }
    text.push(0);
    let text = Bytes::from(text);
    let at_once = Bytes::from([values(VALUES), vec![0]].concat());
    let replica = applied(&[&text, &at_once]);
    for loaded in [load(None, &[&text, &at_once]), load(Some(&text), &[&at_once])] {
        assert!(loaded.is_same(&replica));
    }
    // One after the other.
    let each = (0..VALUES / 800).map(|batch| {
        let mut update = vec![1];
        for number in [800, 4, batch * 800] {
            write_var_uint(&mut update, number);
        }
        for clock in batch * 800..(batch + 1) * 800 {
            match clock.checked_sub(1) {
                None => update.extend([0x28, 1, 1, b'm', 1, b'k', 1, 120]),
                Some(before) => {
                    update.extend([0x88, 4]);
                    write_var_uint(&mut update, before);
                    update.extend([1, 120]);
                }
            }
        }
        update.push(0);
        Bytes::from(update)
    });
    let each: Vec<Bytes> = each.collect();
    assert!(load(None, &each.iter().chain([&text]).collect::<Vec<_>>()).is_same(&replica));
}
