//! Access that was taken back: from a user, from one token, or from everybody who has a document open.
//!
//! It says what a revocation covers, and neither stores nor enforces it.

use std::fmt;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;

/// Names a token without being one: 128 bits of the hash of its `jti` claim, or of the whole token where it has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub [u8; 16]);

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// What access is taken from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Whatever this user connects with, now and later.
    User(PrincipalId),
    /// Whoever connects with this token, now and later.
    Token(TokenId),
    /// Everybody who has this document open at this moment. They may come back if they still may.
    Document(String),
}

/// One decision to take access back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    pub subject: Subject,
    /// The room it holds in; everywhere if there is none.
    pub room: Option<String>,
    /// Shown to whom it concerns.
    pub reason: String,
    pub by: PrincipalId,
    pub at: UnixMillis,
    /// From then on it may be forgotten, for instance because the token it names has expired.
    pub expires: Option<UnixMillis>,
}
