//! What a terminal shows, for any number of readers at their own pace: the last bytes with offsets, and the screen.
//!
//! The terminal's actor writes, readers read; nobody waits for anybody, and there is no queue. A reader whose place is not
//! kept any more gets a *picture*: bytes that make an emulator look as the terminal does now.
//!
//! What is written here has been through the [filter](super::filter). The screen is kept by the crate `vt100`; the bytes it
//! parses are hostile, so if it should ever panic the picture becomes simpler and everything else goes on.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use crate::ports::Size;

/// Bytes that are kept. When there are more the oldest go, and readers who were not so far get a picture.
pub const KEPT: usize = 256 << 10;

/// Lines above the screen that a picture contains come from what is kept, so none are kept by the screen.
const SCROLLBACK: usize = 0;

/// Makes an emulator forget everything, its scrollback too.
const RESET: &[u8] = b"\x1bc\x1b[3J";

/// What a reader is to show next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// Nothing is new.
    Nothing,
    /// These follow what was shown.
    Bytes(Bytes),
    /// In place of all that was shown before. What follows begins at `offset`.
    Picture { bytes: Bytes, offset: u64 },
}

/// Clones show the same.
#[derive(Clone)]
pub struct Display {
    inner: Arc<Mutex<Inner>>,
    /// Bytes written so far.
    end: watch::Sender<u64>,
}

impl std::fmt::Debug for Display {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Display").field("end", &*self.end.borrow()).finish_non_exhaustive()
    }
}

struct Inner {
    /// Shared with the readers that are sending them.
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    end: u64,
    /// `None` if it could not bear what was printed.
    screen: Option<vt100::Parser>,
}

impl Display {
    pub fn new(size: Size) -> Self {
        let screen = vt100::Parser::new(at_least_one(size.rows), at_least_one(size.cols), SCROLLBACK);
        let inner = Inner { kept: VecDeque::new(), kept_bytes: 0, end: 0, screen: Some(screen) };
        Self { inner: Arc::new(Mutex::new(inner)), end: watch::Sender::new(0) }
    }

    /// Shows more.
    pub fn write(&self, bytes: Bytes) {
        let mut inner = self.lock();
        inner.draw(|screen| screen.process(&bytes));
        inner.end += bytes.len() as u64;
        inner.kept_bytes += bytes.len();
        inner.kept.push_back(bytes);
        while inner.kept_bytes > KEPT
            && let Some(oldest) = inner.kept.pop_front()
        {
            inner.kept_bytes -= oldest.len();
        }
        let end = inner.end;
        drop(inner);
        self.end.send_replace(end);
    }

    pub fn resize(&self, size: Size) {
        self.lock().draw(|screen| screen.set_size(at_least_one(size.rows), at_least_one(size.cols)));
    }

    /// The cursor's row and column, from zero.
    pub fn cursor(&self) -> (u16, u16) {
        self.lock().screen.as_ref().map_or((0, 0), |screen| screen.screen().cursor_position())
    }

    /// Bytes written so far.
    pub fn end(&self) -> u64 {
        self.lock().end
    }

    /// Is everything from there on kept?
    pub fn has(&self, offset: u64) -> bool {
        let inner = self.lock();
        (inner.start()..=inner.end).contains(&offset)
    }

    /// What follows `offset`, at most `limit` bytes of it; a picture is not cut.
    pub fn read(&self, offset: u64, limit: usize) -> Shown {
        let inner = self.lock();
        if offset == inner.end {
            return Shown::Nothing;
        }
        if !(inner.start()..inner.end).contains(&offset) {
            return Shown::Picture { bytes: inner.picture(), offset: inner.end };
        }
        let mut skip = usize::try_from(offset - inner.start()).expect("what is kept fits in memory");
        let mut bytes = Bytes::new();
        for piece in &inner.kept {
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            bytes = piece.slice(skip..piece.len().min(skip.saturating_add(limit)));
            break;
        }
        Shown::Bytes(bytes)
    }

    /// Bytes that make an emulator look as the terminal does now, without the lines above the screen, and the offset of what follows them.
    pub fn screen(&self) -> (Bytes, u64) {
        let inner = self.lock();
        let mut screen = BytesMut::from(RESET);
        inner.draw_screen(&mut screen);
        (screen.freeze(), inner.end)
    }

    /// Completes when there is more than `offset`. Cancel-safe.
    pub async fn more_than(&self, offset: u64) {
        let mut end = self.end.subscribe();
        // The sender is ours, so this never fails.
        let _ = end.wait_for(|end| *end > offset).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("what may panic is caught while it is held")
    }
}

impl Inner {
    fn start(&self) -> u64 {
        self.end - self.kept_bytes as u64
    }

    fn draw(&mut self, change: impl FnOnce(&mut vt100::Parser)) {
        let Some(screen) = &mut self.screen else { return };
        if catch_unwind(AssertUnwindSafe(|| change(screen))).is_err() {
            tracing::warn!("a terminal's screen cannot be followed any more");
            self.screen = None;
        }
    }

    fn picture(&self) -> Bytes {
        let mut picture = BytesMut::from(RESET);
        // What a full-screen program drew before is not what stands above the screen.
        if !self.is_alternate() {
            self.scrollback(&mut picture);
        }
        self.draw_screen(&mut picture);
        picture.freeze()
    }

    fn draw_screen(&self, picture: &mut BytesMut) {
        if self.is_alternate() {
            picture.extend_from_slice(b"\x1b[?1049h");
        }
        if let Some(screen) = &self.screen {
            picture.extend_from_slice(screen.screen().state_formatted().as_bytes());
        }
    }

    fn is_alternate(&self) -> bool {
        self.screen.as_ref().is_some_and(|screen| screen.screen().alternate_screen())
    }

    /// What is kept, from the first whole line on: it may begin in the middle of a sequence.
    fn scrollback(&self, picture: &mut BytesMut) {
        let whole = self.start() == 0;
        let mut begun = whole;
        for piece in &self.kept {
            let from = if begun { Some(0) } else { piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1) };
            if let Some(from) = from {
                begun = true;
                picture.extend_from_slice(&piece[from..]);
            }
        }
        // Whatever that left behind.
        picture.extend_from_slice(b"\x18\x1b[!p\x1b[?1049l");
    }
}

fn at_least_one(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { rows: 5, cols: 20 };

    /// The screen after an emulator has shown `bytes`.
    fn emulated(bytes: &[u8]) -> vt100::Parser {
        let mut parser = vt100::Parser::new(at_least_one(SIZE.rows), at_least_one(SIZE.cols), 100);
        parser.process(bytes);
        parser
    }

    #[test]
    fn readers_go_at_their_own_pace() {
        let display = Display::new(SIZE);
        assert_eq!(display.read(0, 100), Shown::Nothing);
        display.write(Bytes::from_static(b"hello "));
        display.write(Bytes::from_static(b"world"));
        assert_eq!(display.read(0, 100), Shown::Bytes(Bytes::from_static(b"hello ")));
        assert_eq!(display.read(2, 2), Shown::Bytes(Bytes::from_static(b"ll")));
        assert_eq!(display.read(6, 100), Shown::Bytes(Bytes::from_static(b"world")));
        assert_eq!(display.read(11, 100), Shown::Nothing);
        assert!(display.has(11) && !display.has(12));
    }

    #[test]
    fn who_is_too_far_behind_or_ahead_gets_a_picture() {
        let display = Display::new(SIZE);
        display.write(Bytes::from(vec![b'x'; KEPT]));
        display.write(Bytes::from_static(b"\r\n\x1b[31mred\x1b[m\r\n\x1b[?2004hlast"));
        let end = display.end();
        for offset in [0, end + 1] {
            let Shown::Picture { bytes, offset } = display.read(offset, 10) else { panic!("a picture") };
            assert_eq!(offset, end);
            let emulated = emulated(&bytes);
            assert!(emulated.screen().contents().ends_with("red\nlast"), "{:?}", emulated.screen().contents());
            assert!(emulated.screen().bracketed_paste());
            assert_eq!(emulated.screen().cursor_position(), display.cursor());
        }
        assert!(display.lock().kept_bytes <= KEPT);
    }

    #[test]
    fn the_screen_alone_tells_nothing_of_what_was_above_it() {
        let display = Display::new(SIZE);
        display.write(Bytes::from_static(b"earlier\r\n1\r\n2\r\n\x1b[32m3\x1b[m\r\n4\r\nlast"));
        let (bytes, offset) = display.screen();
        assert_eq!(offset, display.end());
        assert!(!String::from_utf8_lossy(&bytes).contains("earlier"), "{bytes:?}");
        let emulated = emulated(&bytes);
        assert_eq!(emulated.screen().contents(), "1\n2\n3\n4\nlast");
        assert_eq!(emulated.screen().cursor_position(), display.cursor());
        display.write(Bytes::from_static(b"\x1b[?1049h\x1b[H\x1b[2Jmenu"));
        assert!(self::emulated(&display.screen().0).screen().alternate_screen());
    }

    #[test]
    fn a_picture_of_a_full_screen_program_leaves_the_lines_above_alone() {
        let display = Display::new(SIZE);
        display.write(Bytes::from(vec![b'y'; KEPT]));
        display.write(Bytes::from_static(b"\r\n\x1b[?1049h\x1b[H\x1b[2Jmenu\x1b[3;3H"));
        let Shown::Picture { bytes, .. } = display.read(0, 10) else { panic!("a picture") };
        let mut emulated = emulated(&bytes);
        assert!(emulated.screen().alternate_screen());
        assert_eq!(emulated.screen().contents(), "menu");
        assert_eq!(emulated.screen().cursor_position(), (2, 2));
        emulated.process(b"\x1b[?1049l");
        assert_eq!(emulated.screen().contents(), "");
    }

    #[test]
    fn hostile_bytes_and_sizes_cost_nothing_but_time() {
        let display = Display::new(SIZE);
        let alphabet = b"\x1b\x1b[[;59?hlABCDHJKLMPSTXr@m\r\n\t\xf0\x9f\xa6\x80\xe4\xbd\xa0";
        let mut seed = 7_u64;
        for round in 0_u16..3000 {
            let mut bytes = Vec::new();
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            display.write(bytes.into());
            if round % 7 == 0 {
                display.resize(Size { rows: round % 60, cols: round % 90 });
            }
        }
        let Shown::Picture { bytes, .. } = display.read(u64::MAX, 1) else { panic!("a picture") };
        assert!(bytes.len() < 2 * KEPT);
    }
}
