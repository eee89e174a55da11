//! The client's side of Hocuspocus framing: what a server says, and what a client asks.

use bytes::Bytes;

use super::{
    AUTH, AUTH_DENIED, AUTH_GRANTED, AUTH_TOKEN, AWARENESS, CLOSE, MAX_ADDRESS_LEN, Message, QUERY_AWARENESS,
    STATELESS, SYNC, SYNC_STATUS, text, token_wanted,
};
use crate::Malformed;
use crate::lib0::{Reader, write_var_bytes};

/// One message from a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// As it came, length and all: the one that the client speaks under.
    pub address: Bytes,
    pub kind: Said,
}

/// What a server's message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// From the document.
    Document(Message),
    /// "Send a token again."
    TokenWanted,
    /// "You are in."
    Granted { may_write: bool },
    /// "You are not let in", or no longer.
    Denied(String),
    /// Another client's own message.
    Stateless(Bytes),
    /// The server is done with this document.
    Closed(String),
    /// The next change that was sent is durable, or was refused.
    Status { taken: bool },
    /// Nothing that this client knows: servers may learn to say more.
    Unknown,
}

/// Reads one frame of a server.
pub fn decode_answer(frame: &Bytes) -> Result<Answer, Malformed> {
    let mut reader = Reader::new(frame);
    let name = reader.var_str()?;
    if name.is_empty() || name.len() > MAX_ADDRESS_LEN {
        return Err(Malformed("a document's address must have 1 to 1024 bytes"));
    }
    let address = frame.slice(..frame.len() - reader.rest().len());
    let body = frame.slice_ref(reader.rest());
    let kind = match reader.var_uint()? {
        SYNC | AWARENESS | QUERY_AWARENESS => {
            let mut messages = super::super::decode(&body)?;
            if messages.len() > 1 {
                return Err(Malformed("more than one message in a frame"));
            }
            Said::Document(messages.pop().ok_or(Malformed("it is empty"))?)
        }
        AUTH => match reader.var_uint()? {
            AUTH_TOKEN => Said::TokenWanted,
            AUTH_GRANTED => Said::Granted { may_write: reader.var_str()? != "readonly" },
            AUTH_DENIED => Said::Denied(reader.var_str()?.to_owned()),
            _ => Said::Unknown,
        },
        STATELESS => Said::Stateless(frame.slice_ref(reader.var_str()?.as_bytes())),
        CLOSE => Said::Closed(reader.var_str()?.to_owned()),
        SYNC_STATUS => Said::Status { taken: reader.var_uint()? == 1 },
        _ => Said::Unknown,
    };
    Ok(Answer { address, kind })
}

/// "Let me in with this token." Empty for none.
pub fn token(token: &str) -> Bytes {
    let mut out = token_wanted().to_vec();
    write_var_bytes(&mut out, token.as_bytes());
    out.into()
}

/// "I am done with this document."
pub fn leave() -> Bytes {
    Bytes::from_static(&[CLOSE as u8])
}

/// "Tell me about everybody who is here."
pub fn query_awareness() -> Bytes {
    Bytes::from_static(&[QUERY_AWARENESS as u8])
}

/// An application's own message to the others.
pub fn stateless(payload: &str) -> Bytes {
    text(STATELESS, payload.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::{authenticated, close, decode, permission_denied, sync_status};
    use super::*;

    fn said(body: &[u8]) -> Result<Said, Malformed> {
        decode_answer(&[&[1, b'd'], body].concat().into()).map(|answer| answer.kind)
    }

    #[test]
    fn what_a_server_writes_is_read() {
        assert_eq!(said(&authenticated(true)), Ok(Said::Granted { may_write: true }));
        assert_eq!(said(&authenticated(false)), Ok(Said::Granted { may_write: false }));
        assert_eq!(said(&permission_denied("no")), Ok(Said::Denied("no".to_owned())));
        assert_eq!(said(&token_wanted()), Ok(Said::TokenWanted));
        assert_eq!(said(&sync_status(true)), Ok(Said::Status { taken: true }));
        assert_eq!(said(&sync_status(false)), Ok(Said::Status { taken: false }));
        assert_eq!(said(&close("bye")), Ok(Said::Closed("bye".to_owned())));
        assert_eq!(said(&stateless("hi")), Ok(Said::Stateless(Bytes::from_static(b"hi"))));
        assert_eq!(said(&[0, 0, 1, 0]), Ok(Said::Document(Message::SyncStep1(Bytes::from_static(&[0])))));
        assert_eq!(said(&[77, 1]), Ok(Said::Unknown));
    }

    #[test]
    fn what_a_client_writes_is_what_servers_read() {
        let read = |body: Bytes| decode(&[&[1, b'd'], &body[..]].concat().into()).map(|message| message.kind);
        assert_eq!(read(token("t")), Ok(super::super::Kind::Token("t".to_owned())));
        assert_eq!(read(leave()), Ok(super::super::Kind::Close));
        assert_eq!(read(query_awareness()), Ok(super::super::Kind::Document(Message::QueryAwareness)));
        assert_eq!(read(stateless("hi")), Ok(super::super::Kind::Stateless(Bytes::from_static(b"hi"))));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [&[][..], &[0, 0], &[3, b'd'], &[1, b'd'], &[1, b'd', 0, 0, 1, 0, 3], &[1, 0xff, 3], &[1, b'd', 8]]
        {
            assert!(decode_answer(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
