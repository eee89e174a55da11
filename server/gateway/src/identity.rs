//! Who somebody is and what they may do, decided when they come in: [`admit`] for documents, [`Caller`] for REST.
//!
//! A token is signed ([`tokens`], [`keys`], [`jwks`]), a session's (a name somebody chose, see [`crate::sessions`]), one that the
//! operator's own service knows ([`webhook`]), or the administrator's. What was allowed once is watched over until it ends
//! ([`watch`]). Nothing is decided here about a single message: that is `policy` and the document. Tokens are never logged.

mod caller;
mod config;
mod crypto;
mod jwks;
mod keys;
mod tokens;
mod watch;
mod webhook;

use std::sync::Arc;

use axum::http::StatusCode;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::revocation::{Revocation, Subject, TokenId};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Authority, Capability, Principal, PrincipalKind, Role};
use buildspaces_rooms::ports::{Store, StoreError};
use tokio::sync::OnceCell;

pub(crate) use self::caller::Caller;
pub use self::config::{AdminToken, AuthConfig, ShortToken, link};
pub use self::keys::{Key, KeyError, SigningKey};
use self::tokens::{Invalid, Scope, Signed, Verified};
pub use self::tokens::{MintError, Minted, NewToken, Rules};
pub(crate) use self::watch::{End, Watch};
pub use self::webhook::WebhookConfig;
use crate::error::ApiError;
use crate::http::{Client, Reach};
use crate::{Gateway, sessions};

/// The user id of whoever has the administrator's token.
pub(crate) const ADMINISTRATOR: &str = "admin";

/// What somebody may do in one document.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) authority: Authority,
    /// The server knows who this is, and stamps it into awareness.
    pub(crate) known: bool,
    /// When it ends by itself.
    pub(crate) expires: Option<UnixMillis>,
    /// What a revocation names. Sessions have none: they are revoked by their user.
    pub(crate) token: Option<TokenId>,
    /// It is for single documents of the room, so it must not be handed on for the whole room, nor lead into a terminal, where every file
    /// lies open.
    pub(crate) limited: bool,
    /// What the rooms are that they create, and whose.
    pub(crate) tenancy: Tenancy,
}

/// What somebody is told whose token leads to no terminal.
pub(crate) const NO_TERMINALS: &str =
    "your token is for single documents, and a terminal shows all of the room's files";

/// What somebody is told whose token does not lead to what the workspace holds besides documents.
pub(crate) const NO_WORKSPACE: &str =
    "your token is for single documents, and this shows what else is in the room's workspace";

/// What somebody is told whose token leads to no git.
pub(crate) const NO_GIT: &str = "your token is for single documents, and git shows all of the room's files";

/// What somebody is told whose token leads to no preview.
pub(crate) const NO_PREVIEWS: &str =
    "your token is for single documents, and what runs in the room's sandbox may show all of its files";

/// What somebody is told whose token leads to no call.
pub(crate) const NO_CALLS: &str = "your token is for single documents, and a call is the whole room's";

/// Why somebody does not come in. The text is for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No token, or one that is not valid (any more): get another. Close code 4401.
    Unauthorized(String),
    /// What somebody known could do here has expired or was taken back. Close code 4401, but another session is no answer to it.
    Ended(String),
    /// A valid token that does not allow this. Close code 4403.
    Forbidden(String),
    /// Whoever knows could not be asked: try again. Close code 1013.
    Unavailable(String),
}

impl Refusal {
    pub(crate) fn close_code(&self) -> u16 {
        match self {
            Self::Unauthorized(_) | Self::Ended(_) => 4401,
            Self::Forbidden(_) => 4403,
            Self::Unavailable(_) => 1013,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Unauthorized(message)
            | Self::Ended(message)
            | Self::Forbidden(message)
            | Self::Unavailable(message) => message,
        }
    }

    fn unavailable(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "nobody can be told who they are");
        Self::Unavailable("the server cannot check who you are right now; try again in a moment".to_owned())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized(message) => Self::new(StatusCode::UNAUTHORIZED, "unknown_session", message),
            Refusal::Ended(message) => Self::new(StatusCode::UNAUTHORIZED, "access_ended", message),
            Refusal::Forbidden(message) => Self::forbidden("denied", message),
            Refusal::Unavailable(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "auth_unavailable", message),
        }
    }
}

/// Somebody, before it is clear what they want.
struct Somebody {
    grant: Grant,
    /// They chose their name here, and may change it.
    has_session: bool,
    /// What they may do is not tied to one room.
    any_room: bool,
    may_see: MaySee,
}

/// Which documents somebody may learn of from a list.
#[derive(Clone, Debug)]
enum MaySee {
    All,
    /// Those of rooms whose link they have: what a guest of a server with keys may.
    InRooms,
    Scope(Scope),
}

/// What a list may show to whoever asked for it.
pub(crate) struct Sight {
    grant: Grant,
    may_see: MaySee,
}

impl Sight {
    /// Nearly every document may be shown.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.may_see {
            MaySee::All => true,
            MaySee::InRooms => false,
            MaySee::Scope(scope) => scope.any_room(),
        }
    }

    pub(crate) fn has_plain(&self) -> bool {
        !matches!(self.may_see, MaySee::InRooms)
    }

    /// The one room they may see.
    pub(crate) fn room(&self) -> Option<&str> {
        match &self.may_see {
            MaySee::Scope(scope) => scope.room(),
            MaySee::All | MaySee::InRooms => None,
        }
    }

    pub(crate) fn covers(&self, gateway: &Gateway, document: &DocumentName) -> bool {
        let is_covered = match &self.may_see {
            MaySee::All => true,
            MaySee::InRooms => document.kind() != Kind::Plain,
            MaySee::Scope(scope) => scope.covers(document),
        };
        is_covered && gateway.identity.directory.refused(&self.grant, Some(document.room())).is_none()
    }
}

/// What the gateway keeps to know people by.
pub(crate) struct Identity {
    config: AuthConfig,
    directory: watch::Directory,
    jwks: Option<jwks::Jwks>,
    webhook: Option<webhook::Webhook>,
    store: Arc<dyn Store>,
    /// What is revoked has been read from the store.
    loaded: OnceCell<()>,
}

impl Identity {
    pub(crate) fn new(config: &AuthConfig, store: &Arc<dyn Store>, tasks: &Tasks) -> Self {
        crypto::install();
        let directory = watch::Directory::new(Arc::new(unix_millis));
        directory.start(tasks);
        // Reading the system's certificates takes a while, so only who needs them does.
        let client = (config.jwks.is_some() || config.webhook.is_some()).then(|| Client::new(Reach::All));
        let jwks =
            config.jwks.clone().zip(client.clone()).map(|(url, client)| jwks::Jwks::new(url, client, tasks.clone()));
        let webhook = config.webhook.clone().zip(client).map(|(config, client)| webhook::Webhook::new(config, client));
        let (config, store, loaded) = (config.clone(), store.clone(), OnceCell::new());
        Self { config, directory, jwks, webhook, store, loaded }
    }

    /// Watches over an admission for as long as its connection lives.
    pub(crate) fn watch(&self, grant: &Grant, document: &DocumentName) -> Watch {
        self.directory.watch(grant, document)
    }

    /// Makes a token that holds from now on.
    pub(crate) fn mint(&self, new: &NewToken) -> Result<Minted, MintError> {
        self.config.mint(new, self.directory.now())
    }

    /// Is this the administrator's token?
    pub(crate) fn is_admin(&self, token: &str) -> bool {
        self.config.admin.as_ref().is_some_and(|admin| admin.is(token))
    }

    /// Takes access back: stored first, then enforced. Returns how many connections ended. What cannot be stored is enforced all the
    /// same, until the server starts again: nobody must be kept in by a full disk.
    pub(crate) async fn revoke(&self, revocation: &Revocation) -> (usize, Result<(), StoreError>) {
        let stored = match revocation.subject {
            Subject::Document(_) => Ok(()),
            _ => self.store.revoke(revocation).await,
        };
        // What the webhook allowed a moment ago may be what is taken back.
        if let Some(webhook) = &self.webhook {
            webhook.forget();
        }
        (self.directory.revoke(revocation), stored)
    }

    /// What is revoked must be known before anybody comes in.
    async fn load(&self) -> Result<(), Refusal> {
        self.loaded.get_or_try_init(|| self.directory.learn(&*self.store)).await.copied().map_err(Refusal::unavailable)
    }

    async fn verify(&self, token: &str) -> Result<Verified, Failure> {
        let now = self.directory.now();
        match (tokens::verify(token, self.config.keys.iter(), &self.config.rules, now), &self.jwks) {
            (Err(Invalid::Signature), Some(jwks)) => {
                let signed = Signed::read(token).map_err(Failure::Invalid)?;
                let published = jwks.keys(&signed).await.map_err(|jwks::Unavailable| Failure::Unavailable)?;
                tokens::verify(token, published.iter(), &self.config.rules, now)
            }
            (result, _) => result,
        }
        .map_err(Failure::Invalid)
    }
}

/// Why a signed token leads to nobody.
enum Failure {
    Invalid(Invalid),
    /// The keys could not be fetched.
    Unavailable,
}

/// May whoever holds `token` (or nothing), on a page of `origin`, open `document`? Dropping it loses nothing.
pub(crate) async fn admit(
    gateway: &Gateway,
    token: Option<&str>,
    origin: Option<&str>,
    document: &DocumentName,
) -> Result<Grant, Refusal> {
    let found = who(gateway, token, origin, Some(document)).await?;
    let grant = match found {
        Some(Found::Session(person)) => {
            let role = role_in(gateway, &person, document).await?;
            Grant { authority: Authority { principal: person, role }, ..session_grant() }
        }
        Some(Found::Token(token)) if !token.scope.covers(document) => {
            return Err(Refusal::Forbidden("your token is not for this document".to_owned()));
        }
        Some(Found::Token(token)) => token.into_grant(),
        Some(Found::Asked(grant)) => grant,
        Some(Found::Administrator) => administrator(),
        None if document.kind() == Kind::Plain => Grant { known: false, ..session_grant() },
        None => {
            let message = "a room's document needs a session: connect with ?token=";
            return Err(Refusal::Unauthorized(message.to_owned()));
        }
    };
    if let Some(end) = gateway.identity.directory.refused(&grant, Some(document.room())) {
        return Err(Refusal::Ended(end.message()));
    }
    grant.authority.check(Capability::Read).map_err(|denied| Refusal::Forbidden(denied.to_string()))?;
    gateway.rooms.remember(&grant.authority.principal);
    Ok(grant)
}

/// Who holds `token`, for what is about no document.
async fn identify(gateway: &Gateway, token: Option<&str>, origin: Option<&str>) -> Result<Somebody, Refusal> {
    let found = who(gateway, token, origin, None).await?;
    let (grant, has_session, any_room, may_see) = match found {
        Some(Found::Session(person)) => {
            let authority = Authority { principal: person, role: Role::Editor };
            let may_see = if gateway.identity.config.is_open() { MaySee::All } else { MaySee::InRooms };
            (Grant { authority, ..session_grant() }, true, true, may_see)
        }
        Some(Found::Token(token)) => {
            let any_room = token.scope.any_room();
            let may_see = MaySee::Scope(token.scope.clone());
            (token.into_grant(), false, any_room, may_see)
        }
        // It was asked about no document, so its answer is about all.
        Some(Found::Asked(grant)) => (grant, false, true, MaySee::All),
        Some(Found::Administrator) => (administrator(), false, true, MaySee::All),
        None => {
            let message = "this session is not known; get one with POST /api/v1/sessions";
            return Err(Refusal::Unauthorized(message.to_owned()));
        }
    };
    if let Some(end) = gateway.identity.directory.refused(&grant, None) {
        return Err(Refusal::Ended(end.message()));
    }
    Ok(Somebody { grant, has_session, any_room, may_see })
}

/// How somebody is known.
enum Found {
    Session(Principal),
    Token(Verified),
    /// The webhook said so.
    Asked(Grant),
    Administrator,
}

/// Whose token it is. `None`: nobody's, on a server that is open to all.
async fn who(
    gateway: &Gateway,
    token: Option<&str>,
    origin: Option<&str>,
    document: Option<&DocumentName>,
) -> Result<Option<Found>, Refusal> {
    let identity = &gateway.identity;
    let auth = &identity.config;
    identity.load().await?;
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return match &identity.webhook {
            Some(webhook) => webhook.ask(None, origin, document).await.map(Found::Asked).map(Some),
            None if auth.is_open() => Ok(None),
            None => Err(Refusal::Unauthorized("this server needs a token: connect with ?token=".to_owned())),
        };
    };
    if identity.is_admin(token) {
        return Ok(Some(Found::Administrator));
    }
    let mut problem = "the session is not known: get a new one".to_owned();
    // Sessions have no dots.
    if token.contains('.') && !(auth.keys.is_empty() && auth.jwks.is_none()) {
        match identity.verify(token).await {
            Ok(verified) => return Ok(Some(Found::Token(verified))),
            // Another kind of token, for all we know.
            Err(Failure::Invalid(invalid @ (Invalid::Shape | Invalid::Signature))) => problem = invalid.to_string(),
            Err(Failure::Invalid(invalid)) => return Err(Refusal::Unauthorized(invalid.to_string())),
            Err(Failure::Unavailable) => {
                return Err(Refusal::unavailable("the keys that check tokens could not be fetched"));
            }
        }
    } else if auth.takes_sessions() {
        let person = sessions::find(gateway, token).await.map_err(Refusal::unavailable)?;
        if let Some(person) = person {
            return Ok(Some(Found::Session(person)));
        }
    }
    match &identity.webhook {
        Some(webhook) => webhook.ask(Some(token), origin, document).await.map(Found::Asked).map(Some),
        None if auth.takes_sessions() || token.contains('.') => Err(Refusal::Unauthorized(problem)),
        None => Err(Refusal::Unauthorized("this server needs a token, and this is none".to_owned())),
    }
}

/// What a person with a session is in the document's room: whoever has a room's link may edit, who made the room is its host.
/// A plain document was made by nobody in particular: on an open server whoever opens it is as good as its host.
async fn role_in(gateway: &Gateway, person: &Principal, document: &DocumentName) -> Result<Role, Refusal> {
    if document.kind() == Kind::Plain {
        return Ok(if gateway.identity.config.is_open() { Role::Host } else { Role::Editor });
    }
    let Some(id) = RoomId::parse(document.room()) else { return Ok(Role::Editor) };
    match gateway.rooms.room(&id).await {
        Ok(room) if *room.created_by() == person.id => Ok(Role::Host),
        // Whether there is such a room is answered when the document is opened.
        Ok(_) | Err(buildspaces_rooms::Error::NoSuchRoom(_)) => Ok(Role::Editor),
        Err(error) => Err(Refusal::unavailable(error)),
    }
}

impl Verified {
    fn into_grant(self) -> Grant {
        let authority = Authority { principal: self.principal, role: self.role };
        let limited = self.scope.is_limited();
        let (expires, token, tenancy) = (self.expires, Some(self.token), self.tenancy);
        Grant { authority, known: true, expires, token, limited, tenancy }
    }
}

/// What all sessions have in common, with nobody in particular in it.
fn session_grant() -> Grant {
    let authority = Authority { principal: fixed("anonymous", "Somebody"), role: Role::Host };
    Grant { authority, known: true, expires: None, token: None, limited: false, tenancy: Tenancy::default() }
}

fn administrator() -> Grant {
    let authority = Authority { principal: fixed(ADMINISTRATOR, "Administrator"), role: Role::Host };
    Grant { authority, ..session_grant() }
}

fn fixed(id: &str, name: &str) -> Principal {
    let id = PrincipalId::parse(id).expect("fixed principal ids are valid");
    Principal { id, kind: PrincipalKind::Person, name: name.into() }
}

/// The user a revocation means: an id as others see it, or what another system calls them.
pub(crate) fn user_called(user: &str) -> PrincipalId {
    PrincipalId::parse(user).unwrap_or_else(|| tokens::principal_id(user))
}

/// The token a revocation means: by its `jti`, or itself.
pub(crate) fn tokens_called(token: &str) -> Vec<TokenId> {
    let own = tokens::token_id(token);
    let named = tokens::claimed_id(token).map(|jti| tokens::token_id(&jti));
    std::iter::once(own).chain(named).collect()
}

#[cfg(test)]
mod tests;
