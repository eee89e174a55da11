//! Keys of another system, from the address where it publishes them (a JWK Set, RFC 7517).
//!
//! They are fetched when the first token comes and kept for a while. A token that names an unknown key has them fetched anew,
//! but not more often than [`MIN_INTERVAL`], or whoever sends such tokens would have us pester that system. While it does not
//! answer, the keys that are known go on to serve. A fetch is a task of its own: whoever waits for it may go away, and must not take it along.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::http::{Request, StatusCode};
use buildspaces_kernel::tasks::Tasks;
use bytes::Bytes;
use jsonwebtoken::jwk::Jwk;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keys::Key;
use super::tokens::Signed;
use crate::http::{Client, Url};

/// Keys are fetched anew when they are older: one that was withdrawn serves hardly longer than this.
const MAX_AGE: Duration = Duration::from_secs(600);

/// So old, keys serve while others are fetched. With older ones one waits for that.
const SERVES_MEANWHILE: Duration = Duration::from_secs(1200);

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

/// Clones share the keys.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    url: Url,
    client: Client,
    tasks: Tasks,
    known: RwLock<Known>,
    fetching: Mutex<Fetching>,
}

#[derive(Default)]
struct Fetching {
    last_try: Option<Instant>,
    /// Turns true when the last try has ended.
    ended: Option<watch::Receiver<bool>>,
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
    pub(super) fn new(url: Url, client: Client, tasks: Tasks) -> Self {
        Self(Arc::new(Inner { url, client, tasks, known: RwLock::default(), fetching: Mutex::default() }))
    }

    /// The keys that may have signed a token.
    pub(super) async fn keys(&self, signed: &Signed) -> Result<Arc<[Key]>, Unavailable> {
        let known = self.known();
        if known.is_younger_than(MAX_AGE) && known.serves(signed) {
            return Ok(known.keys);
        }
        let ended = self.fetch_soon();
        if known.is_younger_than(SERVES_MEANWHILE) && known.serves(signed) {
            return Ok(known.keys);
        }
        if let Some(mut ended) = ended {
            // An error means that it has ended too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        let known = self.known();
        if known.is_younger_than(MAX_STALE) { Ok(known.keys) } else { Err(Unavailable) }
    }

    /// Begins to fetch, unless that is under way or was tried lately. What to wait for, if there is something.
    fn fetch_soon(&self) -> Option<watch::Receiver<bool>> {
        let mut fetching = self.0.fetching.lock().expect("no code panics while it holds the lock");
        let under_way = fetching.ended.as_ref().filter(|ended| ended.has_changed().is_ok() && !*ended.borrow());
        if let Some(ended) = under_way {
            return Some(ended.clone());
        }
        if fetching.last_try.is_some_and(|at| at.elapsed() < MIN_INTERVAL) {
            return None;
        }
        let (end, ended) = watch::channel(false);
        *fetching = Fetching { last_try: Some(Instant::now()), ended: Some(ended.clone()) };
        let this = self.clone();
        self.0.tasks.spawn("fetch keys", async move {
            match this.0.fetch().await {
                Ok(keys) => {
                    let at = Some(Instant::now());
                    *this.0.known.write().expect("no code panics while it holds the lock") = Known { keys, at };
                }
                Err(cause) => tracing::warn!(url = %this.0.url, cause, "the keys that check tokens were not fetched"),
            }
            end.send_replace(true);
        });
        Some(ended)
    }

    fn known(&self) -> Known {
        self.0.known.read().expect("no code panics while it holds the lock").clone()
    }
}

impl Inner {
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
