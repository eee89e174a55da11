//! How the appends that share a flush lie in one row of the table `journal`.
//!
//! A row is a version byte and then, for each append, a *chunk*: the document's number (8 bytes), the number of its first
//! update (8), how many updates there are (4), the length of what follows (4), and for each update when it was made (8),
//! the length and text of its principal's id (2 + n) and the length and bytes of the update (4 + n). Numbers are
//! little-endian. SQLite's checksums guard the row; the bounds checked here only turn a bug into an error.

use buildspaces_kernel::UnixMillis;
use buildspaces_rooms::ports::Record;
use bytes::{Buf, BufMut, Bytes};

/// The first byte of a row.
const VERSION: u8 = 1;

/// Bytes before the updates of a chunk.
const HEAD: usize = 24;

/// The row is not one that this version wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable;

/// Updates of one document that follow each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    pub(crate) document: i64,
    pub(crate) first: u64,
    count: u32,
    updates: Bytes,
}

/// One update of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) at: UnixMillis,
    /// The id of its principal.
    pub(crate) by: Bytes,
    pub(crate) update: Bytes,
}

/// A row without chunks.
pub(crate) fn begin() -> Vec<u8> {
    vec![VERSION]
}

/// Adds an append to a row. `records` are in order and without gaps, as the writer has checked.
pub(crate) fn push(row: &mut Vec<u8>, document: i64, records: &[Record]) {
    let Some(first) = records.first() else { return };
    row.put_i64_le(document);
    row.put_u64_le(first.seq);
    row.put_u32_le(records.len() as u32);
    let length_at = row.len();
    row.put_u32_le(0);
    for record in records {
        let by = record.by.as_str().as_bytes();
        row.put_i64_le(record.at);
        row.put_u16_le(by.len() as u16);
        row.put_slice(by);
        row.put_u32_le(record.update.len() as u32);
        row.put_slice(&record.update);
    }
    let length = (row.len() - length_at - 4) as u32;
    row[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Takes a row apart. The chunks share its memory.
pub(crate) fn chunks(mut row: Bytes) -> Result<Vec<Chunk>, Unreadable> {
    if row.try_get_u8() != Ok(VERSION) {
        return Err(Unreadable);
    }
    let mut chunks = Vec::new();
    while row.has_remaining() {
        if row.remaining() < HEAD {
            return Err(Unreadable);
        }
        let (document, first, count) = (row.get_i64_le(), row.get_u64_le(), row.get_u32_le());
        let length = row.get_u32_le() as usize;
        if row.remaining() < length {
            return Err(Unreadable);
        }
        chunks.push(Chunk { document, first, count, updates: row.split_to(length) });
    }
    Ok(chunks)
}

impl Chunk {
    pub(crate) fn bytes(&self) -> usize {
        HEAD + self.updates.len()
    }

    /// The number of the last update.
    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count).saturating_sub(1)
    }

    /// The updates, in order.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Unreadable> {
        let mut rest = self.updates.clone();
        let mut entries = Vec::with_capacity(self.count as usize);
        for seq in (self.first..).take(self.count as usize) {
            let at = rest.try_get_i64_le().map_err(|_| Unreadable)?;
            let length = usize::from(rest.try_get_u16_le().map_err(|_| Unreadable)?);
            let by = take(&mut rest, length)?;
            let length = rest.try_get_u32_le().map_err(|_| Unreadable)? as usize;
            entries.push(Entry { seq, at, by, update: take(&mut rest, length)? });
        }
        if rest.is_empty() { Ok(entries) } else { Err(Unreadable) }
    }
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, Unreadable> {
    if rest.len() < length { Err(Unreadable) } else { Ok(rest.split_to(length)) }
}

#[cfg(test)]
mod tests {
    use buildspaces_kernel::ids::PrincipalId;

    use super::*;

    fn record(seq: u64, update: &'static [u8]) -> Record {
        let by = PrincipalId::parse("ada").expect("valid");
        Record { seq, by, at: 0x0102_0304_0506, update: Bytes::from_static(update) }
    }

    fn row() -> Vec<u8> {
        let mut row = begin();
        push(&mut row, 7, &[record(3, b"c"), record(4, b"")]);
        push(&mut row, 8, &[]);
        push(&mut row, 9, &[record(1, b"xyz")]);
        row
    }

    /// What is on people's disks must stay readable: if this fails, give the new shape another version byte.
    #[test]
    fn the_shape_of_a_row_is_kept() {
        let expected = [
            &[1u8][..],
            &[7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 35, 0, 0, 0],
            &[6, 5, 4, 3, 2, 1, 0, 0, 3, 0, b'a', b'd', b'a', 1, 0, 0, 0, b'c'],
            &[6, 5, 4, 3, 2, 1, 0, 0, 3, 0, b'a', b'd', b'a', 0, 0, 0, 0],
            &[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0],
            &[6, 5, 4, 3, 2, 1, 0, 0, 3, 0, b'a', b'd', b'a', 3, 0, 0, 0, b'x', b'y', b'z'],
        ]
        .concat();
        assert_eq!(row(), expected);
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let chunks = chunks(row().into()).expect("readable");
        let places: Vec<_> = chunks.iter().map(|chunk| (chunk.document, chunk.first, chunk.last())).collect();
        assert_eq!(places, [(7, 3, 4), (9, 1, 1)]);
        let entries = chunks[0].entries().expect("readable");
        assert_eq!(entries[0].by, "ada");
        assert_eq!((entries[0].seq, entries[0].at, &entries[0].update[..]), (3, 0x0102_0304_0506, &b"c"[..]));
        assert_eq!((entries[1].seq, &entries[1].update[..]), (4, &b""[..]));
    }

    #[test]
    fn every_shorter_row_is_an_error_or_fewer_chunks() {
        let row = row();
        for length in 0..row.len() {
            let read = chunks(Bytes::copy_from_slice(&row[..length]))
                .and_then(|chunks| chunks.iter().map(Chunk::entries).collect::<Result<Vec<_>, _>>());
            assert!(read.is_err() || [1, 60].contains(&length), "{length} bytes were read");
        }
    }
}
