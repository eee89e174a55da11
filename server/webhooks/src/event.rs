//! What is told, and the JSON it is told as: `{"type", "timestamp", "data"}` with the time in Unix milliseconds.
//!
//! An event never holds a document's text: whoever hears of a change fetches what they may read, as it is by then.

use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{RoomId, WebhookId};
use buildspaces_policy::Principal;
use buildspaces_rooms::ports::RoomRecord;
use serde_json::{Value, json};

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    DocumentChanged,
    DocumentDeleted,
    RoomCreated,
    /// Somebody asked for it, to see whether deliveries arrive.
    Test,
}

impl EventKind {
    pub const ALL: [Self; 4] = [Self::DocumentChanged, Self::DocumentDeleted, Self::RoomCreated, Self::Test];
    /// What a room's webhook can ask for.
    pub const OF_ROOMS: [Self; 2] = [Self::DocumentChanged, Self::DocumentDeleted];
    /// What the server's own webhook hears of.
    pub const OF_THE_SERVER: [Self; 3] = [Self::DocumentChanged, Self::DocumentDeleted, Self::RoomCreated];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DocumentChanged => "document.changed",
            Self::DocumentDeleted => "document.deleted",
            Self::RoomCreated => "room.created",
            Self::Test => "webhook.test",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The body of a change: `seq` is the number of the last update it covers.
pub(crate) fn changed(document: &DocumentName, epoch: u64, seq: u64, by: &[Principal], now: UnixMillis) -> String {
    let data = json!({ "document": document.as_str(), "room": room(document), "epoch": epoch, "seq": seq, "by": by });
    body(EventKind::DocumentChanged, now, data)
}

pub(crate) fn deleted(document: &DocumentName, by: &Principal, now: UnixMillis) -> String {
    let data = json!({ "document": document.as_str(), "room": room(document), "by": [by] });
    body(EventKind::DocumentDeleted, now, data)
}

pub(crate) fn room_created(room: &RoomRecord, by: &Principal, now: UnixMillis) -> String {
    body(EventKind::RoomCreated, now, json!({ "room": room.id, "title": room.title, "by": [by] }))
}

pub(crate) fn test(webhook: &WebhookId, room: Option<&RoomId>, by: &Principal, now: UnixMillis) -> String {
    body(EventKind::Test, now, json!({ "webhook": webhook, "room": room, "by": [by] }))
}

fn body(kind: EventKind, now: UnixMillis, data: Value) -> String {
    json!({ "type": kind.as_str(), "timestamp": now, "data": data }).to_string()
}

/// The room a document belongs to; none for a plain one.
fn room(document: &DocumentName) -> Option<&str> {
    (document.kind() != Kind::Plain).then(|| document.room())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn bodies_look_like_this() {
        let document = DocumentName::parse("demo/file:a").expect("valid");
        let by = [Principal::system()];
        expect![[r#"{"data":{"by":[{"id":"system","kind":"system","name":"BuildSpaces"}],"document":"demo/file:a","epoch":1,"room":"demo","seq":7},"timestamp":5,"type":"document.changed"}"#]]
            .assert_eq(&changed(&document, 1, 7, &by, 5));
        let plain = DocumentName::parse("notes").expect("valid");
        expect![[r#"{"data":{"by":[{"id":"system","kind":"system","name":"BuildSpaces"}],"document":"notes","room":null},"timestamp":5,"type":"document.deleted"}"#]]
            .assert_eq(&deleted(&plain, &by[0], 5));
    }

    #[test]
    fn names_of_events_are_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::parse("document.read"), None);
    }
}
