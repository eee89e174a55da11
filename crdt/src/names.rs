//! Names of documents: `<room>/<kind>:<id>` for a room's own, anything else for a plain document.

use std::fmt;
use std::sync::Arc;

/// Longest name that is accepted, in bytes.
pub const MAX_NAME_LEN: usize = 512;

/// A checked document name. Compared byte by byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentName(Arc<str>);

/// What a name says about its document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A text file of a room; the id of its node.
    File { room: &'a str, node: &'a str },
    /// The room's tree, written by the server alone.
    Tree { room: &'a str },
    /// The room's runs, written by the server alone.
    Runs { room: &'a str },
    /// Not a document of a room.
    Plain,
}

/// The name cannot be used; the text says why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    #[error("a document's name must have 1 to {MAX_NAME_LEN} bytes")]
    Length,
    #[error("a document's name must not contain control characters")]
    Control,
    /// `<room>/<kind>:<id>` with a kind that does not exist: kept free for kinds to come.
    #[error("there is no kind of room document called {0:?}: use file, tree or runs")]
    UnknownKind(String),
}

impl DocumentName {
    /// Checks a name that came from outside.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(NameError::Length);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        match split(name) {
            Some((_, "file", _) | (_, "tree" | "runs", "main")) | None => Ok(Self(name.into())),
            Some((_, kind, _)) => Err(NameError::UnknownKind(kind.to_owned())),
        }
    }

    pub fn file(room: &str, node: &str) -> Self {
        Self(format!("{room}/file:{node}").into())
    }

    pub fn tree(room: &str) -> Self {
        Self(format!("{room}/tree:main").into())
    }

    pub fn runs(room: &str) -> Self {
        Self(format!("{room}/runs:main").into())
    }

    pub fn kind(&self) -> Kind<'_> {
        match split(&self.0) {
            Some((room, "file", node)) => Kind::File { room, node },
            Some((room, "tree", "main")) => Kind::Tree { room },
            Some((room, "runs", "main")) => Kind::Runs { room },
            _ => Kind::Plain,
        }
    }

    /// The room the document belongs to. A plain document is in the room of its own name.
    pub fn room(&self) -> &str {
        match self.kind() {
            Kind::File { room, .. } | Kind::Tree { room } | Kind::Runs { room } => room,
            Kind::Plain => &self.0,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Splits `<room>/<kind>:<id>`; `None` for any other shape.
fn split(name: &str) -> Option<(&str, &str, &str)> {
    let (room, rest) = name.split_once('/')?;
    let (kind, id) = rest.split_once(':')?;
    (!room.is_empty() && !id.is_empty() && !rest.contains('/')).then_some((room, kind, id))
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        let kind = |name: &str| match DocumentName::parse(name).map(|n| format!("{:?}", n.kind())) {
            Ok(kind) => kind,
            Err(error) => error.to_string(),
        };
        assert_eq!(kind("abc/file:n1"), r#"File { room: "abc", node: "n1" }"#);
        assert_eq!(kind("abc/tree:main"), r#"Tree { room: "abc" }"#);
        assert_eq!(kind("abc/runs:main"), r#"Runs { room: "abc" }"#);
        assert_eq!(kind("my notes"), "Plain");
        assert_eq!(kind("a/b/c:d"), "Plain");
        let room = |name: &str| DocumentName::parse(name).expect("valid").room().to_owned();
        assert_eq!(
            (room("abc/file:n1"), room("my notes"), room("a/b")),
            ("abc".into(), "my notes".into(), "a/b".into())
        );
        assert!(kind("abc/tree:other").contains("no kind"));
        assert!(kind("abc/secret:x").contains("no kind"));
        assert!(kind("").contains("1 to 512"));
        assert!(kind("a\u{0}b").contains("control"));
    }
}
