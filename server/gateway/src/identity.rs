//! Who somebody is and what they may do, decided when they come in: [`admit`] for documents, [`Caller`] for REST.
//!
//! A token is a session's (a name somebody chose, see [`crate::sessions`]). What was allowed once is watched over until it
//! ends ([`watch`]). Nothing is decided here about a single message: that is `policy` and the document. Tokens are never logged.

mod caller;
mod watch;

use axum::http::StatusCode;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::revocation::TokenId;
use buildspaces_policy::{Authority, Capability, Principal, PrincipalKind, Role};

pub(crate) use self::caller::Caller;
pub(crate) use self::watch::{End, Watch};
use crate::error::ApiError;
use crate::{Gateway, sessions};

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
}

/// Why somebody does not come in. The text is for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No token, or one that is not valid (any more): get another. Close code 4401.
    Unauthorized(String),
    /// A valid token that does not allow this. Close code 4403.
    Forbidden(String),
    /// Whoever knows could not be asked: try again. Close code 1013.
    Unavailable(String),
}

impl Refusal {
    pub(crate) fn close_code(&self) -> u16 {
        match self {
            Self::Unauthorized(_) => 4401,
            Self::Forbidden(_) => 4403,
            Self::Unavailable(_) => 1013,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Unauthorized(message) | Self::Forbidden(message) | Self::Unavailable(message) => message,
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
            Refusal::Forbidden(message) => Self::forbidden("denied", message),
            Refusal::Unavailable(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "auth_unavailable", message),
        }
    }
}

/// What the gateway keeps to know people by.
pub(crate) struct Identity {
    directory: watch::Directory,
}

impl Identity {
    pub(crate) fn new(tasks: &Tasks) -> Self {
        let directory = watch::Directory::new(std::sync::Arc::new(unix_millis));
        directory.start(tasks);
        Self { directory }
    }

    /// Watches over an admission for as long as its connection lives.
    pub(crate) fn watch(&self, grant: &Grant, document: &DocumentName) -> Watch {
        self.directory.watch(grant, document)
    }
}

/// May whoever holds `token` (or nothing), on a page of `origin`, open `document`? Not cancel-safe in what it may have
/// asked others, but nothing is lost when it is dropped.
pub(crate) async fn admit(
    gateway: &Gateway,
    token: Option<&str>,
    origin: Option<&str>,
    document: &DocumentName,
) -> Result<Grant, Refusal> {
    let _ = origin;
    let grant = match token {
        Some(token) => {
            let found = sessions::find(gateway, token).await.map_err(Refusal::unavailable)?;
            let person =
                found.ok_or_else(|| Refusal::Unauthorized("the session is not known: get a new one".into()))?;
            let role = role_in(gateway, &person, document).await?;
            Grant { authority: Authority { principal: person, role }, known: true, expires: None, token: None }
        }
        None if document.kind() != Kind::Plain => {
            let message = "a room's document needs a session: connect with ?token=";
            return Err(Refusal::Unauthorized(message.to_owned()));
        }
        None => Grant { authority: anonymous(), known: false, expires: None, token: None },
    };
    if let Some(end) = gateway.identity.directory.refused(&grant, document.room()) {
        return Err(Refusal::Unauthorized(end.message()));
    }
    grant.authority.check(Capability::Read).map_err(|denied| Refusal::Forbidden(denied.to_string()))?;
    Ok(grant)
}

/// What a person with a session is in the document's room: whoever has a room's link may edit, who made the room is its host.
/// A plain document was made by nobody in particular.
async fn role_in(gateway: &Gateway, person: &Principal, document: &DocumentName) -> Result<Role, Refusal> {
    if document.kind() == Kind::Plain {
        return Ok(Role::Host);
    }
    let Some(id) = RoomId::parse(document.room()) else { return Ok(Role::Editor) };
    match gateway.rooms.room(&id).await {
        Ok(room) if room.record().created_by == person.id => Ok(Role::Host),
        // Whether there is such a room is answered when the document is opened.
        Ok(_) | Err(buildspaces_rooms::Error::NoSuchRoom(_)) => Ok(Role::Editor),
        Err(error) => Err(Refusal::unavailable(error)),
    }
}

/// Somebody without a session, in a plain document of a server that is open to all.
fn anonymous() -> Authority {
    let id = PrincipalId::parse("anonymous").expect("fixed principal ids are valid");
    let principal = Principal { id, kind: PrincipalKind::Person, name: "Somebody".into() };
    Authority { principal, role: Role::Host }
}
