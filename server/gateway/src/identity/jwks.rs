//! Keys of another system, from the address where it publishes them (a JWK Set, RFC 7517).
//!
//! They are fetched when the first token comes and kept for a while. A token that names an unknown key has them fetched anew,
//! but not more often than [`MIN_INTERVAL`], or whoever sends such tokens would have us pester that system. While it does not
//! answer, the keys that are known go on to serve.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use jsonwebtoken::jwk::Jwk;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::keys::Key;
use super::tokens::Signed;
use crate::http::{Client, Url};

/// Keys are fetched anew when they are older: one that was withdrawn serves no longer than this.
const MAX_AGE: Duration = Duration::from_secs(600);

/// What is fetched anew because a key is unknown, or because the last try failed, waits this long.
const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// How long keys serve while they cannot be fetched.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest set, in bytes and in keys.
const MAX_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 64;

/// No keys could be had; the cause is in the log.
#[derive(Debug)]
pub(super) struct Unavailable;

pub(super) struct Jwks {
    url: Url,
    client: Client,
    known: RwLock<Known>,
    /// Held while fetching, so that all who wait share one try.
    fetching: Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<[Key]>,
    at: Option<Instant>,
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.at.is_some_and(|at| at.elapsed() < age)
    }

    fn serves(&self, signed: &Signed) -> bool {
        self.keys.iter().any(|key| signed.may_be_of(key))
    }
}

impl Jwks {
    pub(super) fn new(url: Url, client: Client) -> Self {
        Self { url, client, known: RwLock::default(), fetching: Mutex::default() }
    }

    /// The keys that may have signed a token.
    pub(super) async fn keys(&self, signed: &Signed) -> Result<Arc<[Key]>, Unavailable> {
        let known = self.known();
        if known.is_younger_than(MAX_AGE) && known.serves(signed) {
            return Ok(known.keys);
        }
        let mut last_try = self.fetching.lock().await;
        // Somebody else may have fetched them while we waited.
        let known = self.known();
        let fresh = known.is_younger_than(MAX_AGE) && known.serves(signed);
        if !fresh && last_try.is_none_or(|at| at.elapsed() >= MIN_INTERVAL) {
            *last_try = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => {
                    let at = Some(Instant::now());
                    *self.known.write().expect("no code panics while it holds the lock") = Known { keys, at };
                }
                Err(cause) => tracing::warn!(url = %self.url, cause, "the keys that check tokens were not fetched"),
            }
        }
        let known = self.known();
        if known.is_younger_than(MAX_STALE) { Ok(known.keys) } else { Err(Unavailable) }
    }

    fn known(&self) -> Known {
        self.known.read().expect("no code panics while it holds the lock").clone()
    }

    async fn fetch(&self) -> Result<Arc<[Key]>, String> {
        let request = Request::get("/").header("accept", "application/json").body(Bytes::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.client.fetch(&self.url, request, TIMEOUT, MAX_BYTES).await;
        let (status, body) = answer.map_err(|error| error.to_string())?;
        if status != StatusCode::OK {
            return Err(format!("the answer has status {status}"));
        }
        read(&body)
    }
}

/// The usable keys of a set. One that we do not understand spoils nothing but itself.
fn read(body: &[u8]) -> Result<Arc<[Key]>, String> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|error| format!("the answer is no key set: {error}"))?;
    let jwk = |key| serde_json::from_value::<Jwk>(key).ok();
    let keys: Arc<[Key]> =
        set.keys.into_iter().filter_map(jwk).filter_map(|jwk| Key::from_jwk(&jwk)).take(MAX_KEYS).collect();
    if keys.is_empty() {
        return Err("the key set has no key for RS256 or EdDSA".to_owned());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
