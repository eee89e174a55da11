//! WebSocket frames as a client of a load test wants them: read in place from one buffer that all connections share, large ones
//! counted instead of kept, small ones written once and sent many times.
//!
//! The generator has one core for thousands of connections, so it cannot give each a buffer and a copy as a WebSocket library
//! does. The format itself is left to `tungstenite`. Compression and text are not spoken here.

use std::io::Cursor;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

/// Longest header of a frame.
const MAX_HEADER: usize = 14;

/// Something the server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A whole message.
    Binary(&'a [u8]),
    /// The beginning of a message that was longer than is kept, and its length.
    Large(&'a [u8], u64),
    Ping(&'a [u8]),
    /// The close code; 1005 if there was none.
    Close(u16, String),
}

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
#[error("malformed frame: {0}")]
pub struct Malformed(String);

/// Puts frames together from whatever pieces the socket returns.
#[derive(Debug)]
pub struct FrameReader {
    /// A header of which only the beginning is here.
    head: Vec<u8>,
    frame: Option<(FrameHeader, u64)>,
    /// Payload of the message under way, as far as it is kept.
    kept: Vec<u8>,
    /// Length of that message so far.
    len: u64,
    /// Bytes of a message that are kept at most.
    keep: usize,
    control: Vec<u8>,
}

impl FrameReader {
    pub fn new(keep: usize) -> Self {
        Self { head: Vec::new(), frame: None, kept: Vec::new(), len: 0, keep, control: Vec::new() }
    }

    /// Takes what was read, and calls `message` for each message that is complete with it.
    pub fn feed(&mut self, mut data: &[u8], mut message: impl FnMut(Message<'_>)) -> Result<(), Malformed> {
        while !data.is_empty() {
            let Some((header, remaining)) = &mut self.frame else {
                let Some((header, len, used)) = self.header(data)? else { return Ok(()) };
                data = &data[used..];
                let whole = header.is_final && header.opcode == OpCode::Data(Data::Binary) && len <= data.len() as u64;
                if whole && len <= self.keep as u64 {
                    let (payload, rest) = data.split_at(len as usize);
                    message(Message::Binary(payload));
                    data = rest;
                } else {
                    self.frame = Some((header, len));
                    if len == 0 {
                        self.finish(&mut message);
                    }
                }
                continue;
            };
            let (part, rest) = data.split_at(data.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX)));
            *remaining -= part.len() as u64;
            let done = *remaining == 0;
            if matches!(header.opcode, OpCode::Control(_)) {
                self.control.extend_from_slice(part);
            } else {
                self.kept.extend_from_slice(&part[..part.len().min(self.keep - self.kept.len())]);
                self.len += part.len() as u64;
            }
            data = rest;
            if done {
                self.finish(&mut message);
            }
        }
        Ok(())
    }

    /// Bytes left of a frame whose message is already longer than is kept; 0 if there is none.
    pub fn rest_of_large(&self) -> u64 {
        match &self.frame {
            Some((header, remaining)) if matches!(header.opcode, OpCode::Data(_)) && self.kept.len() == self.keep => {
                *remaining
            }
            _ => 0,
        }
    }

    /// So many of those bytes were thrown away.
    pub fn skip(&mut self, bytes: u64) {
        if let Some((_, remaining)) = &mut self.frame {
            debug_assert!(bytes < *remaining, "a frame ends where it is read");
            *remaining -= bytes;
            self.len += bytes;
        }
    }

    /// The next frame's header, its payload's length, and how much of `data` it took.
    fn header(&mut self, data: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, Malformed> {
        let before = self.head.len();
        let mut joined = [0; MAX_HEADER];
        let bytes = if before == 0 {
            data
        } else {
            let taken = data.len().min(MAX_HEADER - before);
            joined[..before].copy_from_slice(&self.head);
            joined[before..before + taken].copy_from_slice(&data[..taken]);
            &joined[..before + taken]
        };
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| Malformed(error.to_string()))?;
        let Some((header, len)) = parsed else {
            self.head.extend_from_slice(data);
            return Ok(None);
        };
        self.head.clear();
        Ok(Some((header, len, cursor.position() as usize - before)))
    }

    fn finish(&mut self, message: &mut impl FnMut(Message<'_>)) {
        let Some((header, _)) = self.frame.take() else { return };
        match header.opcode {
            OpCode::Control(control) => {
                match control {
                    Control::Ping => message(Message::Ping(&self.control)),
                    Control::Close => {
                        let code = self.control.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                        let reason = String::from_utf8_lossy(self.control.get(2..).unwrap_or_default()).into_owned();
                        message(Message::Close(code, reason));
                    }
                    _ => {}
                }
                self.control.clear();
            }
            OpCode::Data(_) if header.is_final => {
                if self.len == self.kept.len() as u64 {
                    message(Message::Binary(&self.kept));
                } else {
                    message(Message::Large(&self.kept, self.len));
                }
                self.len = 0;
                // Storms would otherwise leave every connection with a buffer of the document's size.
                self.kept = Vec::new();
            }
            OpCode::Data(_) => {}
        }
    }
}

/// A binary frame as a client sends it.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    client_frame(Frame::message(Bytes::copy_from_slice(payload), OpCode::Data(Data::Binary), true))
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    client_frame(Frame::pong(Bytes::copy_from_slice(payload)))
}

fn client_frame(mut frame: Frame) -> Vec<u8> {
    // Any mask will do: servers undo each at the same cost.
    frame.header_mut().mask = Some([0x5a, 0xc3, 0x96, 0x3c]);
    let mut out = Vec::with_capacity(frame.len());
    frame.format(&mut out).expect("a vector takes everything");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(frame: Frame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.format(&mut out).expect("a vector takes everything");
        out
    }

    fn data(payload: &[u8], opcode: Data, is_final: bool) -> Vec<u8> {
        server_frame(Frame::message(Bytes::copy_from_slice(payload), OpCode::Data(opcode), is_final))
    }

    fn read(keep: usize, bytes: &[u8], piece: usize) -> Vec<String> {
        let mut reader = FrameReader::new(keep);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            reader
                .feed(piece, |message| {
                    all.push(match message {
                        Message::Binary(payload) => format!("{} bytes", payload.len()),
                        Message::Large(head, len) => format!("{} of {len} bytes", head.len()),
                        other => format!("{other:?}"),
                    });
                })
                .expect("frames");
        }
        all
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut bytes = data(&[1; 10], Data::Binary, true);
        bytes.extend(data(&[2; 300], Data::Binary, true));
        bytes.extend(data(&[], Data::Binary, true));
        bytes.extend(data(&[3; 70_000], Data::Binary, true));
        bytes.extend(data(&[4; 5], Data::Binary, false));
        bytes.extend(server_frame(Frame::ping(vec![9])));
        bytes.extend(data(&[4; 6], Data::Continue, true));
        bytes.extend([0x88, 4, 0x03, 0xf5, b'n', b'o']);
        let expected =
            ["10 bytes", "300 bytes", "0 bytes", "70000 bytes", "Ping([9])", "11 bytes", "Close(1013, \"no\")"];
        for piece in [1, 2, 3, 7, 64, 1000, 100_000] {
            assert_eq!(read(1 << 20, &bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn large_messages_are_counted_and_not_kept() {
        let mut bytes = data(&[1; 5000], Data::Binary, true);
        bytes.extend(data(&[1; 10], Data::Binary, true));
        for piece in [3, 1000, 100_000] {
            assert_eq!(read(64, &bytes, piece), ["64 of 5000 bytes", "10 bytes"], "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_thrown_away_counts_too() {
        let bytes = data(&[1; 5000], Data::Binary, true);
        let mut reader = FrameReader::new(64);
        let mut lens = Vec::new();
        let mut feed = |reader: &mut FrameReader, bytes: &[u8]| {
            let note = |message: Message<'_>| lens.push(format!("{message:?}").split(", ").last().map(str::to_owned));
            reader.feed(bytes, note).expect("frames");
        };
        feed(&mut reader, &bytes[..30]);
        assert_eq!(reader.rest_of_large(), 0, "it may still be kept");
        feed(&mut reader, &bytes[30..100]);
        assert_eq!(reader.rest_of_large(), 4904);
        reader.skip(4903);
        feed(&mut reader, &bytes[bytes.len() - 1..]);
        assert_eq!(lens, [Some("5000)".to_owned())]);
    }

    #[test]
    fn what_a_client_writes_is_masked() {
        let frame = binary(&[1, 2, 3]);
        let mut cursor = Cursor::new(&frame);
        let (header, len) = FrameHeader::parse(&mut cursor).expect("a header").expect("whole");
        assert_eq!((header.opcode, header.is_final, len), (OpCode::Data(Data::Binary), true, 3));
        let mask = header.mask.expect("clients must mask");
        let payload: Vec<u8> = frame[6..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(payload, [1, 2, 3]);
    }
}
