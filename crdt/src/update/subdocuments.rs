//! Keeps subdocuments out of yrs.
//!
//! yrs 0.28 makes a document of its own of every subdocument. It never frees a document that contains one, and it reads freed
//! memory when one is deleted together with the type it lies in. For the document around it a subdocument is one opaque
//! element, and so is binary content: [`hide`] turns the first into the second, marked, before yrs sees it, and [`reveal`]
//! turns it back in what comes out. Clients and the disk never see the disguise.

use super::{BINARY, DOCUMENT, Malformed, Parsed, parse};
use crate::lib0::{Reader, write_var_bytes, write_var_uint};

/// Begins binary content that stands for something else.
const MARK: &[u8] = b"\x00buildspaces/hidden\x00";

/// What follows the mark: a subdocument's content, or binary content that began with the mark itself.
const SUBDOCUMENT: u8 = 1;
const MARKED_BINARY: u8 = 0;

pub(super) fn is_marked(binary: &[u8]) -> bool {
    binary.starts_with(MARK)
}

/// The update as yrs may see it.
pub(crate) fn hide(update: &Parsed<'_>) -> Vec<u8> {
    rewrite(update, |kind, content, out| {
        let tag = match kind {
            DOCUMENT => SUBDOCUMENT,
            BINARY => MARKED_BINARY,
            _ => return None,
        };
        let content = if kind == BINARY { Reader::new(content).var_bytes().ok()? } else { content };
        if kind == BINARY && !is_marked(content) {
            return None;
        }
        write_var_uint(out, (MARK.len() + 1 + content.len()) as u64);
        out.extend_from_slice(MARK);
        out.push(tag);
        out.extend_from_slice(content);
        Some(BINARY)
    })
}

/// An update that yrs wrote, as it was before [`hide`].
pub(crate) fn reveal(update: &[u8]) -> Result<Vec<u8>, Malformed> {
    let parsed = parse(update)?;
    if !parsed.needs_rewrite {
        return Ok(update.to_vec());
    }
    Ok(rewrite(&parsed, |kind, content, out| {
        if kind != BINARY {
            return None;
        }
        let (tag, content) = Reader::new(content).var_bytes().ok()?.strip_prefix(MARK)?.split_first()?;
        if *tag == SUBDOCUMENT {
            out.extend_from_slice(content);
            return Some(DOCUMENT);
        }
        write_var_bytes(out, content);
        Some(BINARY)
    }))
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
