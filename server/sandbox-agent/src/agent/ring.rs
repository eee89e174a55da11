//! The last part of what a program printed. Knows nothing of steps and terminals: bytes in, bytes out.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Ring {
    /// Bytes that are kept. When it is full the oldest go.
    capacity: usize,
    bytes: VecDeque<u8>,
    /// Bytes of output ever; `bytes` are the last of them.
    end: u64,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, bytes: VecDeque::new(), end: 0 }
    }

    /// Bytes that were ever pushed.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn push(&mut self, mut new: &[u8]) {
        self.end += new.len() as u64;
        new = &new[new.len().saturating_sub(self.capacity)..];
        let over = (self.bytes.len() + new.len()).saturating_sub(self.capacity);
        self.bytes.drain(..over);
        self.bytes.extend(new);
    }

    /// Output from `offset` on, at most `limit` bytes, and where it really begins: later than `offset` if that part
    /// is gone. Empty when there is nothing new.
    pub(super) fn read(&self, offset: u64, limit: usize) -> (u64, Vec<u8>) {
        let start = self.end - self.bytes.len() as u64;
        let offset = offset.clamp(start, self.end);
        let from = usize::try_from(offset - start).expect("the ring fits in memory");
        let to = self.bytes.len().min(from + limit);
        (offset, self.bytes.range(from..to).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 1 << 16;

    #[test]
    fn output_is_read_from_any_offset() {
        let mut ring = Ring::new(CAPACITY);
        ring.push(b"hello ");
        ring.push(b"world");
        assert_eq!(ring.read(0, 100), (0, b"hello world".to_vec()));
        assert_eq!(ring.read(6, 3), (6, b"wor".to_vec()));
        assert_eq!(ring.read(11, 100), (11, Vec::new()));
        assert_eq!(ring.read(99, 100), (11, Vec::new()));
    }

    #[test]
    fn a_full_ring_drops_its_oldest_bytes_and_says_so() {
        let mut ring = Ring::new(CAPACITY);
        ring.push(&vec![b'a'; CAPACITY]);
        ring.push(b"bcd");
        let (offset, bytes) = ring.read(0, CAPACITY * 2);
        assert_eq!((offset, bytes.len()), (3, CAPACITY));
        assert_eq!(&bytes[CAPACITY - 4..], b"abcd");
        ring.push(&vec![b'e'; CAPACITY + 5]);
        assert_eq!(ring.read(0, 1), (8 + CAPACITY as u64, b"e".to_vec()));
        assert!(ring.bytes.capacity() <= CAPACITY, "the ring does not grow over its bound");
    }
}
