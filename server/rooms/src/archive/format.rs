//! What is in an archive, file by file. Pure.
//!
//! | file | content |
//! | --- | --- |
//! | `room.json` | [`Head`] |
//! | `principals.json` | a list of principals, by id |
//! | `tree.json` | a list of nodes, by id |
//! | `documents/<n>/document.json` | [`DocumentHead`]; `n` counts from 1 |
//! | `documents/<n>/<m>.log` | records, in order; `m` counts from 1 |
//! | `blobs/<hash>/<m>.part` | bytes of a file that nodes name, by hash; `m` counts from 1. Only in archives of format 2 |
//! | `manifest.json` | [`Manifest`] |
//!
//! A record is: number of its last and of its first update, time (8 bytes each), and three times a length (4 bytes) with so many
//! bytes: the principal's id, the update, and the shares as JSON (empty unless updates were merged). Numbers are little-endian.

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::ports::LogRecord;

/// The format's version, of an archive with blobs and of one without.
pub const FORMAT: u32 = 2;
pub const FORMAT_WITHOUT_BLOBS: u32 = 1;

/// A tar is made of blocks of this size.
pub(super) const BLOCK: usize = 512;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub format: u32,
    pub room: RoomId,
    pub title: String,
    pub template: String,
    pub created_at: UnixMillis,
    pub created_by: PrincipalId,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentHead {
    pub name: String,
    /// Number of its last update.
    pub seq: u64,
    pub versions: Vec<Version>,
}

/// A version somebody named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub seq: u64,
    pub name: String,
    pub by: PrincipalId,
    pub at: UnixMillis,
}

/// What the archive holds, at its end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub documents: u64,
    pub records: u64,
    /// Every other file, in order.
    pub files: Vec<File>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: String,
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// The bytes are not what the format says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Appends a record.
pub fn put_record(out: &mut Vec<u8>, record: &LogRecord) {
    let shares = if record.shares.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(&record.shares).expect("shares have only string keys")
    };
    out.put_u64_le(record.seq);
    out.put_u64_le(record.first);
    out.put_i64_le(record.at);
    for part in [record.by.as_str().as_bytes(), &record.update, &shares] {
        out.put_u32_le(u32::try_from(part.len()).expect("a part is smaller than 4 GiB"));
        out.put_slice(part);
    }
}

/// Takes a record from the front.
pub fn take_record(bytes: &mut Bytes) -> Result<LogRecord, Malformed> {
    if bytes.len() < 24 {
        return Err(Malformed);
    }
    let (seq, first, at) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_i64_le());
    let mut part = || {
        let len = (bytes.len() >= 4).then(|| bytes.get_u32_le() as usize).filter(|len| *len <= bytes.len());
        len.map(|len| bytes.split_to(len)).ok_or(Malformed)
    };
    let (by, update, shares) = (part()?, part()?, part()?);
    let by = std::str::from_utf8(&by).ok().and_then(PrincipalId::parse).ok_or(Malformed)?;
    let shares = if shares.is_empty() { Vec::new() } else { serde_json::from_slice(&shares).map_err(|_| Malformed)? };
    Ok(LogRecord { seq, first, by, at, update, shares })
}

/// A file's header: the same for the same path and size, whoever writes it and whenever.
pub(super) fn header(path: &str, size: u64) -> Result<[u8; BLOCK], Malformed> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).map_err(|_| Malformed)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Path and size of a file, from its header. Only what [`header`] writes is read.
pub(super) fn read_header(block: &[u8; BLOCK]) -> Result<(String, u64), Malformed> {
    let read = tar::Header::from_byte_slice(block);
    let size = read.entry_size().map_err(|_| Malformed)?;
    let path = read.path_bytes();
    let path = std::str::from_utf8(&path).map_err(|_| Malformed)?.to_owned();
    if header(&path, size)? == *block { Ok((path, size)) } else { Err(Malformed) }
}

/// Bytes between a file's end and the next block.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}
