//! A whole document in the form that yrs would give it in the end: cut into the pieces that it is in, and without what is deleted.
//!
//! To cut a long text in thousands of places takes yrs seconds, and to delete a hundred thousand blocks minutes, because each time it moves or counts
//! all the rest. Read in this form, nothing is left to cut or to close up, and the time grows with the document's size.

use super::merge::Writer;
use super::work::{Kind, Model, Piece};
use super::{ANY, DELETED, GC, HAS_LEFT, HAS_RIGHT, Parsed, STRING, Struct, any};
use crate::Malformed;
use crate::lib0::{Reader, write_var_bytes, write_var_uint};

/// Writes `all`, a whole document that `model` has taken in.
pub(crate) fn settled(all: &Parsed<'_>, model: &Model) -> Result<Vec<u8>, Malformed> {
    let mut writer = Writer::new(all.bytes.len());
    for section in &all.sections {
        let mut out = Section { client: section.client, count: 0, body: Vec::new(), open: None };
        let mut pieces = model.pieces(section.client).peekable();
        for index in section.from as usize..section.to as usize {
            let item = &all.structs[index];
            let (head, content) = all.bytes[item.at as usize..all.bytes_end(section, index)]
                .split_at((item.content_at - item.at) as usize);
            let mut content = Content::new(item, content)?;
            let mut from = item.clock;
            while from < item.end() {
                let no_piece = Malformed("a document that its model does not have");
                let mut piece = pieces.next_if(|piece| piece.end <= item.end()).ok_or(no_piece)?;
                // What yrs would join again at once is not cut.
                while piece.kind == Kind::Live
                    && let Some(next) = pieces.next_if(|next| next.is_joined && next.end <= item.end())
                {
                    piece.end = next.end;
                }
                out.push(item, head, &mut content, from, piece)?;
                from = piece.end;
            }
        }
        out.close();
        let first = all.structs[section.from as usize].clock;
        writer.append_section(section.client, first, out.count, &out.body);
    }
    Ok(writer.finish(all.deletes.clone()))
}

struct Section {
    client: u64,
    count: u64,
    body: Vec<u8>,
    /// The head of a struct of which nothing is left but its length, and that.
    open: Option<(Vec<u8>, u64)>,
}

impl Section {
    fn push(
        &mut self,
        item: &Struct,
        head: &[u8],
        content: &mut Content<'_>,
        from: u32,
        piece: Piece,
    ) -> Result<(), Malformed> {
        let len = piece.end - from;
        if piece.kind != Kind::Live {
            content.skip(len)?;
            if let Some((_, open)) = self.open.as_mut().filter(|_| piece.is_joined) {
                *open += u64::from(len);
                return Ok(());
            }
            self.close();
            let head = match piece.kind {
                Kind::Collected => vec![GC],
                _ => self.head(item, head, from, DELETED),
            };
            self.open = Some((head, u64::from(len)));
            return Ok(());
        }
        self.close();
        let head = self.head(item, head, from, item.kind);
        self.body.extend(head);
        content.write(len, &mut self.body)?;
        self.count += 1;
        Ok(())
    }

    /// The head of the part of a struct from a clock on, with another kind of content.
    fn head(&self, item: &Struct, head: &[u8], from: u32, kind: u8) -> Vec<u8> {
        let mut new = Vec::with_capacity(head.len() + 16);
        if from == item.clock {
            new.push(head[0] & !0x1f | kind);
            new.extend_from_slice(&head[1..]);
            return new;
        }
        new.push(kind | HAS_LEFT | if item.right.is_some() { HAS_RIGHT } else { 0 });
        write_var_uint(&mut new, self.client);
        write_var_uint(&mut new, u64::from(from - 1));
        if let Some(right) = item.right {
            write_var_uint(&mut new, right.client);
            write_var_uint(&mut new, u64::from(right.clock));
        }
        new
    }

    fn close(&mut self) {
        if let Some((head, len)) = self.open.take() {
            self.body.extend(head);
            write_var_uint(&mut self.body, len);
            self.count += 1;
        }
    }
}

/// What is left of the content of a struct, which is read once from its beginning to its end.
enum Content<'a> {
    Text(Text<'a>),
    Values(Reader<'a>),
    /// Elements of which nothing is left.
    Gone,
    /// One element.
    Whole(&'a [u8]),
}

struct Text<'a> {
    chars: std::str::Chars<'a>,
    /// The second half of a surrogate pair comes next.
    is_cut: bool,
}

impl<'a> Content<'a> {
    fn new(item: &Struct, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match item.kind {
            STRING => Self::Text(Text { chars: reader.var_str()?.chars(), is_cut: false }),
            ANY => {
                reader.var_uint()?;
                Self::Values(reader)
            }
            GC | DELETED => Self::Gone,
            _ => Self::Whole(bytes),
        })
    }

    fn skip(&mut self, len: u32) -> Result<(), Malformed> {
        match self {
            Self::Text(text) => text.read(len, |_| {}),
            Self::Values(values) => (0..len).try_for_each(|_| any(values, 0).map(drop))?,
            Self::Gone | Self::Whole(_) => {}
        }
        Ok(())
    }

    fn write(&mut self, len: u32, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Text(text) => {
                let mut piece = String::new();
                text.read(len, |c| piece.push(c));
                write_var_bytes(out, piece.as_bytes());
            }
            Self::Values(values) => {
                let before = values.rest();
                (0..len).try_for_each(|_| any(values, 0).map(drop))?;
                write_var_uint(out, u64::from(len));
                out.extend_from_slice(&before[..before.len() - values.left()]);
            }
            Self::Gone => write_var_uint(out, u64::from(len)),
            Self::Whole(bytes) => out.extend_from_slice(bytes),
        }
        Ok(())
    }
}

impl Text<'_> {
    /// Reads so many UTF-16 units. Of a surrogate pair that is cut, Yjs replaces both halves.
    fn read(&mut self, len: u32, mut take: impl FnMut(char)) {
        let mut left = len;
        while left > 0 {
            if std::mem::take(&mut self.is_cut) {
                take(char::REPLACEMENT_CHARACTER);
                left -= 1;
                continue;
            }
            let Some(c) = self.chars.next() else { return };
            self.is_cut = c.len_utf16() as u32 > left;
            take(if self.is_cut { char::REPLACEMENT_CHARACTER } else { c });
            left = left.saturating_sub(c.len_utf16() as u32);
        }
    }
}
