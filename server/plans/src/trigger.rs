//! Trigger keys: what makes two firings of a rule the same. Pure.
//!
//! A key is a hash of *values* (paths and contents), never of Yjs updates or state vectors, which differ with the order
//! in which edits were merged. Start with [`TriggerKey`].

use std::fmt;
use std::fmt::Write as _;

use buildspaces_kernel::ids::random_id;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Unique per rule among the runs that hold their key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TriggerKey {
    /// The rule fired by itself: the hexadecimal hash of the matched files.
    Text(String),
    /// Somebody pressed "Run now": a random id, so it always runs.
    Intent(String),
    /// A sandbox was made that is to be set up before anything else: the sandbox's id, so each is set up once.
    Sandbox(String),
}

impl TriggerKey {
    /// The key of a rule whose matched files have these contents.
    pub fn text<'a>(files: impl IntoIterator<Item = (&'a str, [u8; 32])>) -> Self {
        let _step = tracing::trace_span!(target: "keystroke", "text").entered();
        Self::Text(content_hash(files))
    }

    /// A key nobody has used.
    pub fn intent() -> Self {
        /// Eighty random bits: a collision would make a "Run now" vanish.
        const LEN: usize = 16;
        Self::Intent(random_id(LEN))
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("text", hash) => Some(Self::Text(hash.to_owned())),
            ("intent", id) => Some(Self::Intent(id.to_owned())),
            ("sandbox", id) => Some(Self::Sandbox(id.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for TriggerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(hash) => write!(f, "text:{hash}"),
            Self::Intent(id) => write!(f, "intent:{id}"),
            Self::Sandbox(id) => write!(f, "sandbox:{id}"),
        }
    }
}

impl From<TriggerKey> for String {
    fn from(key: TriggerKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for TriggerKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a trigger key"))
    }
}

/// SHA-256 over the files in order of their paths, in hexadecimal. Each path goes in with its length, so
/// that no two lists of files give the same bytes.
pub fn content_hash<'a>(files: impl IntoIterator<Item = (&'a str, [u8; 32])>) -> String {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_unstable();
    let mut hash = Sha256::new();
    for (path, content) in files {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path.as_bytes());
        hash.update(content);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// SHA-256 of a text file's bytes.
pub fn text_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_files_does_not_matter_but_paths_and_contents_do() {
        let (x, y) = (text_hash("x"), text_hash("y"));
        let key = TriggerKey::text([("a.py", x), ("b.py", y)]);
        assert_eq!(key, TriggerKey::text([("b.py", y), ("a.py", x)]));
        for other in [
            vec![("a.py", y), ("b.py", x)],
            vec![("a.py", x)],
            vec![("a.p", x), ("yb.py", y)],
            vec![("a.py", x), ("c.py", y)],
            vec![],
        ] {
            assert_ne!(key, TriggerKey::text(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn a_key_survives_its_text_form() {
        for key in
            [TriggerKey::text([("a", text_hash(""))]), TriggerKey::intent(), TriggerKey::Sandbox("0a".to_owned())]
        {
            assert_eq!(TriggerKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(TriggerKey::parse("timer:1"), None);
        assert_eq!(TriggerKey::parse("text"), None);
    }
}
