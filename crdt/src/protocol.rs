//! y-websocket framing: binary WebSocket messages, each of them one protocol message.
//!
//! Hocuspocus' messages have the same bodies behind a document's address, see [`hocuspocus`].
//!
//! Source: `y-protocols/PROTOCOL.md`, `y-websocket/src/y-websocket.js`; message 102 is y-sweet's
//! save-status. What is written here is always one message per frame, because clients up to 3.0.0
//! read only the first; what is read may hold several.

use bytes::Bytes;

pub mod hocuspocus;

use crate::Malformed;
use crate::lib0::{Reader, write_var_bytes, write_var_uint};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const SAVE_STATUS: u64 = 102;

const SYNC_STEP_1: u64 = 0;
const SYNC_STEP_2: u64 = 1;
const SYNC_UPDATE: u64 = 2;

/// An awareness message about nobody: clients count it as a sign of life.
pub const KEEP_ALIVE: &[u8] = &[1, 1, 0];

/// Most messages in one frame. Clients send one; each of them costs memory beside its bytes.
const MAX_MESSAGES_PER_FRAME: usize = 1024;

/// Most bytes of a save status. y-sweet's client sends a number.
const MAX_SAVE_STATUS: usize = 64;

/// One message from a client. The bytes are not looked into yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// "This is what I have": a state vector.
    SyncStep1(Bytes),
    /// "This is what you lack": an update, in answer to a `SyncStep1`.
    SyncStep2(Bytes),
    /// An update as it was made.
    Update(Bytes),
    Awareness(Bytes),
    QueryAwareness,
    /// "Return this to me once all I sent before is saved."
    SaveStatus(Bytes),
}

impl Message {
    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::SyncStep1(bytes)
            | Self::SyncStep2(bytes)
            | Self::Update(bytes)
            | Self::Awareness(bytes)
            | Self::SaveStatus(bytes) => bytes.len(),
            Self::QueryAwareness => 0,
        }
    }
}

/// Reads every message of one frame.
pub fn decode(frame: &Bytes) -> Result<Vec<Message>, Malformed> {
    let mut reader = Reader::new(frame);
    let mut messages = Vec::with_capacity(1);
    while !reader.is_empty() {
        if messages.len() == MAX_MESSAGES_PER_FRAME {
            return Err(Malformed("more than 1024 messages in a frame"));
        }
        let message = match reader.var_uint()? {
            SYNC => match reader.var_uint()? {
                SYNC_STEP_1 => Message::SyncStep1(frame.slice_ref(reader.var_bytes()?)),
                SYNC_STEP_2 => Message::SyncStep2(frame.slice_ref(reader.var_bytes()?)),
                SYNC_UPDATE => Message::Update(frame.slice_ref(reader.var_bytes()?)),
                _ => return Err(Malformed("an unknown kind of sync message")),
            },
            AWARENESS => Message::Awareness(frame.slice_ref(reader.var_bytes()?)),
            QUERY_AWARENESS => {
                // y-sweet's client appends bytes of its own here, so nothing after it can be read.
                messages.push(Message::QueryAwareness);
                break;
            }
            SAVE_STATUS => {
                let payload = reader.var_bytes()?;
                if cfg!(feature = "budget") && payload.len() > MAX_SAVE_STATUS {
                    return Err(Malformed("a save status of more than 64 bytes"));
                }
                // A copy, because it is kept until the log has what came before it, and would keep the whole frame.
                Message::SaveStatus(Bytes::copy_from_slice(payload))
            }
            _ => return Err(Malformed("an unknown kind of message")),
        };
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(Malformed("it is empty"));
    }
    Ok(messages)
}

pub fn sync_step_1(state_vector: &[u8]) -> Bytes {
    sync(SYNC_STEP_1, state_vector)
}

pub fn sync_step_2(update: &[u8]) -> Bytes {
    sync(SYNC_STEP_2, update)
}

pub fn update(update: &[u8]) -> Bytes {
    sync(SYNC_UPDATE, update)
}

pub fn awareness(update: &[u8]) -> Bytes {
    with_payload(&[AWARENESS], update)
}

pub fn save_status(payload: &[u8]) -> Bytes {
    with_payload(&[SAVE_STATUS], payload)
}

/// The only message of y-protocols' auth: access to what was tried is refused.
pub fn permission_denied(reason: &str) -> Bytes {
    with_payload(&[AUTH, 0], reason.as_bytes())
}

/// Several update messages as one, in the same order. `None` if one of them is something else.
pub fn merge_updates(messages: &[Bytes]) -> Option<Bytes> {
    let payloads: Option<Vec<Bytes>> = messages.iter().map(|message| payload(message, &[SYNC, SYNC_UPDATE])).collect();
    Some(update(&crate::update::merge(&payloads?).ok()?))
}

/// The payload of an awareness message.
pub fn awareness_payload(message: &Bytes) -> Option<Bytes> {
    payload(message, &[AWARENESS])
}

fn payload(message: &Bytes, head: &[u64]) -> Option<Bytes> {
    let mut reader = Reader::new(message);
    for expected in head {
        if reader.var_uint().ok()? != *expected {
            return None;
        }
    }
    Some(message.slice_ref(reader.var_bytes().ok()?))
}

fn sync(kind: u64, payload: &[u8]) -> Bytes {
    with_payload(&[SYNC, kind], payload)
}

fn with_payload(head: &[u64], payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 8);
    for value in head {
        write_var_uint(&mut out, *value);
    }
    write_var_bytes(&mut out, payload);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<Vec<Message>, Malformed> {
        decode(&Bytes::from_static(bytes))
    }

    #[test]
    fn frames_of_real_clients_are_read() {
        assert_eq!(read(&[0, 0, 1, 0]), Ok(vec![Message::SyncStep1(Bytes::from_static(&[0]))]));
        assert_eq!(read(&[0, 1, 2, 0, 0]), Ok(vec![Message::SyncStep2(Bytes::from_static(&[0, 0]))]));
        assert_eq!(read(&[0x66, 1, 0]), Ok(vec![Message::SaveStatus(Bytes::from_static(&[0]))]));
        assert_eq!(read(&[3, 9, 9]), Ok(vec![Message::QueryAwareness]));
        assert_eq!(read(KEEP_ALIVE), Ok(vec![Message::Awareness(Bytes::from_static(&[0]))]));
        assert_eq!(read(&[0, 0, 1, 0, 3]).map(|m| m.len()), Ok(2));
        let many = |count| decode(&KEEP_ALIVE.repeat(count).into()).map(|messages| messages.len());
        assert_eq!((many(1024), many(1025).is_err()), (Ok(1024), true));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for bytes in [&[][..], &[0], &[0, 9, 0], &[0, 0, 5, 0], &[7, 0], &[0xff; 12]] {
            assert!(decode(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_clients_expect() {
        assert_eq!(&sync_step_1(&[0])[..], [0, 0, 1, 0]);
        assert_eq!(&sync_step_2(&[0, 0])[..], [0, 1, 2, 0, 0]);
        assert_eq!(&update(&[0, 0])[..], [0, 2, 2, 0, 0]);
        assert_eq!(&awareness(&[0])[..], KEEP_ALIVE);
        assert_eq!(&permission_denied("no")[..], [2, 0, 2, b'n', b'o']);
    }
}
