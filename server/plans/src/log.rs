//! What is kept of a step's output: the capped full log, and the tail that people see live. Pure.
//!
//! Bytes stay as they came in the full log; the tail is text. Where they go is the engine's matter.

/// Largest full log of a run, in bytes. What comes after is dropped, and [`TRUNCATED`] says so at the end.
pub const MAX_LOG_BYTES: u64 = 4 << 20;

/// The last line of a log that was cut at [`MAX_LOG_BYTES`].
pub const TRUNCATED: &[u8] = b"\n[the log is longer than 4 MiB; what came after is not kept]\n";

/// What to append to a log of `stored` bytes when `bytes` come: as many as fit, followed by the note once.
pub fn admit(stored: u64, bytes: &[u8]) -> Vec<u8> {
    let room = usize::try_from(MAX_LOG_BYTES.saturating_sub(stored)).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return bytes.to_vec();
    }
    if stored > MAX_LOG_BYTES {
        // The note is there already: it is what carried the log over the bound.
        return Vec::new();
    }
    let mut kept = bytes[..room].to_vec();
    kept.extend_from_slice(TRUNCATED);
    kept
}

/// Lines of the tail that people see live. Older ones are in the full log.
pub const TAIL_LINES: usize = 200;
/// Bytes of the tail, for programs that write long lines.
pub const TAIL_BYTES: usize = 32 << 10;

/// The last lines of an output.
#[derive(Clone, Default, Debug)]
pub struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.bytes.extend_from_slice(new);
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
    }

    /// The tail as text. An incomplete character at the end is left out, because the rest of it is on its way.
    pub fn text(&self) -> String {
        let lines = last_lines(&self.bytes, TAIL_LINES);
        // A cut by the byte bound may stand within a character: begin at the next one.
        let begin = lines.iter().position(|byte| byte & 0xC0 != 0x80).unwrap_or(lines.len());
        let lines = &lines[begin..];
        let end = match std::str::from_utf8(lines) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // Broken earlier: only the last few bytes can be an unfinished character.
            Err(_) => unfinished_end(lines),
            Ok(_) => lines.len(),
        };
        String::from_utf8_lossy(&lines[..end]).into_owned()
    }
}

/// The last `count` lines; a final line feed ends a line and begins none.
fn last_lines(bytes: &[u8], count: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let begin = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(count - 1);
    begin.map_or(bytes, |(at, _)| &bytes[at + 1..])
}

/// Where an unfinished character at the end begins, or the length.
fn unfinished_end(bytes: &[u8]) -> usize {
    /// A character has at most four bytes, so at most three of it can be waiting for the last.
    const LONGEST_UNFINISHED: usize = 3;
    let from = bytes.len().saturating_sub(LONGEST_UNFINISHED);
    (from..bytes.len())
        .find(|&at| std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none()))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(chunks: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        for chunk in chunks {
            tail.push(chunk);
        }
        tail.text()
    }

    #[test]
    fn a_log_is_cut_once_with_a_note() {
        assert_eq!(admit(0, b"abc"), b"abc");
        assert_eq!(admit(MAX_LOG_BYTES - 3, b"abc"), b"abc");
        let cut = admit(MAX_LOG_BYTES - 1, b"abc");
        assert_eq!(cut, [b"a", TRUNCATED].concat());
        assert_eq!(admit(MAX_LOG_BYTES, b"b"), TRUNCATED);
        assert_eq!(admit(MAX_LOG_BYTES - 1 + cut.len() as u64, b"d"), b"");
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let lines: Vec<String> = (0..TAIL_LINES + 5).map(|line| format!("{line}\n")).collect();
        let text = tail(&[lines.concat().as_bytes()]);
        assert_eq!(text, lines[5..].concat());
        let open = tail(&[lines.concat().as_bytes(), b"open"]);
        assert_eq!(open, lines[6..].concat() + "open");
    }

    #[test]
    fn the_tail_is_bounded_and_cut_between_characters() {
        let text = tail(&["é".repeat(TAIL_BYTES).as_bytes(), b"x"]);
        assert!(text.len() <= TAIL_BYTES && !text.contains('\u{FFFD}'), "{}", text.len());
        assert!(text.ends_with("éx"));
    }

    #[test]
    fn a_character_split_over_two_chunks_shows_when_it_is_whole() {
        let smile = "🙂".as_bytes();
        assert_eq!(tail(&[b"a", &smile[..2]]), "a");
        assert_eq!(tail(&[b"a", &smile[..2], &smile[2..]]), "a🙂");
        assert_eq!(tail(&[b"\xff", b"a", &smile[..3]]), "\u{FFFD}a");
        assert_eq!(tail(&[b"a\xff\n"]), "a\u{FFFD}\n");
    }
}
