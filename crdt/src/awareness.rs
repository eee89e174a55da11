//! Awareness updates: who is where, never saved.
//!
//! Source: `y-protocols/awareness.js`. An update is a count and, for each client, its id, a clock
//! and a state as JSON text; the state `null` says that the client is gone. Receivers call
//! `JSON.parse` on each state, so one bad text would break every peer: [`decode`] checks it.

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::Malformed;
use crate::lib0::{Reader, write_var_bytes, write_var_uint};
use crate::update::check_depth;

/// Largest state of one client, in bytes of JSON.
pub const MAX_STATE_BYTES: usize = 64 * 1024;

/// Most clients that one update may speak of.
pub const MAX_CLIENTS_PER_UPDATE: usize = 64;

/// What an update says about one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub client: u64,
    pub clock: u32,
    /// JSON text; `None` when the client is gone.
    pub state: Option<String>,
}

/// Reads and checks an update.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(3)?;
    if count > MAX_CLIENTS_PER_UPDATE {
        return Err(Malformed("awareness of too many clients at once"));
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let client = reader.var_uint()?;
        let clock = u32::try_from(reader.var_uint()?).map_err(|_| Malformed("an awareness clock above 2^32"))?;
        let json = reader.var_str()?;
        if json.len() > MAX_STATE_BYTES {
            return Err(Malformed("an awareness state above 64 KiB"));
        }
        check_depth(json)?;
        if serde_json::from_str::<IgnoredAny>(json).is_err() {
            return Err(Malformed("an awareness state that is not JSON"));
        }
        entries.push(Entry { client, clock, state: (json.trim() != "null").then(|| json.to_owned()) });
    }
    if !reader.is_empty() {
        return Err(Malformed("bytes after an awareness update"));
    }
    Ok(entries)
}

/// Writes an update about `entries`.
pub fn encode<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_uint(&mut out, entries.len() as u64);
    for entry in entries {
        write_var_uint(&mut out, entry.client);
        write_var_uint(&mut out, u64::from(entry.clock));
        write_var_bytes(&mut out, entry.state.as_deref().unwrap_or("null").as_bytes());
    }
    out
}

/// Takes an update apart without looking into the states: each client with its bytes. `None` if it is malformed.
pub fn split(update: &Bytes) -> Option<Vec<(u64, Bytes)>> {
    let mut reader = Reader::new(update);
    let count = reader.count(3).ok()?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let before = reader.rest();
        let client = reader.var_uint().ok()?;
        reader.var_uint().ok()?;
        reader.var_bytes().ok()?;
        let len = before.len() - reader.rest().len();
        entries.push((client, update.slice_ref(&before[..len])));
    }
    Some(entries)
}

/// Puts together what [`split`] took apart.
pub fn join<'a>(entries: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_uint(&mut out, entries.len() as u64);
    for entry in entries {
        out.extend_from_slice(entry);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_round_trip() {
        let entries = vec![
            Entry { client: 1, clock: 2, state: Some(r#"{"user":"ä"}"#.to_owned()) },
            Entry { client: (1 << 53) - 1, clock: u32::MAX, state: None },
        ];
        let bytes = Bytes::from(encode(entries.iter()));
        let parts = split(&bytes).expect("well-formed");
        assert_eq!(parts.iter().map(|(client, _)| *client).collect::<Vec<_>>(), [1, (1 << 53) - 1]);
        assert_eq!(join(parts.iter().map(|(_, entry)| &entry[..])), bytes);
        assert_eq!(decode(&bytes), Ok(entries));
    }

    #[test]
    fn what_would_break_a_peer_is_refused() {
        let raw = |json: &str| {
            let mut out = vec![1, 1, 1];
            write_var_bytes(&mut out, json.as_bytes());
            out
        };
        assert!(decode(&raw("{}")).is_ok());
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        for bad in ["", "{", "{}x", "undefined", &"[".repeat(500), &deep] {
            assert!(decode(&raw(bad)).is_err(), "{bad:?}");
        }
        assert!(decode(&[0xff, 0xff, 0xff, 0x7f]).is_err());
        assert!(decode(&[0, 0]).is_err());
    }
}
