//! What a program prints, made fit to be shown to everybody: bytes in, bytes and questions out. Pure.
//!
//! Text, colours, cursor movements, modes and titles pass. Out goes what asks the emulator something (the answer would be
//! typed by whoever looks on, or by nobody, or again at each replay) and what reaches out of the terminal: the clipboard, files,
//! notifications, printers, the window. What is left is what ECMA-48 and xterm's "Control Sequences" say of each; unknown
//! operating-system commands are dropped, unknown control sequences pass, because emulators ignore them.
//!
//! **Invariant:** nothing is held back for long: an unfinished sequence is given up after a bounded number of bytes, and what
//! follows is shown.

use bytes::Bytes;

/// Longest control sequence. A longer one is dropped.
const MAX_SEQUENCE: usize = 128;

/// Longest operating-system command (a title, a link). A longer one is dropped, and what is beyond is text.
const MAX_COMMAND: usize = 4 << 10;

/// Longest other string (pictures). They are dropped whole; past this length, or a line's end, what follows is text again.
const MAX_STRING: usize = 64 << 10;

/// Operating-system commands that change only how the terminal looks: titles, colours, the working folder, links, marks of
/// prompts. Not 52 (clipboard), 9 and 777 (notifications), 1337 (files) and the like.
const COMMANDS: [&str; 13] = ["0", "1", "2", "4", "7", "8", "10", "11", "12", "104", "110", "111", "133"];

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const ENQ: u8 = 0x05;
const CANCEL: [u8; 2] = [0x18, 0x1a];
/// The first byte of U+0080 to U+00BF, among them the control characters of eight bits.
const C1_LEAD: u8 = 0xc2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// To be shown.
    Shown(Bytes),
    /// To be answered, at this point of what is shown.
    Asked(Question),
}

/// What programs wait for an answer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// What kind of terminal is this? DA1.
    Attributes,
    /// Of which version? DA2.
    Version,
    /// Are you well? DSR 5.
    Status,
    /// Where is the cursor? DSR 6, and DECXCPR with `extended`.
    Cursor { extended: bool },
}

impl Question {
    /// The answer, with the cursor's row and column counted from zero.
    pub fn answer(self, cursor: (u16, u16)) -> Bytes {
        let (row, column) = (u32::from(cursor.0) + 1, u32::from(cursor.1) + 1);
        match self {
            // A VT100 with advanced video: what xterm.js says of itself.
            Self::Attributes => Bytes::from_static(b"\x1b[?1;2c"),
            Self::Version => Bytes::from_static(b"\x1b[>0;276;0c"),
            Self::Status => Bytes::from_static(b"\x1b[0n"),
            Self::Cursor { extended: false } => format!("\x1b[{row};{column}R").into(),
            Self::Cursor { extended: true } => format!("\x1b[?{row};{column}R").into(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Text,
    /// After [`C1_LEAD`].
    Lead,
    Escape,
    Sequence,
    /// A control sequence that is too long.
    Overlong,
    Command,
    /// After ESC in a command: `\` ends it.
    CommandEscape,
    /// Any other string, and how long it is.
    String(usize),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// What was read of the present sequence or command.
    /// **Invariant:** never longer than its bound.
    held: Vec<u8>,
    shown: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Filter {
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.state == State::Text {
                // Nearly everything, so in one go.
                let special = |byte: &u8| matches!(*byte, ESC | ENQ | C1_LEAD);
                let plain = rest.iter().position(special).unwrap_or(rest.len());
                if plain > 0 {
                    self.shown.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.byte(byte);
            rest = after;
        }
        self.flush();
        std::mem::take(&mut self.pieces)
    }

    fn flush(&mut self) {
        if !self.shown.is_empty() {
            self.pieces.push(Piece::Shown(std::mem::take(&mut self.shown).into()));
        }
    }

    fn ask(&mut self, question: Question) {
        self.flush();
        self.pieces.push(Piece::Asked(question));
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.held.clear();
    }

    fn byte(&mut self, byte: u8) {
        match self.state {
            State::Text => match byte {
                ESC => self.enter(State::Escape),
                ENQ => {}
                C1_LEAD => self.enter(State::Lead),
                _ => self.shown.push(byte),
            },
            State::Lead => {
                self.enter(State::Text);
                match byte {
                    // Control characters of eight bits, in UTF-8: another way to begin a sequence.
                    0x80..0xa0 => {}
                    0xa0..0xc0 => self.shown.extend([C1_LEAD, byte]),
                    // Not UTF-8. The first byte goes, or it might meet one that makes a control character of it when what
                    // stands between is taken out.
                    _ => self.byte(byte),
                }
            }
            State::String(_) | State::Command | State::CommandEscape => self.in_string(byte),
            State::Escape | State::Sequence | State::Overlong => match byte {
                ESC => self.enter(State::Escape),
                ENQ | 0x7f => {}
                _ if CANCEL.contains(&byte) => self.enter(State::Text),
                // Carried out in the middle of a sequence.
                0..0x20 => self.shown.push(byte),
                0x80.. => {
                    self.enter(State::Text);
                    self.byte(byte);
                }
                _ if self.state == State::Escape => self.in_escape(byte),
                _ => self.in_sequence(byte),
            },
        }
    }

    fn in_escape(&mut self, byte: u8) {
        match byte {
            0x20..0x30 if self.held.len() < MAX_SEQUENCE => self.held.push(byte),
            0x20..0x30 => self.enter(State::Text),
            _ if !self.held.is_empty() => self.pass(b"", byte),
            b'[' => self.enter(State::Sequence),
            b']' => self.enter(State::Command),
            b'P' | b'X' | b'^' | b'_' => self.enter(State::String(0)),
            b'Z' => {
                self.enter(State::Text);
                self.ask(Question::Attributes);
            }
            // The end of a string that was dropped.
            b'\\' => self.enter(State::Text),
            _ => self.pass(b"", byte),
        }
    }

    fn in_sequence(&mut self, byte: u8) {
        if !(0x40..=0x7e).contains(&byte) {
            if self.held.len() < MAX_SEQUENCE {
                self.held.push(byte);
            } else {
                self.enter(State::Overlong);
            }
            return;
        }
        if self.state == State::Overlong {
            return self.enter(State::Text);
        }
        match verdict(&self.held, byte) {
            Verdict::Pass => self.pass(b"[", byte),
            Verdict::Drop => self.enter(State::Text),
            Verdict::Ask(question) => {
                self.enter(State::Text);
                self.ask(question);
            }
        }
    }

    fn pass(&mut self, introducer: &[u8], last: u8) {
        self.shown.push(ESC);
        self.shown.extend_from_slice(introducer);
        self.shown.append(&mut self.held);
        self.shown.push(last);
        self.enter(State::Text);
    }

    fn in_string(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::CommandEscape, b'\\') | (State::Command, BEL) => self.end_command(),
            (State::CommandEscape, _) => {
                self.enter(State::Escape);
                self.byte(byte);
            }
            (State::Command, ESC) => self.state = State::CommandEscape,
            (State::String(_), ESC) => self.enter(State::Escape),
            (State::String(_), BEL) => self.enter(State::Text),
            (_, _) if CANCEL.contains(&byte) => self.enter(State::Text),
            // No command goes over a line's end, nor does what is worth having of the others; one that seems to was never
            // finished.
            (_, b'\n') => {
                self.enter(State::Text);
                self.byte(byte);
            }
            (State::Command, 0..0x20 | 0x7f) => {}
            (State::Command, _) if self.held.len() < MAX_COMMAND => self.held.push(byte),
            (State::String(length), _) if length < MAX_STRING => self.state = State::String(length + 1),
            _ => self.enter(State::Text),
        }
    }

    fn end_command(&mut self) {
        let command = std::mem::take(&mut self.held);
        self.enter(State::Text);
        if is_harmless(&command) {
            self.shown.extend_from_slice(b"\x1b]");
            self.shown.extend_from_slice(&command);
            self.shown.push(BEL);
        }
    }
}

enum Verdict {
    Pass,
    Drop,
    Ask(Question),
}

/// What becomes of the control sequence with these parameters and intermediate bytes.
fn verdict(held: &[u8], last: u8) -> Verdict {
    let private = held.first().copied().filter(|byte| (b'<'..=b'?').contains(byte));
    let from = held.iter().position(|byte| (0x20..0x30).contains(byte)).unwrap_or(held.len());
    let (parameters, intermediates) = held.split_at(from);
    let parameters = &parameters[usize::from(private.is_some())..];
    match (private, intermediates, last) {
        (None, [], b'c') if matches!(parameters, b"" | b"0") => Verdict::Ask(Question::Attributes),
        (Some(b'>'), [], b'c') if matches!(parameters, b"" | b"0") => Verdict::Ask(Question::Version),
        (None, [], b'n') if parameters == b"5" => Verdict::Ask(Question::Status),
        (None, [], b'n') if parameters == b"6" => Verdict::Ask(Question::Cursor { extended: false }),
        (Some(b'?'), [], b'n') if parameters == b"6" => Verdict::Ask(Question::Cursor { extended: true }),
        // Attributes, status, the window (size, title), printing, terminal parameters.
        (_, [], b'c' | b'n' | b't' | b'i' | b'x') => Verdict::Drop,
        // The emulator's name; the keyboard protocol.
        (Some(_), [], b'q' | b'u') => Verdict::Drop,
        // Modes, presentation state, checksums.
        (_, [b'$' | b'*', ..], b'p' | b'w' | b'u' | b'y') => Verdict::Drop,
        _ => Verdict::Pass,
    }
}

fn is_harmless(command: &[u8]) -> bool {
    let Ok(command) = std::str::from_utf8(command) else { return false };
    if command.chars().any(char::is_control) {
        return false;
    }
    let (number, value) = command.split_once(';').unwrap_or((command, ""));
    match number {
        // Colours: a question mark asks for one.
        "4" | "10" | "11" | "12" => !value.contains('?'),
        // A link may lead to a web page only.
        "8" => value.split_once(';').is_some_and(|(_, address)| {
            address.is_empty() || address.starts_with("https://") || address.starts_with("http://")
        }),
        _ => COMMANDS.contains(&number),
    }
}

#[cfg(test)]
mod tests;
