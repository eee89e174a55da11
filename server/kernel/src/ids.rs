//! Newtyped ids. All but [`ConnectionId`] are short lower-case strings that are safe in URLs,
//! file names, document names and container labels.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;
use serde::{Deserialize, Serialize};

/// Letters and digits without the look-alikes `l`, `o`, `0` and `1`: five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Longest id that is accepted from outside, in bytes.
pub const MAX_ID_LEN: usize = 64;

/// A random string of `len` characters, five bits of entropy each.
pub fn random_id(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// True for a non-empty string of `a-z 0-9 _ -` of at most [`MAX_ID_LEN`] bytes.
fn is_valid(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_LEN && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $random_len:expr) => {
        string_id!($(#[$doc])* $name);

        impl $name {
            /// A new random id.
            pub fn random() -> Self {
                Self(random_id($random_len).into())
            }
        }
    };
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id in `text`, or `None` if it is not one (see the module's character set).
            pub fn parse(text: &str) -> Option<Self> {
                is_valid(text).then(|| Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text).ok_or_else(|| format!(
                    "{text:?} is not a valid id: use 1 to {MAX_ID_LEN} characters of a-z, 0-9, _ and -"
                ))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

string_id!(
    /// A room. Its 80 random bits are the room's link, so they must not be guessable.
    RoomId, 16
);
string_id!(
    /// A file or folder of a room's tree. Stays the same when the node is renamed or moved.
    NodeId, 12
);
string_id!(
    /// A trigger rule of a room.
    RuleId, 12
);
string_id!(
    /// One execution of a plan.
    RunId, 12
);
string_id!(
    /// A terminal of a room.
    TerminalId, 12
);
string_id!(
    /// What one terminal showed, kept.
    RecordingId, 12
);
string_id!(
    /// Somebody in a room's call, by one of their pages. Who is in it by two is two participants.
    ParticipantId, 12
);
string_id!(
    /// A webhook of a room or of the server.
    WebhookId, 12
);
string_id!(
    /// One message to one webhook. The same in every attempt, so that receivers can tell repetitions.
    DeliveryId, 24
);
string_id!(
    /// Somebody or something that acts: a person, the file system, the server.
    PrincipalId, 12
);

string_id!(
    /// A kind of rooms: those whose sandboxes have the same limits. The operator names them.
    RoomKind
);
string_id!(
    /// Whose rooms share ceilings. The operator names them.
    OrganisationId
);

impl Default for RoomKind {
    /// The kind of rooms of which nothing else was said.
    fn default() -> Self {
        Self("default".into())
    }
}

/// One WebSocket connection of this process; never reused while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The next unused id.
    #[expect(clippy::new_without_default, reason = "each call gives another value")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_checked() {
        for bad in ["", "a/b", "..", "A", "é", "a b", "a\n", &"a".repeat(65)] {
            assert_eq!(RoomId::parse(bad), None, "{bad:?}");
        }
        assert_eq!(RoomId::parse("a-1_b").map(|id| id.to_string()), Some("a-1_b".to_owned()));
    }

    #[test]
    fn random_ids_are_valid_and_differ() {
        let (a, b) = (RoomId::random(), RoomId::random());
        assert_ne!(a, b);
        assert!(RoomId::parse(a.as_str()).is_some());
    }
}
