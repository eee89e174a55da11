//! Yjs updates: writing keystrokes whose clocks we choose, and reading which keystrokes an update carries.
//!
//! A server may merge updates, split them or send them as they came. What is counted is therefore never a message but the
//! range of clocks of each client that it brings. Source of the format: `yjs/src/utils/UpdateEncoder.js`, version 1.

/// The shared type that all keystrokes go into.
pub const ROOT: &str = "text";

/// Bytes that are not an update this program understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed update: {0}")]
pub struct Malformed(pub &'static str);

/// Appends the update that inserts `text` behind everything this client inserted before. `clock` counts its UTF-16 units so far;
/// `text` must be ASCII.
pub fn insert(client: u64, clock: u32, text: &str, out: &mut Vec<u8>) {
    debug_assert!(text.is_ascii() && !text.is_empty());
    const STRING: u8 = 4;
    const HAS_ORIGIN: u8 = 0x80;
    // One client's section with one struct.
    out.extend_from_slice(&[1, 1]);
    write_var_uint(out, client);
    write_var_uint(out, u64::from(clock));
    if clock == 0 {
        // Nothing of ours to stand behind: the parent is named instead.
        out.extend_from_slice(&[STRING, 1]);
        write_var_bytes(out, ROOT.as_bytes());
    } else {
        out.push(STRING | HAS_ORIGIN);
        write_var_uint(out, client);
        write_var_uint(out, u64::from(clock - 1));
    }
    write_var_bytes(out, text.as_bytes());
    // No deletions.
    out.push(0);
}

/// Calls `found` with client, first clock and clock past the end for every run of structs that the update brings.
pub fn ranges(update: &[u8], mut found: impl FnMut(u64, u32, u32)) -> Result<(), Malformed> {
    let mut reader = Reader(update);
    for _ in 0..reader.var_uint()? {
        let structs = reader.var_uint()?;
        let client = reader.var_uint()?;
        let mut clock = reader.clock()?;
        let mut start = clock;
        for _ in 0..structs {
            let (len, is_skip) = skip_struct(&mut reader)?;
            if is_skip {
                if clock > start {
                    found(client, start, clock);
                }
                start = clock + len;
            }
            clock = clock.checked_add(len).ok_or(Malformed("a clock too large"))?;
        }
        if clock > start {
            found(client, start, clock);
        }
    }
    Ok(())
}

/// How many elements the struct has, and whether it only stands for a gap.
fn skip_struct(reader: &mut Reader<'_>) -> Result<(u32, bool), Malformed> {
    const GC: u8 = 0;
    const SKIP: u8 = 10;
    let info = reader.u8()?;
    let kind = info & 0x1f;
    if matches!(kind, GC | SKIP) {
        return Ok((reader.clock()?, kind == SKIP));
    }
    let neighbours = u32::from(info & 0x80 != 0) + u32::from(info & 0x40 != 0);
    for _ in 0..2 * neighbours {
        reader.var_uint()?;
    }
    if neighbours == 0 {
        if reader.var_uint()? == 1 {
            reader.var_bytes()?;
        } else {
            reader.var_uint()?;
            reader.var_uint()?;
        }
        if info & 0x20 != 0 {
            reader.var_bytes()?;
        }
    }
    Ok((skip_content(kind, reader)?, false))
}

fn skip_content(kind: u8, reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    match kind {
        // Deleted.
        1 => reader.clock(),
        // JSON: a list of strings.
        2 => {
            let count = reader.clock()?;
            for _ in 0..count {
                reader.var_bytes()?;
            }
            Ok(count)
        }
        // Binary, Embed.
        3 | 5 => reader.var_bytes().map(|_| 1),
        // String: counted in UTF-16 units.
        4 => {
            let text = reader.var_bytes()?;
            if text.is_ascii() {
                return Ok(text.len() as u32);
            }
            let text = std::str::from_utf8(text).map_err(|_| Malformed("a string that is not UTF-8"))?;
            Ok(text.encode_utf16().count() as u32)
        }
        // Format: key and value.
        6 => reader.var_bytes().and(reader.var_bytes()).map(|_| 1),
        // A shared type; XML elements and hooks have a name.
        7 => {
            if matches!(reader.var_uint()?, 3 | 5) {
                reader.var_bytes()?;
            }
            Ok(1)
        }
        // Any: a list of values.
        8 => {
            let count = reader.clock()?;
            for _ in 0..count {
                skip_any(reader, 0)?;
            }
            Ok(count)
        }
        // A subdocument: its id and options.
        9 => {
            reader.var_bytes()?;
            skip_any(reader, 0)?;
            Ok(1)
        }
        _ => Err(Malformed("an unknown kind of content")),
    }
}

fn skip_any(reader: &mut Reader<'_>, depth: u32) -> Result<(), Malformed> {
    if depth > 64 {
        return Err(Malformed("a value nested too deep"));
    }
    match reader.u8()? {
        // Undefined, null, true, false.
        127 | 126 | 120 | 121 => Ok(()),
        125 => reader.var_uint().map(drop),
        124 => reader.take(4).map(drop),
        122 | 123 => reader.take(8).map(drop),
        119 | 116 => reader.var_bytes().map(drop),
        118 => {
            for _ in 0..reader.var_uint()? {
                reader.var_bytes()?;
                skip_any(reader, depth + 1)?;
            }
            Ok(())
        }
        117 => {
            for _ in 0..reader.var_uint()? {
                skip_any(reader, depth + 1)?;
            }
            Ok(())
        }
        _ => Err(Malformed("an unknown kind of value")),
    }
}

/// lib0's decoding, as far as it is needed here. The server's own decoder is not used: what checks it should not share its mistakes.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn var_uint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("an integer too long"))
    }

    fn clock(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.var_uint()?).map_err(|_| Malformed("a clock too large"))
    }

    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).ok().filter(|len| *len <= self.0.len());
        let (taken, rest) = self.0.split_at(len.ok_or(Malformed("a length past its end"))?);
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn var_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.var_uint()?;
        self.take(len)
    }
}

pub(crate) fn write_var_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use yrs::updates::decoder::Decode;
    use yrs::{Any, Array, Doc, GetString, Map, ReadTxn, StateVector, Text, Transact, Update};

    use super::*;

    fn found(update: &[u8]) -> Vec<(u64, u32, u32)> {
        let mut all = Vec::new();
        ranges(update, |client, start, end| all.push((client, start, end))).expect("an update");
        all.sort_unstable();
        all
    }

    fn keystrokes(client: u64, clocks: std::ops::Range<u32>) -> Vec<Vec<u8>> {
        clocks
            .map(|clock| {
                let mut update = Vec::new();
                insert(client, clock, "x", &mut update);
                update
            })
            .collect()
    }

    #[test]
    fn keystrokes_are_updates_that_yrs_integrates() {
        let doc = Doc::new();
        for update in keystrokes(7, 0..300) {
            doc.transact_mut().apply_update(Update::decode_v1(&update).expect("an update")).expect("it applies");
        }
        let text = doc.get_or_insert_text(ROOT);
        assert_eq!(text.get_string(&doc.transact()), "x".repeat(300));
    }

    #[test]
    fn one_keystroke_is_one_clock() {
        assert_eq!(found(&keystrokes(1 << 31, 200..201)[0]), [(1 << 31, 200, 201)]);
    }

    #[test]
    fn merged_updates_show_their_whole_range_and_gaps_do_not_count() {
        let merged = yrs::merge_updates_v1(keystrokes(7, 0..5).iter().map(Vec::as_slice)).expect("they merge");
        assert_eq!(found(&merged), [(7, 0, 5)]);
        let mut with_gap = keystrokes(7, 0..2);
        with_gap.extend(keystrokes(7, 4..6));
        with_gap.extend(keystrokes(8, 0..1));
        let merged = yrs::merge_updates_v1(with_gap.iter().map(Vec::as_slice)).expect("they merge");
        assert_eq!(found(&merged), [(7, 0, 2), (7, 4, 6), (8, 0, 1)]);
    }

    #[test]
    fn every_kind_of_content_is_counted() {
        let doc = Doc::with_client_id(9);
        let (text, map, array) =
            (doc.get_or_insert_text("t"), doc.get_or_insert_map("m"), doc.get_or_insert_array("a"));
        let mut txn = doc.transact_mut();
        text.insert(&mut txn, 0, "hello");
        text.remove_range(&mut txn, 0, 1);
        text.format(&mut txn, 1, 2, [("b".into(), true.into())].into());
        array.insert(&mut txn, 0, yrs::TextPrelim::new("é\u{1F600}"));
        map.insert(&mut txn, "k", Any::from_json(r#"{"a":[1,2.5,null,"x",true]}"#).expect("JSON"));
        map.insert(&mut txn, "n", yrs::MapPrelim::default());
        array.insert_range(&mut txn, 0, [1, 2, 3]);
        drop(txn);
        let txn = doc.transact();
        let expected = txn.state_vector().get(&yrs::block::ClientID::new(9));
        assert_eq!(found(&txn.encode_diff_v1(&StateVector::default())), [(9, 0, expected)]);
    }

    #[test]
    fn what_is_cut_off_is_no_update() {
        let update = &keystrokes(7, 1..2)[0];
        for end in 1..update.len() - 1 {
            assert!(ranges(&update[..end], |_, _, _| ()).is_err(), "{end}");
        }
    }
}
