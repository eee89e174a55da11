//! The three framings that Yjs servers speak, as far as a client of a load test needs them.
//!
//! Hocuspocus puts the document's name before every message and authenticates in band; y-sweet is y-websocket with save-status
//! messages at another path. Sources: `y-protocols/PROTOCOL.md`, `@hocuspocus/server` 4, `y-sweet/js-pkg/client`.

use crate::updates::{Malformed, Reader, write_var_bytes, write_var_uint};

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// y-websocket at `/<document>`; what comes back to its sender counts as acknowledged.
    YWebsocket,
    /// y-websocket at `/yjs/<document>`, with save-status messages.
    Buildspaces,
    /// Hocuspocus at `/<document>`, with SyncStatus.
    Hocuspocus,
    /// Hocuspocus at `/collab`.
    BuildspacesCollab,
    /// y-websocket at `/d/<document>/ws/<document>`, with save-status messages.
    YSweet,
}

/// What tells a client that its update was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckBy {
    SaveStatus,
    SyncStatus,
    Echo,
}

/// What a server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// It asks for what we have beyond a state vector.
    Step1(&'a [u8]),
    /// What we lacked: an update, or only its beginning where the message was too large to be kept.
    Step2(&'a [u8]),
    Update(&'a [u8]),
    Awareness(&'a [u8]),
    Authenticated,
    /// Access refused.
    Denied,
    /// All that was sent before this version was asked about is saved. A server may answer the last question alone.
    SaveStatus(u64),
    /// An update was taken (`true`) or refused.
    SyncStatus(bool),
    Other,
}

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const SYNC_STATUS: u64 = 8;
const SAVE_STATUS: u64 = 102;

impl Dialect {
    pub fn path(self, document: &str) -> String {
        match self {
            Self::YWebsocket | Self::Hocuspocus => format!("/{document}"),
            Self::Buildspaces => format!("/yjs/{document}"),
            Self::BuildspacesCollab => "/collab".to_owned(),
            Self::YSweet => format!("/d/{document}/ws/{document}"),
        }
    }

    pub fn ack_by(self) -> AckBy {
        match self {
            Self::YWebsocket => AckBy::Echo,
            Self::Buildspaces | Self::YSweet => AckBy::SaveStatus,
            Self::Hocuspocus | Self::BuildspacesCollab => AckBy::SyncStatus,
        }
    }

    fn names_documents(self) -> bool {
        matches!(self, Self::Hocuspocus | Self::BuildspacesCollab)
    }

    /// What is sent first by who has `state_vector`: who we are where the framing asks for it, then "send me what I lack".
    pub fn greeting(self, document: &str, state_vector: &[u8]) -> Vec<Vec<u8>> {
        let ask = self.message(document, &[SYNC, 0], state_vector);
        if !self.names_documents() {
            return vec![ask];
        }
        let mut token = self.head(document, &[AUTH, 0]);
        // Ours would look into a token; others take any.
        let text: &[u8] = if self == Self::BuildspacesCollab { b"" } else { b"load-test" };
        write_var_bytes(&mut token, text);
        vec![token, ask]
    }

    /// "I have nothing that you lack."
    pub fn nothing(self, document: &str) -> Vec<u8> {
        self.step2(document, &[0, 0])
    }

    /// "This is what you lack."
    pub fn step2(self, document: &str, update: &[u8]) -> Vec<u8> {
        self.message(document, &[SYNC, 1], update)
    }

    pub fn update(self, document: &str, update: &[u8]) -> Vec<u8> {
        self.message(document, &[SYNC, 2], update)
    }

    pub fn awareness(self, document: &str, entries: &[u8]) -> Vec<u8> {
        self.message(document, &[AWARENESS], entries)
    }

    /// "Return this once all I sent before is saved."
    pub fn save_status(self, version: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        write_var_uint(&mut payload, version);
        self.message("", &[SAVE_STATUS], &payload)
    }

    fn head(self, document: &str, kinds: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        if self.names_documents() {
            write_var_bytes(&mut out, document.as_bytes());
        }
        for kind in kinds {
            write_var_uint(&mut out, *kind);
        }
        out
    }

    fn message(self, document: &str, kinds: &[u64], payload: &[u8]) -> Vec<u8> {
        let mut out = self.head(document, kinds);
        write_var_bytes(&mut out, payload);
        out
    }

    /// Reads every message of a frame. `whole` is false where only the frame's beginning is there: then one message is read, and its
    /// payload ends where the bytes do.
    pub fn read<'a>(self, frame: &'a [u8], whole: bool, mut event: impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        let mut reader = Reader(frame);
        if self.names_documents() {
            reader.var_bytes()?;
        }
        while !reader.0.is_empty() {
            let kind = reader.var_uint()?;
            event(match kind {
                // 4 is Hocuspocus' answer among servers, of the same shape.
                SYNC | 4 => {
                    let step = reader.var_uint()?;
                    let payload = payload(&mut reader, whole)?;
                    match step {
                        0 => Event::Step1(payload),
                        1 => Event::Step2(payload),
                        2 => Event::Update(payload),
                        _ => return Err(Malformed("an unknown kind of sync message")),
                    }
                }
                AWARENESS => Event::Awareness(payload(&mut reader, whole)?),
                AUTH => match reader.var_uint()? {
                    2 => {
                        reader.var_bytes()?;
                        Event::Authenticated
                    }
                    1 if !self.names_documents() => Event::Authenticated,
                    0 if self.names_documents() => Event::Other,
                    _ => {
                        reader.var_bytes()?;
                        Event::Denied
                    }
                },
                SYNC_STATUS if self.names_documents() => Event::SyncStatus(reader.var_uint()? == 1),
                SAVE_STATUS => {
                    let mut version = Reader(payload(&mut reader, whole)?);
                    Event::SaveStatus(version.var_uint()?)
                }
                _ => {
                    reader.0 = &[];
                    Event::Other
                }
            });
            if !whole {
                break;
            }
        }
        Ok(())
    }
}

fn payload<'a>(reader: &mut Reader<'a>, whole: bool) -> Result<&'a [u8], Malformed> {
    if whole {
        return reader.var_bytes();
    }
    reader.var_uint()?;
    Ok(reader.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(dialect: Dialect, frame: &[u8]) -> Vec<Event<'_>> {
        let mut all = Vec::new();
        dialect.read(frame, true, |event| all.push(event)).expect("a frame");
        all
    }

    #[test]
    fn what_is_written_is_what_servers_expect() {
        assert_eq!(Dialect::YWebsocket.greeting("doc", &[0]), [[0, 0, 1, 0]]);
        assert_eq!(Dialect::YSweet.nothing("doc"), [0, 1, 2, 0, 0]);
        assert_eq!(Dialect::YSweet.save_status(0), [0x66, 1, 0]);
        let greeting = Dialect::Hocuspocus.greeting("doc", &[0]);
        assert!(greeting[0].starts_with(&[3, b'd', b'o', b'c', 2, 0]), "{greeting:?}");
        assert_eq!(greeting[1], [3, b'd', b'o', b'c', 0, 0, 1, 0]);
        assert_eq!(Dialect::YSweet.path("a"), "/d/a/ws/a");
    }

    #[test]
    fn what_servers_say_is_understood() {
        assert_eq!(events(Dialect::YWebsocket, &[0, 0, 1, 0]), [Event::Step1(&[0])]);
        assert_eq!(events(Dialect::YWebsocket, &[0, 1, 2, 0, 0]), [Event::Step2(&[0, 0])]);
        assert_eq!(events(Dialect::YSweet, &[0, 0, 1, 0, 1, 1, 0]), [Event::Step1(&[0]), Event::Awareness(&[0])]);
        assert_eq!(events(Dialect::Buildspaces, &[0x66, 1, 5]), [Event::SaveStatus(5)]);
        assert_eq!(events(Dialect::Buildspaces, &[2, 0, 1, b'x']), [Event::Denied]);
        assert_eq!(events(Dialect::Hocuspocus, &[1, b'd', 8, 1]), [Event::SyncStatus(true)]);
        assert_eq!(events(Dialect::Hocuspocus, &[1, b'd', 8, 0]), [Event::SyncStatus(false)]);
        assert_eq!(events(Dialect::Hocuspocus, &[1, b'd', 2, 2, 2, b'r', b'w']), [Event::Authenticated]);
        assert_eq!(events(Dialect::Hocuspocus, &[1, b'd', 2, 1, 1, b'n']), [Event::Denied]);
        assert_eq!(events(Dialect::Hocuspocus, &[1, b'd', 0, 2, 1, 9]), [Event::Update(&[9])]);
    }

    #[test]
    fn the_beginning_of_a_large_message_tells_what_it_is() {
        let mut frame = Dialect::YWebsocket.message("", &[SYNC, 1], &[7; 1000]);
        frame.truncate(20);
        let mut all = Vec::new();
        Dialect::YWebsocket.read(&frame, false, |event| all.push(event)).expect("its beginning");
        assert!(matches!(all[..], [Event::Step2(payload)] if payload.len() < 20));
    }
}
