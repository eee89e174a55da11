//! Carries through yrs what it would break or change.
//!
//! - **Subdocuments.** yrs 0.28 makes a document of its own of every one. It never frees a document that contains one, and it reads freed
//!   memory when one is deleted together with the type it lies in. For the document around it a subdocument is one opaque element.
//! - **`BigInt`.** yrs has one kind of integer and writes it as a number, so those who come later would get another type, and above
//!   2^53 another value.
//! - **-0.** yrs loses the sign of an integer. It keeps that of a fraction.
//!
//! [`hide`] turns the first two into binary content, marked, before yrs sees them, and [`reveal`] turns them back in what comes out. Clients
//! and the disk never see the disguise; who reads values of the yrs document asks [`Binary::of`]. -0 goes in as the fraction it may as well
//! be, and stays one.

use super::{ANY, BINARY, DOCUMENT, Malformed, Parsed, any, parse};
use crate::lib0::{Reader, write_var_bytes, write_var_uint};

/// Begins binary content that stands for something else.
const MARK: &[u8] = b"\x00buildspaces/hidden\x00";

/// What follows the mark: binary content that began with the mark itself, a subdocument's content, or the bytes of a `BigInt`.
const MARKED_BINARY: u8 = 0;
const SUBDOCUMENT: u8 = 1;
const BIG_INT: u8 = 2;

/// Kinds of values (`lib0/encoding.js`, `writeAny`).
const INTEGER: u8 = 125;
const FLOAT_32: u8 = 124;
const BIG_INT_VALUE: u8 = 122;
const OBJECT: u8 = 118;
const ARRAY: u8 = 117;
const BINARY_VALUE: u8 = 116;

/// What a client wrote that yrs holds as binary content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary<'a> {
    Bytes(&'a [u8]),
    BigInt(i64),
    Subdocument,
}

impl<'a> Binary<'a> {
    /// What the binary content `held` by yrs stands for.
    pub fn of(held: &'a [u8]) -> Self {
        let Some((tag, content)) = held.strip_prefix(MARK).and_then(|rest| rest.split_first()) else {
            return Self::Bytes(held);
        };
        match (*tag, content.try_into()) {
            (BIG_INT, Ok(value)) => Self::BigInt(i64::from_be_bytes(value)),
            (SUBDOCUMENT, _) => Self::Subdocument,
            _ => Self::Bytes(content),
        }
    }
}

/// A `BigInt` as yrs is to hold it.
pub fn held_big_int(value: i64) -> Vec<u8> {
    [MARK, &[BIG_INT], &value.to_be_bytes()].concat()
}

/// Bytes as yrs is to hold them.
pub fn held_bytes(bytes: &[u8]) -> Vec<u8> {
    if is_marked(bytes) { [MARK, &[MARKED_BINARY], bytes].concat() } else { bytes.to_vec() }
}

pub(super) fn is_marked(binary: &[u8]) -> bool {
    binary.starts_with(MARK)
}

/// The update as yrs may see it.
pub(crate) fn hide(update: &Parsed<'_>) -> Vec<u8> {
    rewrite(update, |kind, content, out| match kind {
        DOCUMENT => {
            write_held(out, SUBDOCUMENT, content);
            Some(BINARY)
        }
        BINARY => {
            let content = Reader::new(content).var_bytes().ok().filter(|content| is_marked(content))?;
            write_held(out, MARKED_BINARY, content);
            Some(BINARY)
        }
        ANY => copy_values(content, out, hide_value).ok(),
        _ => None,
    })
}

/// An update that yrs wrote, as it was before [`hide`].
pub(crate) fn reveal(update: &[u8]) -> Result<Vec<u8>, Malformed> {
    let parsed = parse(update)?;
    if !parsed.needs_rewrite {
        return Ok(update.to_vec());
    }
    Ok(rewrite(&parsed, |kind, content, out| match kind {
        BINARY => {
            let (tag, content) = Reader::new(content).var_bytes().ok()?.strip_prefix(MARK)?.split_first()?;
            if *tag == SUBDOCUMENT {
                out.extend_from_slice(content);
                return Some(DOCUMENT);
            }
            write_var_bytes(out, content);
            Some(BINARY)
        }
        ANY => copy_values(content, out, reveal_value).ok(),
        _ => None,
    }))
}

fn write_held(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    write_var_uint(out, (MARK.len() + 1 + content.len()) as u64);
    out.extend_from_slice(MARK);
    out.push(tag);
    out.extend_from_slice(content);
}

/// Writes another value than the one whose kind and content it gets, or says that it is to be copied.
type ChangeValue = fn(kind: u8, content: &[u8], out: &mut Vec<u8>) -> bool;

fn hide_value(kind: u8, content: &[u8], out: &mut Vec<u8>) -> bool {
    let mut reader = Reader::new(content);
    match kind {
        INTEGER if reader.is_negative_zero() == Ok(true) => {
            out.push(FLOAT_32);
            out.extend_from_slice(&(-0f32).to_be_bytes());
        }
        BIG_INT_VALUE => {
            out.push(BINARY_VALUE);
            write_held(out, BIG_INT, content);
        }
        BINARY_VALUE => match reader.var_bytes() {
            Ok(content) if is_marked(content) => {
                out.push(BINARY_VALUE);
                write_held(out, MARKED_BINARY, content);
            }
            _ => return false,
        },
        _ => return false,
    }
    true
}

fn reveal_value(kind: u8, content: &[u8], out: &mut Vec<u8>) -> bool {
    let held = (kind == BINARY_VALUE).then(|| Reader::new(content).var_bytes().ok()?.strip_prefix(MARK)?.split_first());
    match held.flatten() {
        Some((&BIG_INT, value)) => {
            out.push(BIG_INT_VALUE);
            out.extend_from_slice(value);
        }
        Some((_, bytes)) => {
            out.push(BINARY_VALUE);
            write_var_bytes(out, bytes);
        }
        None => return false,
    }
    true
}

/// Copies the content of [`ANY`] and returns its kind.
fn copy_values(content: &[u8], out: &mut Vec<u8>, change: ChangeValue) -> Result<u8, Malformed> {
    let mut reader = Reader::new(content);
    let count = reader.var_uint()?;
    write_var_uint(out, count);
    for _ in 0..count {
        copy_value(&mut reader, out, change)?;
    }
    Ok(ANY)
}

/// It recurses no deeper than [`any`] let values be.
fn copy_value(reader: &mut Reader<'_>, out: &mut Vec<u8>, change: ChangeValue) -> Result<(), Malformed> {
    let whole = reader.rest();
    let kind = reader.u8()?;
    match kind {
        OBJECT | ARRAY => {
            let count = reader.var_uint()?;
            out.push(kind);
            write_var_uint(out, count);
            for _ in 0..count {
                if kind == OBJECT {
                    write_var_bytes(out, reader.var_bytes()?);
                }
                copy_value(reader, out, change)?;
            }
        }
        _ => {
            *reader = Reader::new(whole);
            any(reader, 0)?;
            let value = &whole[..whole.len() - reader.left()];
            if !change(kind, &value[1..], out) {
                out.extend_from_slice(value);
            }
        }
    }
    Ok(())
}

/// Copies an update. `change` may write another content and return its kind.
fn rewrite(update: &Parsed<'_>, change: impl Fn(u8, &[u8], &mut Vec<u8>) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(update.bytes.len() + 64);
    let mut content = Vec::new();
    let mut copied = 0;
    for section in &update.sections {
        for index in section.from as usize..section.to as usize {
            let item = &update.structs[index];
            let end = update.bytes_end(section, index);
            let (at, content_at) = (item.at as usize, item.content_at as usize);
            content.clear();
            if let Some(kind) = change(item.kind, &update.bytes[content_at..end], &mut content) {
                out.extend_from_slice(&update.bytes[copied..at]);
                out.push((update.bytes[at] & !0x1f) | kind);
                out.extend_from_slice(&update.bytes[at + 1..content_at]);
                out.extend_from_slice(&content);
                copied = end;
            }
        }
    }
    out.extend_from_slice(&update.bytes[copied..]);
    out
}
