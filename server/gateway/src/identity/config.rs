//! What proves who somebody is, as the configuration says it.

use buildspaces_kernel::UnixMillis;
use sha2::{Digest, Sha256};

use super::crypto;
use super::keys::{Key, MIN_SECRET_BYTES, SigningKey};
use super::tokens::{self, MintError, Minted, NewToken, Rules};
use super::webhook::WebhookConfig;
use crate::http::Url;

/// See `docs/security.md`. Without anything of it the server is open.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// Check tokens.
    pub keys: Vec<Key>,
    /// Makes tokens; its other half is among `keys`.
    pub signer: Option<SigningKey>,
    /// Where another system publishes the keys of its tokens.
    pub jwks: Option<Url>,
    pub rules: Rules,
    /// May people without a token begin a session under a name?
    pub guests: bool,
    /// Who is asked about what no key knows.
    pub webhook: Option<WebhookConfig>,
    pub admin: Option<AdminToken>,
}

impl AuthConfig {
    /// Nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty() && self.jwks.is_none() && self.webhook.is_none() && self.admin.is_none()
    }

    /// People may come in under a name alone.
    pub(crate) fn takes_sessions(&self) -> bool {
        self.is_open() || self.guests
    }

    /// Makes a token that holds from `now` on.
    pub fn mint(&self, new: &NewToken, now: UnixMillis) -> Result<Minted, MintError> {
        crypto::install();
        tokens::mint(self.signer.as_ref().ok_or(MintError::NoKey)?, &self.rules, new, now)
    }
}

/// The address at which `token` lets somebody into `room`: browsers send what stands behind `#` to no server.
pub fn link(base: &str, room: &str, token: &str) -> String {
    format!("{}/r/{room}#token={token}", base.trim_end_matches('/'))
}

/// The administrator's token, kept as its hash.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

/// Guessable. Make a longer one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("has {0} bytes; it needs at least {MIN_SECRET_BYTES}, such as `openssl rand -hex 32` prints")]
pub struct ShortToken(usize);

impl AdminToken {
    pub fn new(token: &str) -> Result<Self, ShortToken> {
        if token.len() < MIN_SECRET_BYTES {
            return Err(ShortToken(token.len()));
        }
        Ok(Self(hash(token)))
    }

    /// Compares hashes, so that how long it takes says nothing about the token.
    pub(super) fn is(&self, token: &str) -> bool {
        self.0 == hash(token)
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
