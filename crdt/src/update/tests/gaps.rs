//! What yrs does to close up what came deleted: it moves all blocks of the client that are behind, again for each block it takes out.

use super::*;

const CLIENT: u64 = 4;

/// So many times as many behind take yrs seconds.
const MANY: u64 = 80_000;

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

fn with(updates: &[Vec<u8>]) -> Replica {
    let mut replica = Replica::new();
    for update in updates {
        assert_eq!(replica.apply_foreign(update), Ok(Applied::Changed));
    }
    replica
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
