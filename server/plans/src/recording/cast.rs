//! The file format of recordings, asciicast version 2 (<https://docs.asciinema.org/manual/asciicast/v2/>): bytes and times in,
//! lines of JSON out. The first line is the header, each other an event `[seconds, kind, text]`.
//!
//! **Invariant:** what was taken so far is a whole file, whenever it ends: only whole lines are taken.

use std::time::Duration;

use buildspaces_kernel::UnixMillis;

use crate::ports::Size;

/// Largest recording. Then it ends, and says so.
pub const MAX_BYTES: u64 = 16 << 20;

/// What stands where such a one ends.
pub const TOO_LARGE: &str = "This recording came to its largest size, 16 MiB.";

/// Room for the event that says so.
const RESERVED: u64 = 128;

/// A recording as it grows.
#[derive(Debug)]
pub struct Cast {
    /// Whole lines that were not taken yet.
    lines: Vec<u8>,
    /// The first bytes of a character whose rest has not come.
    held: Vec<u8>,
    bytes: u64,
    limit: u64,
    is_full: bool,
    /// When the last event happened.
    end: Duration,
}

impl Cast {
    pub fn new(title: &str, started_at: UnixMillis, size: Size) -> Self {
        Self::with_limit(title, started_at, size, MAX_BYTES)
    }

    fn with_limit(title: &str, started_at: UnixMillis, size: Size, limit: u64) -> Self {
        let header = serde_json::json!({
            "version": 2,
            "width": size.cols,
            "height": size.rows,
            "timestamp": started_at / 1000,
            "title": title,
        });
        let mut cast =
            Self { lines: Vec::new(), held: Vec::new(), bytes: 0, limit, is_full: false, end: Duration::ZERO };
        cast.push(&header.to_string());
        cast
    }

    /// What was shown. A character that comes in parts is in the event that has its last; what is none becomes U+FFFD.
    pub fn output(&mut self, at: Duration, bytes: &[u8]) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let rest = chunk.invalid();
            let is_begun = || std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && is_begun() {
                self.held = rest.to_vec();
            } else if !rest.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        if !text.is_empty() {
            self.event(at, "o", &text);
        }
    }

    /// What makes an emulator look as the terminal does, in place of what was missed.
    pub fn picture(&mut self, at: Duration, bytes: &[u8]) {
        self.held.clear();
        self.output(at, bytes);
    }

    pub fn resize(&mut self, at: Duration, size: Size) {
        self.event(at, "r", &format!("{}x{}", size.cols, size.rows));
    }

    /// Nothing follows.
    pub fn finish(&mut self, at: Duration) {
        if !std::mem::take(&mut self.held).is_empty() {
            self.event(at, "o", "\u{fffd}");
        }
    }

    /// Lines that were not taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    /// Bytes of lines that were not taken yet.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// It came to its largest size: nothing more gets in.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// From the beginning to the last event.
    pub fn duration(&self) -> Duration {
        self.end
    }

    fn event(&mut self, at: Duration, kind: &str, text: &str) {
        if self.is_full {
            return;
        }
        self.end = self.end.max(at);
        let line = self.line(kind, text);
        if self.bytes + line.len() as u64 + RESERVED <= self.limit {
            self.push(&line);
        } else {
            self.is_full = true;
            let last = self.line("m", TOO_LARGE);
            self.push(&last);
        }
    }

    fn line(&self, kind: &str, text: &str) -> String {
        // Whole microseconds, as a number that JSON writes with no more digits than that.
        let seconds = self.end.as_micros() as f64 / 1e6;
        serde_json::to_string(&(seconds, kind, text)).expect("a number and two texts are JSON")
    }

    fn push(&mut self, line: &str) {
        self.lines.extend_from_slice(line.as_bytes());
        self.lines.push(b'\n');
        self.bytes += line.len() as u64 + 1;
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const SIZE: Size = Size { rows: 24, cols: 80 };

    fn check(feed: impl FnOnce(&mut Cast), expected: &Expect) {
        let mut cast = Cast::new("Terminal 3", 1_700_000_000_999, SIZE);
        feed(&mut cast);
        expected.assert_eq(&String::from_utf8(cast.take()).expect("UTF-8"));
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_header_and_an_event_for_each_thing_that_happens() {
        check(
            |cast| {
                cast.output(at(248), b"\x1b[1mhi\x1b[m\r\n\"quoted\" \\\x07");
                cast.resize(at(1001), Size { rows: 10, cols: 40 });
                cast.output(Duration::from_micros(2_500_001), "žluťoučký 🦀".as_bytes());
                cast.finish(at(3000));
            },
            &expect![[r#"
                {"height":24,"timestamp":1700000000,"title":"Terminal 3","version":2,"width":80}
                [0.248,"o","\u001b[1mhi\u001b[m\r\n\"quoted\" \\\u0007"]
                [1.001,"r","40x10"]
                [2.500001,"o","žluťoučký 🦀"]
            "#]],
        );
    }

    #[test]
    fn characters_in_parts_are_joined_and_what_is_none_is_replaced() {
        check(
            |cast| {
                for byte in "🦀é".bytes() {
                    cast.output(at(1), &[byte]);
                }
                cast.output(at(2), b"a\xffb\xf0\x9f\xa6c");
                // The first half of a character, then something else.
                cast.output(at(3), b"d\xe4\xbd");
                cast.output(at(4), b"e");
                cast.output(at(5), b"f\xe4\xbd");
                cast.finish(at(6));
            },
            &expect![[r#"
                {"height":24,"timestamp":1700000000,"title":"Terminal 3","version":2,"width":80}
                [0.001,"o","🦀"]
                [0.001,"o","é"]
                [0.002,"o","a�b�c"]
                [0.003,"o","d"]
                [0.004,"o","�e"]
                [0.005,"o","f"]
                [0.006,"o","�"]
            "#]],
        );
    }

    #[test]
    fn a_picture_replaces_what_was_held_back() {
        check(
            |cast| {
                cast.output(at(1), b"\xf0\x9f");
                cast.picture(at(2), b"\x1bcscreen");
                // A clock that goes back.
                cast.output(at(1), b"on");
            },
            &expect![[r#"
                {"height":24,"timestamp":1700000000,"title":"Terminal 3","version":2,"width":80}
                [0.002,"o","\u001bcscreen"]
                [0.002,"o","on"]
            "#]],
        );
    }

    #[test]
    fn it_ends_at_its_largest_size_and_says_so() {
        let mut cast = Cast::with_limit("t", 0, SIZE, 1000);
        let mut taken = Vec::new();
        for second in 0..100 {
            cast.output(Duration::from_secs(second), &[b'x'; 100]);
            taken.extend(cast.take());
        }
        assert!(cast.is_full());
        assert!(taken.len() <= 1000, "{}", taken.len());
        let text = String::from_utf8(taken).expect("UTF-8");
        expect![[r#"[7.0,"m","This recording came to its largest size, 16 MiB."]"#]]
            .assert_eq(text.lines().last().expect("lines"));
        assert_eq!(cast.duration(), Duration::from_secs(7));
    }
}
