//! A document in its settled form is the same document.

use super::*;

/// Elements of one struct: its client, its first clock, how many there are, and the list they lie in.
#[derive(Clone, Copy)]
struct Placed {
    client: u8,
    clock: u64,
    len: u64,
    list: usize,
    is_type: bool,
}

/// Writes of three clients into a list, a map and types in them, each knowing all before it; as updates that were let in.
fn history(random: &mut Random) -> (Replica, Vec<Bytes>) {
    const KINDS: [u8; 6] = [STRING, STRING, ANY, BINARY, DELETED, TYPE];
    let mut replica = Replica::new();
    let mut log = Vec::new();
    let mut clocks = [0_u64; 3];
    let mut placed: Vec<Placed> = Vec::new();
    // The list of the root, two keys of the root; then those of types.
    let mut parents: Vec<Vec<u8>> = vec![vec![1, 1, b'a'], vec![1, 1, b'm', 1, b'k'], vec![1, 1, b'm', 1, b'l']];
    for _ in 0..4 + random.below(40) {
        let client = random.below(3);
        let some = |random: &mut Random, placed: &[Placed]| placed.get(random.below(placed.len().max(1))).copied();
        let mut bytes = Vec::new();
        if let (0..3, Some(of)) = (random.below(10), some(random, &placed)) {
            let from = random.below(of.len as usize) as u64;
            let len = 1 + random.below((of.len - from) as usize) as u64;
            bytes.extend([0, 1, of.client, 1]);
            write_var_uint(&mut bytes, of.clock + from);
            write_var_uint(&mut bytes, len);
        } else {
            let clock = clocks[client];
            let beside = some(random, &placed).filter(|_| random.below(4) > 0);
            let list = beside.map_or_else(|| random.below(parents.len()), |of| of.list);
            let is_key = parents[list].contains(&1) && matches!(parents[list].last(), Some(b'k' | b'l'));
            let kind = KINDS[random.below(KINDS.len())];
            bytes.extend([1, 1, client as u8]);
            write_var_uint(&mut bytes, clock);
            match beside {
                Some(of) => {
                    // Behind the last element, or in the midst.
                    let at = if is_key { of.len - 1 } else { random.below(of.len as usize) as u64 };
                    bytes.extend([kind | HAS_LEFT, of.client]);
                    write_var_uint(&mut bytes, of.clock + at);
                }
                None => {
                    bytes.push(kind | if is_key { HAS_PARENT_KEY } else { 0 });
                    bytes.extend(&parents[list]);
                }
            }
            let many = if is_key { 1 } else { 1 + random.below(5) as u64 };
            let len = match kind {
                STRING => {
                    let text: String = (0..many).map(|_| ['a', 'ö', '\u{1f600}'][random.below(3)]).collect();
                    write_var_uint(&mut bytes, text.len() as u64);
                    bytes.extend(text.as_bytes());
                    text.encode_utf16().count() as u64
                }
                ANY => {
                    write_var_uint(&mut bytes, many);
                    (0..many).for_each(|_| bytes.extend([119, 1, b'0' + random.below(10) as u8]));
                    many
                }
                DELETED => {
                    write_var_uint(&mut bytes, many);
                    many
                }
                BINARY => {
                    bytes.extend([1, 5]);
                    1
                }
                _ => {
                    bytes.push(random.below(2) as u8);
                    1
                }
            };
            bytes.push(0);
            placed.push(Placed { client: client as u8, clock, len, list, is_type: kind == TYPE });
        }
        let before = replica.state_vector();
        let Ok(Applied::Changed) = replica.apply_foreign(&bytes) else {
            // What a gate refuses, such as something in a type that is gone, is not in the history.
            if bytes[0] == 1 {
                placed.pop();
            }
            continue;
        };
        if replica.state_vector() != before {
            let new = *placed.last().expect("it was placed");
            clocks[new.client as usize] += new.len;
            if new.is_type {
                let mut parent = vec![0, new.client];
                write_var_uint(&mut parent, new.clock);
                parents.push(parent.clone());
                parents.push([&parent[..], &[1, b'k']].concat());
            }
        }
        log.push(replica.completed(bytes.into()));
    }
    (replica, log)
}

/// The text at the root, and the elements of all lists in their order.
fn contents(replica: &Replica) -> (String, Vec<Vec<(u64, u32)>>) {
    let state = replica.state();
    let mut model = Model::default();
    model.integrate(&parse(&state).expect("well-formed"), BUDGET).expect("few steps");
    let mut lists = model.elements();
    lists.sort_unstable();
    (replica.text("a"), lists)
}

#[test]
fn what_is_settled_is_the_same_document() {
    let mut random = Random(0x5eed_5eed);
    let (mut of_one_piece, mut cut) = (0, 0);
    for _ in 0..2000 {
        let (replica, log) = history(&mut random);
        let merged = merge(&log).expect("valid");
        let merged = parse(&merged).expect("well-formed");
        let mut model = Model::to_settle();
        model.integrate(&merged, BUDGET).expect("few steps");
        let written = settled(&merged, &model).expect("the model has it");
        let again = Replica::load(Some(&written.clone().into()), &[]).expect("loaded");
        assert!(again.is_same(&replica), "{log:?}");
        assert_eq!(contents(&again), contents(&replica), "{log:?}");
        // It is settled already.
        let written = parse(&written).expect("well-formed");
        let mut model = Model::to_settle();
        model.integrate(&written, BUDGET).expect("few steps");
        assert_eq!(settled(&written, &model).expect("the model has it"), written.bytes());
        match written.structs.len() > merged.structs.len() {
            true => cut += 1,
            false => of_one_piece += 1,
        }
    }
    assert!(of_one_piece > 100 && cut > 100, "{of_one_piece} {cut}");
}
