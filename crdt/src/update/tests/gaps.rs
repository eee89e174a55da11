//! What yrs does to close up what is deleted: it moves all blocks of the client that are behind, again for each block it takes out. So a deletion of
//! eight bytes could take hours.

use super::*;

const CLIENT: u64 = 4;

/// More of these times as many behind than yrs moves in time.
const MANY: u64 = 40_000;

/// An update of [`CLIENT`], struct by struct.
struct Structs {
    from: u64,
    count: u64,
    bytes: Vec<u8>,
}

impl Structs {
    fn from(from: u64) -> Self {
        Self { from, count: 0, bytes: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.count += 1;
    }

    /// Behind another one.
    fn after(&mut self, kind: u8, left: u64, content: &[u8]) {
        self.push(&[0x80 | kind, CLIENT as u8]);
        write_var_uint(&mut self.bytes, left);
        self.bytes.extend(content);
    }

    /// A value that yrs keeps apart from others.
    fn value_after(&mut self, left: u64) {
        self.after(BINARY, left, &[1, 5]);
    }

    fn update(&self) -> Vec<u8> {
        let mut update = vec![1];
        for number in [self.count, CLIENT, self.from] {
            write_var_uint(&mut update, number);
        }
        update.extend(&self.bytes);
        update.push(0);
        update
    }
}

fn deletion(from: u64, len: u64) -> Vec<u8> {
    let mut update = vec![0, 1, CLIENT as u8, 1];
    write_var_uint(&mut update, from);
    write_var_uint(&mut update, len);
    update
}

fn with(updates: &[Vec<u8>]) -> Replica {
    let mut replica = Replica::new();
    for update in updates {
        assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed));
    }
    replica
}

/// So many values in an array.
fn values(count: u64) -> Vec<u8> {
    let mut structs = Structs::from(0);
    structs.push(&[BINARY, 1, 1, b'a', 1, 5]);
    (1..count).for_each(|clock| structs.value_after(clock - 1));
    structs.update()
}

/// An array in an array, or as the value of a key. Its values come in twos, each time with another one between that is not in it if they are to
/// be `apart`.
fn nested(key: bool, pairs: u64, apart: bool) -> Vec<u8> {
    let mut structs = Structs::from(0);
    structs.push(if key { &[TYPE | HAS_PARENT_KEY, 1, 1, b'm', 1, b'k', 0] } else { &[TYPE, 1, 1, b'a', 0] });
    structs.push(&[BINARY, 0, CLIENT as u8, 0, 1, 5]);
    structs.value_after(1);
    structs.push(&[BINARY, 1, 1, b'b', 1, 5]);
    for pair in 1..pairs {
        let clock = 1 + 3 * pair;
        structs.value_after(clock - 2);
        structs.value_after(clock);
        structs.value_after(if apart { clock - 1 } else { clock + 1 });
    }
    structs.update()
}

/// Applies the last update, which would take yrs long, and looks that the document is what it is without our help.
fn applied(updates: &[Vec<u8>]) -> Replica {
    let replica = with(updates);
    let mut pinned = Replica::new().pinned();
    let log: Vec<Bytes> = updates.iter().map(|update| Bytes::from(update.clone())).collect();
    for update in updates {
        assert_eq!(pinned.apply_foreign(update), Ok(Applied::Changed));
    }
    assert!(replica.is_same(&pinned));
    assert_eq!(replica.state(), pinned.state());
    let loaded = Replica::load(None, &log).expect("loaded");
    assert_eq!(loaded.state(), pinned.state());
    replica
}

#[test]
fn many_deleted_blocks_with_many_behind_are_deleted_at_once() {
    applied(&[values(2 * MANY), deletion(0, MANY)]);
    applied(&[values(2 * MANY), deletion(MANY, MANY)]);
    let mut replica = with(&[values(2 * MANY), deletion(0, MANY)]);
    // And it goes on.
    for range in [deletion(MANY + 7, 1), deletion(MANY + 100, 1000), deletion(0, 2 * MANY)] {
        assert_eq!(replica.apply_foreign(&range), Ok(Applied::Changed));
        assert_eq!(replica.apply_foreign(&range), Ok(Applied::Nothing));
    }
}

#[test]
fn many_pairs_in_a_deleted_type_are_deleted_at_once() {
    for key in [false, true] {
        applied(&[nested(key, MANY, true), deletion(0, 1)]);
        // Side by side yrs collects them at once.
        applied(&[nested(key, MANY, false), deletion(0, 1)]);
    }
}

#[test]
fn a_value_that_takes_the_place_of_a_type_is_its_deletion() {
    let value = [1, 1, 9, 0, 0x80 | ANY, CLIENT as u8, 0, 1, 126, 0].to_vec();
    applied(&[nested(true, MANY, true), value]);
}

#[test]
fn pairs_that_come_into_a_deleted_type_count_too() {
    let mut structs = Structs::from(4);
    for pair in 0..MANY {
        let clock = 4 + 3 * pair;
        structs.push(&[BINARY, 0, CLIENT as u8, 0, 1, 5]);
        structs.value_after(clock);
        structs.value_after(clock - 1);
    }
    applied(&[nested(false, 1, true), deletion(0, 1), structs.update()]);
}

#[test]
fn values_of_a_key_that_take_the_place_of_each_other_count_too() {
    let mut structs = Structs::from(0);
    structs.push(&[BINARY | HAS_PARENT_KEY, 1, 1, b'm', 1, b'k', 1, 5]);
    (1..MANY).for_each(|clock| structs.value_after(clock - 1));
    structs.push(&[BINARY, 1, 1, b'a', 1, 5]);
    (MANY + 1..2 * MANY).for_each(|clock| structs.value_after(clock - 1));
    applied(&[structs.update()]);
}

/// yrs copies all values of a struct each time it cuts it.
#[test]
fn many_values_that_others_are_put_between_are_cut_at_once() {
    const VALUES: u64 = 300_000;
    let mut array = Structs::from(0);
    array.push(&[ANY, 1, 1, b'a']);
    write_var_uint(&mut array.bytes, VALUES);
    array.bytes.resize(array.bytes.len() + VALUES as usize, 126);
    let array = array.update();
    let mut between = vec![1];
    [2000, 9, 0].into_iter().for_each(|number| write_var_uint(&mut between, number));
    for place in (1..=2000).rev().map(|number| number * (VALUES / 2001)) {
        between.push(BINARY | HAS_LEFT | HAS_RIGHT);
        [4, place - 1, 4, place].into_iter().for_each(|number| write_var_uint(&mut between, number));
        between.extend([1, 5]);
    }
    between.push(0);

    let mut model = Model::default();
    let [parsed_array, parsed] = [&array, &between].map(|update| parse(update).expect("well-formed"));
    model.take(&parsed_array, &[], BUDGET).expect("few steps");
    assert!(model.take(&parsed, &[], BUDGET).is_err());
    let replica = with(&[array.clone(), between.clone()]);
    let loaded = Replica::load(None, &[array.into(), between.into()]).expect("loaded");
    assert!(replica.is_same(&loaded));
    assert_eq!(replica.state(), loaded.state());
}

#[test]
fn what_is_deleted_or_collected_side_by_side_reaches_yrs_as_one() {
    // One by one yrs would move what is behind for each.
    let mut deleted = Structs::from(0);
    let mut collected = Structs::from(0);
    deleted.push(&[DELETED, 1, 1, b'a', 1]);
    collected.push(&[GC, 1]);
    for clock in 1..3 * MANY {
        match clock % 3 {
            2 => deleted.value_after(clock - 1),
            _ => deleted.after(DELETED, clock - 1, &[1]),
        }
        match clock {
            2 => collected.push(&[BINARY, 1, 1, b'a', 1, 5]),
            _ if clock % 3 == 2 => collected.value_after(clock - 3),
            _ => collected.push(&[GC, 1]),
        }
    }
    for update in [deleted.update(), collected.update()] {
        let joined = complete(&[&parse(&update).expect("well-formed")], &[]).expect("valid");
        assert_eq!(parse(&joined).expect("well-formed").structs.len() as u64, 2 * MANY);
        let replica = with(&[update]);
        assert!(replica.is_same(&with(&[joined])));
        let others = with(&[replica.state()]);
        assert_eq!(others.state(), replica.state());
    }
}

#[test]
fn a_cut_update_has_its_structs_in_the_pieces_they_came_in() {
    // Client 9 put something between the two that client 4 deleted, and before the collected ones stands what nobody joins.
    let update = [
        &[2, 1, 9, 0, BINARY | HAS_LEFT | HAS_RIGHT, 4, 0, 4, 1, 1, 5][..],
        &[5, 4, 0, DELETED, 1, 1, b'a', 1, DELETED | HAS_LEFT, 4, 0, 1, BINARY, 1, 1, b'a', 1, 5, GC, 1, GC, 1, 0],
    ]
    .concat();
    let structs = |update: &[u8]| parse(update).expect("well-formed").structs.len();
    let nothing = Bytes::from_static(&[0, 0]);
    let merged = merge(&[update.clone().into(), nothing.clone()]).expect("valid");
    assert_eq!((structs(&update), structs(&merged)), (6, 5));
    for size in 1..update.len() {
        let pieces = split(&update, size).expect("valid");
        assert_eq!(pieces.iter().map(|piece| structs(piece)).sum::<usize>(), 6);
        let pieces: Vec<Bytes> = pieces.into_iter().map(Bytes::from).chain([nothing.clone()]).collect();
        assert_eq!(merge(&pieces).expect("pieces"), merged);
    }
}
