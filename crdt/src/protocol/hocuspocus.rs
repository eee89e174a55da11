//! Hocuspocus framing, versions 3 and 4: an address, a kind, and a body. Sync and awareness have y-websocket's bodies.
//!
//! Source: `packages/server/src/types.ts`, `packages/common/src/{auth,routingKey,CloseEvents}.ts` and
//! `packages/provider/src` of Hocuspocus. The address is the document's name, in version 4 optionally followed by a NUL and a session
//! id; whatever it is, the answer carries the same bytes. One WebSocket frame holds one message.

pub mod client;

use bytes::Bytes;

use super::Message;
use crate::Malformed;
use crate::lib0::{Reader, write_var_bytes, write_var_uint};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const STATELESS: u64 = 5;
const BROADCAST_STATELESS: u64 = 6;
const CLOSE: u64 = 7;
const SYNC_STATUS: u64 = 8;

const AUTH_TOKEN: u64 = 0;
const AUTH_DENIED: u64 = 1;
const AUTH_GRANTED: u64 = 2;

/// Longest address, in bytes: a document's name and a session id.
pub const MAX_ADDRESS_LEN: usize = 1024;

/// One message from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addressed {
    /// As it came, length and all: what every answer begins with.
    pub address: Bytes,
    pub kind: Kind,
}

/// What an addressed message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// For the document.
    Document(Message),
    /// "Let me in with this token."
    Token(String),
    /// An application's own message to the others.
    Stateless(Bytes),
    /// "I am done with this document."
    Close,
    /// A message that only servers send to each other.
    Forbidden,
    /// Nothing to do.
    Ignored,
}

/// Reads one frame.
pub fn decode(frame: &Bytes) -> Result<Addressed, Malformed> {
    let mut reader = Reader::new(frame);
    let name = reader.var_str()?;
    if name.is_empty() || name.len() > MAX_ADDRESS_LEN {
        return Err(Malformed("a document's address must have 1 to 1024 bytes"));
    }
    let address = frame.slice(..frame.len() - reader.rest().len());
    let body = frame.slice_ref(reader.rest());
    let kind = match reader.var_uint()? {
        SYNC | AWARENESS | QUERY_AWARENESS => {
            let mut messages = super::decode(&body)?;
            if messages.len() > 1 {
                return Err(Malformed("more than one message in a frame"));
            }
            Kind::Document(messages.pop().ok_or(Malformed("it is empty"))?)
        }
        AUTH => match reader.var_uint()? {
            // Version 4 sends its own version behind the token.
            AUTH_TOKEN => Kind::Token(reader.var_str()?.to_owned()),
            _ => Kind::Ignored,
        },
        STATELESS => Kind::Stateless(frame.slice_ref(reader.var_str()?.as_bytes())),
        BROADCAST_STATELESS => Kind::Forbidden,
        CLOSE => Kind::Close,
        _ => return Err(Malformed("an unknown kind of message")),
    };
    Ok(Addressed { address, kind })
}

/// The document's name within an address: what stands before the first NUL.
pub fn document_of(address: &[u8]) -> &str {
    let name = Reader::new(address).var_str().unwrap_or_default();
    name.split('\0').next().unwrap_or_default()
}

/// An address as it stands before each message.
pub fn address(name: &str) -> Bytes {
    let mut out = Vec::with_capacity(name.len() + 2);
    write_var_bytes(&mut out, name.as_bytes());
    out.into()
}

/// "You are in."
pub fn authenticated(may_write: bool) -> Bytes {
    auth(AUTH_GRANTED, if may_write { "read-write" } else { "readonly" })
}

pub fn permission_denied(reason: &str) -> Bytes {
    auth(AUTH_DENIED, reason)
}

/// "Send me a token again."
pub fn token_wanted() -> Bytes {
    Bytes::from_static(&[AUTH as u8, AUTH_TOKEN as u8])
}

/// The answer to each update: taken (and durable), or refused.
pub fn sync_status(taken: bool) -> Bytes {
    if taken { Bytes::from_static(&[SYNC_STATUS as u8, 1]) } else { Bytes::from_static(&[SYNC_STATUS as u8, 0]) }
}

pub fn stateless(payload: &[u8]) -> Bytes {
    text(STATELESS, payload)
}

/// Closes one document, not the socket.
pub fn close(reason: &str) -> Bytes {
    text(CLOSE, reason.as_bytes())
}

fn auth(kind: u64, payload: &str) -> Bytes {
    let mut out = vec![AUTH as u8];
    write_var_uint(&mut out, kind);
    write_var_bytes(&mut out, payload.as_bytes());
    out.into()
}

fn text(kind: u64, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 6);
    write_var_uint(&mut out, kind);
    write_var_bytes(&mut out, payload);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<Addressed, Malformed> {
        decode(&Bytes::from_static(bytes))
    }

    #[test]
    fn frames_of_real_providers_are_read() {
        let addressed = read(&[3, b'd', b'o', b'c', 2, 0, 0]).expect("an empty token");
        assert_eq!(addressed.address, address("doc"));
        assert_eq!(addressed.kind, Kind::Token(String::new()));
        let with_version = read(&[1, b'd', 2, 0, 1, b't', 5, b'4', b'.', b'5', b'.', b'0']).expect("version 4");
        assert_eq!(with_version.kind, Kind::Token("t".to_owned()));
        let step_1 = read(&[1, b'd', 0, 0, 1, 0]).expect("sync");
        assert_eq!(step_1.kind, Kind::Document(Message::SyncStep1(Bytes::from_static(&[0]))));
        assert_eq!(read(&[1, b'd', 7]).expect("close").kind, Kind::Close);
        assert_eq!(read(&[1, b'd', 6, 1, b'x']).expect("only for servers").kind, Kind::Forbidden);
        assert_eq!(read(&[1, b'd', 5, 1, b'x']).expect("stateless").kind, Kind::Stateless(Bytes::from_static(b"x")));
    }

    #[test]
    fn a_session_is_part_of_the_address_and_not_of_the_name() {
        let addressed = read(&[5, b'd', b'o', 0, b's', b'1', 3]).expect("with a session");
        assert_eq!(&addressed.address[..], [5, b'd', b'o', 0, b's', b'1']);
        assert_eq!(document_of(&addressed.address), "do");
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for bytes in [&[][..], &[0, 0], &[3, b'd'], &[1, b'd'], &[1, b'd', 9], &[1, b'd', 0, 0, 1, 0, 3], &[1, 0xff, 3]]
        {
            assert!(decode(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_providers_expect() {
        assert_eq!(&authenticated(true)[..], b"\x02\x02\x0aread-write");
        assert_eq!(&permission_denied("no")[..], [2, 1, 2, b'n', b'o']);
        assert_eq!(&sync_status(true)[..], [8, 1]);
        assert_eq!(&close("x")[..], [7, 1, b'x']);
    }
}
