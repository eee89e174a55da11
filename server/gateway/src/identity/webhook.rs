//! Asks the operator's own service who somebody is: `POST {token, document, origin}` -> `{allow, role, user, expires}`.
//!
//! The body is signed, so that the service knows who asks: `x-buildspaces-signature-256: sha256=<HMAC-SHA256 of the body>`,
//! the form in which GitHub and Hocuspocus sign. An answer that allows is remembered for a short while, a refusal never. When the
//! service does not answer as it should, nobody new comes in, and clients are told to try again.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Authority, Principal, Role};
use bytes::Bytes;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::tokens::{MAX_TOKEN_BYTES, principal_id, token_id};
use super::{Grant, Refusal};
use crate::http::{Client, Url};
use crate::sessions::check_name;

/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Questions that are asked at the same time. Others wait, no longer than an answer may take.
const MAX_QUESTIONS: usize = 64;

/// Answers that are remembered. When it is full, those that are over are forgotten, and if that is not enough, all.
const MAX_REMEMBERED: usize = 10_000;

const SIGNATURE: &str = "x-buildspaces-signature-256";

/// Where to ask, and how.
#[derive(Clone)]
pub struct WebhookConfig {
    pub url: Url,
    /// Signs the question. Without one the service cannot tell who asks.
    pub secret: Option<Vec<u8>>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long an answer that allows is remembered; zero asks every time.
    pub remember: Duration,
}

impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

pub(super) struct Webhook {
    config: WebhookConfig,
    key: Option<hmac::Key>,
    client: Client,
    questions: Semaphore,
    remembered: Mutex<Remembered>,
    hasher: RandomState,
}

#[derive(Default)]
struct Remembered {
    answers: HashMap<u64, (Instant, Grant)>,
    /// Counts how often everything was forgotten: an answer that was on its way then is not remembered.
    generation: u64,
}

#[derive(Serialize)]
struct Question<'a> {
    token: Option<&'a str>,
    /// `None` where it is about no document, such as creating a room.
    document: Option<&'a str>,
    origin: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    allow: bool,
    role: Option<Role>,
    user: Option<User>,
    /// Unix milliseconds.
    expires: Option<UnixMillis>,
    /// What the rooms are that they create, and whose.
    kind: Option<RoomKind>,
    organisation: Option<OrganisationId>,
    /// Shown to whoever is refused.
    reason: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: Option<String>,
}

impl Webhook {
    pub(super) fn new(config: WebhookConfig, client: Client) -> Self {
        let key = config.secret.as_deref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let (questions, remembered) = (Semaphore::new(MAX_QUESTIONS), Mutex::default());
        Self { config, key, client, questions, remembered, hasher: RandomState::new() }
    }

    pub(super) async fn ask(
        &self,
        token: Option<&str>,
        origin: Option<&str>,
        document: Option<&DocumentName>,
    ) -> Result<Grant, Refusal> {
        if token.is_some_and(|token| token.len() > MAX_TOKEN_BYTES) {
            return Err(Refusal::Unauthorized("the token is too long".to_owned()));
        }
        let question = Question { token, document: document.map(DocumentName::as_str), origin };
        let key = self.hasher.hash_one((question.token, question.document, question.origin));
        let generation = {
            let remembered = self.lock();
            if let Some((at, grant)) = remembered.answers.get(&key)
                && at.elapsed() < self.config.remember
            {
                return Ok(grant.clone());
            }
            remembered.generation
        };
        let Ok(Ok(_permit)) = timeout(self.config.timeout, self.questions.acquire()).await else {
            return Err(Refusal::unavailable("too many questions wait for the auth webhook"));
        };
        let answer = self.post(&question).await.map_err(Refusal::unavailable)?;
        let grant = answer.grant(token)?;
        self.remember(generation, key, &grant);
        Ok(grant)
    }

    /// Nothing is remembered any more; the next question is asked.
    pub(super) fn forget(&self) {
        let mut remembered = self.lock();
        remembered.answers.clear();
        remembered.generation += 1;
    }

    async fn post(&self, question: &Question<'_>) -> Result<Answer, String> {
        let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let mut request = Request::post("/").header("content-type", "application/json");
        if let Some(key) = &self.key {
            let tag: String = hmac::sign(key, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            request = request.header(SIGNATURE, format!("sha256={tag}"));
        }
        let request = request.body(Bytes::from(body)).map_err(|error| error.to_string())?;
        let answer = self.client.fetch(&self.config.url, request, self.config.timeout, MAX_ANSWER_BYTES).await;
        let (status, body) = answer.map_err(|error| format!("the auth webhook: {error}"))?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map_err(|error| format!("the auth webhook's answer was not understood: {error}")),
            status => Err(format!("the auth webhook answered with status {status}")),
        }
    }

    fn remember(&self, generation: u64, key: u64, grant: &Grant) {
        let mut remembered = self.lock();
        if self.config.remember.is_zero() || remembered.generation != generation {
            return;
        }
        let answers = &mut remembered.answers;
        if answers.len() >= MAX_REMEMBERED {
            answers.retain(|_, (at, _)| at.elapsed() < self.config.remember);
            if answers.len() >= MAX_REMEMBERED {
                answers.clear();
            }
        }
        answers.insert(key, (Instant::now(), grant.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().expect("no code panics while it holds the lock")
    }
}

impl Answer {
    fn grant(self, token: Option<&str>) -> Result<Grant, Refusal> {
        if !self.allow {
            let reason = self.reason.unwrap_or_else(|| "you may not open this".to_owned());
            // Somebody with a token is known and refused; somebody without may get one.
            return Err(match token {
                Some(_) => Refusal::Forbidden(reason),
                None => Refusal::Unauthorized(reason),
            });
        }
        let role = self.role.unwrap_or(Role::Viewer);
        let Some(user) = self.user.filter(|user| !user.id.is_empty()) else {
            return Err(Refusal::unavailable("the auth webhook allowed somebody without saying who it is (user.id)"));
        };
        let name = user.name.as_deref().and_then(|name| check_name(name).ok()).unwrap_or_else(|| "Guest".to_owned());
        let principal = Principal { id: principal_id(&user.id), kind: role.kind(), name: name.into() };
        let authority = Authority { principal, role };
        let tenancy = Tenancy { kind: self.kind.unwrap_or_default(), organisation: self.organisation };
        let (expires, token) = (self.expires, token.map(token_id));
        Ok(Grant { authority, known: true, expires, token, limited: false, tenancy })
    }
}

#[cfg(test)]
mod tests;
