//! Reads a zip file that is in memory, by its table of contents (APPNOTE.TXT 4.3): stored and deflated entries, no encryption, nothing above
//! 4 GiB.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{Error, Taken};

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The kind of a file in Unix' mode, and the only one that is taken; zero where the archive was not made on Unix.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

fn broken(why: &str) -> Error {
    Error::Broken(why.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

pub(super) fn read(sent: &[u8], taken: &mut Taken) -> Result<(), Error> {
    let (count, mut table) = table(sent).ok_or_else(|| broken("it has no table of contents"))?;
    for _ in 0..count {
        let (entry, rest) = Entry::take(table).ok_or_else(|| broken("its table of contents ends too early"))?;
        table = rest;
        if entry.name.ends_with(b"/") || !entry.is_regular() {
            continue;
        }
        if entry.encrypted {
            return Err(broken("it is encrypted"));
        }
        let content = entry.content(sent).ok_or_else(|| broken("an entry is not where its table of contents says"))?;
        let (name, executable) = (entry.name, entry.is_executable());
        match entry.method {
            STORED => taken.add(name, executable, Checked::new(content, entry.crc))?,
            DEFLATED => taken.add(name, executable, Checked::new(DeflateDecoder::new(content), entry.crc))?,
            _ => return Err(broken("an entry is compressed in a way that is not known here")),
        }
    }
    Ok(())
}

/// How many entries, and the table from its first one on.
fn table(sent: &[u8]) -> Option<(u16, &[u8])> {
    // A comment of at most 64 KiB may follow.
    let earliest = sent.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let last = sent.len().checked_sub(END_LENGTH)?;
    let end = (earliest..=last).rev().find(|at| sent[*at..].starts_with(END))?;
    Some((u16_at(sent, end + 10)?, sent.get(size_at(sent, end + 16)?..end)?))
}

struct Entry<'a> {
    name: &'a [u8],
    encrypted: bool,
    method: u16,
    crc: u32,
    /// Compressed.
    size: usize,
    /// Unix' mode, if it was made there.
    mode: u32,
    at: usize,
}

impl<'a> Entry<'a> {
    fn take(table: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if !table.starts_with(ENTRY) {
            return None;
        }
        let (name, extra, comment) = (u16_at(table, 28)?, u16_at(table, 30)?, u16_at(table, 32)?);
        let made_on_unix = *table.get(5)? == 3;
        let entry = Self {
            name: table.get(ENTRY_LENGTH..ENTRY_LENGTH + usize::from(name))?,
            encrypted: u16_at(table, 8)? & 1 != 0,
            method: u16_at(table, 10)?,
            crc: u32_at(table, 16)?,
            size: size_at(table, 20)?,
            mode: if made_on_unix { u32_at(table, 38)? >> 16 } else { 0 },
            at: size_at(table, 42)?,
        };
        let length = ENTRY_LENGTH + usize::from(name) + usize::from(extra) + usize::from(comment);
        Some((entry, table.get(length..)?))
    }

    fn is_regular(&self) -> bool {
        matches!(self.mode & KIND, 0 | REGULAR)
    }

    fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// Its compressed bytes.
    fn content(&self, sent: &'a [u8]) -> Option<&'a [u8]> {
        let local = sent.get(self.at..)?;
        if !local.starts_with(LOCAL) {
            return None;
        }
        let begin = LOCAL_LENGTH + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
        local.get(begin..begin.checked_add(self.size)?)
    }
}

/// Ends with an error if what was read is not what was packed.
struct Checked<R> {
    crc: Crc,
    expected: u32,
    content: R,
}

impl<R> Checked<R> {
    fn new(content: R, expected: u32) -> Self {
        Self { crc: Crc::new(), expected, content }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.crc.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            return Err(std::io::Error::other("a file is damaged"));
        }
        Ok(read)
    }
}
