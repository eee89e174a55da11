//! What somebody may do in a room, links that let others in, and taking access back.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::revocation::{Revocation, Subject};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Authority, Capability, Role};

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::{self, Caller, MintError, NewToken};
use crate::schema::{Access, ErrorBody, Link, NewLink, NewRevocation, Person, Revoked};

/// How long a revocation is remembered if it does not say.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest that one can be: no token lives as long.
const MOST_REMEMBERED: Duration = Duration::from_secs(366 * 24 * 3600);

/// Longest life of a link, in seconds.
const MAX_LIFETIME: u64 = 366 * 24 * 3600;

/// Who the caller is in a room and what they may do there now.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/access", tag = "access", params(("room" = String, Path)),
    responses((status = 200, body = Access), (status = 401, body = ErrorBody, description = "`unknown_session`, `access_ended`"),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn access(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Access>, ApiError> {
    let id = RoomId::parse(&room).ok_or_else(ApiError::no_such_room)?;
    let grant = caller.admit(&gateway, &DocumentName::tree(id.as_str())).await?;
    gateway.rooms.room(&id).await?;
    let Authority { principal, role } = &grant.authority;
    // A token for single documents is not handed on for the whole room, and leads to no terminal, no git, no preview and no call.
    let of_the_whole_room = |capability: &Capability| {
        use Capability::{Git, Moderate, Preview, PublishAudio, PublishVideo, Record, Share, ShareScreen, Terminal};
        matches!(
            capability,
            Share | Terminal | Git | Preview | PublishAudio | PublishVideo | ShareScreen | Moderate | Record
        )
    };
    let may = |capability: &Capability| role.permits(*capability) && !(grant.limited && of_the_whole_room(capability));
    Ok(axum::Json(Access {
        person: Person::from(principal),
        role: (*role).into(),
        capabilities: Capability::ALL.into_iter().filter(may).map(Into::into).collect(),
        expires: grant.expires,
        links: gateway.config.auth.signer.is_some(),
        open: gateway.config.auth.takes_sessions(),
    }))
}

/// Makes a link that lets somebody into the room.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/links", tag = "access", params(("room" = String, Path)), request_body = NewLink,
    responses((status = 201, body = Link), (status = 400, body = ErrorBody, description = "`no_signing_key`, `bad_link`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn create_link(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewLink>,
) -> Result<(StatusCode, axum::Json<Link>), ApiError> {
    let id = RoomId::parse(&room).ok_or_else(ApiError::no_such_room)?;
    let role = Role::from(new.role);
    let grant = caller.share(&gateway, &id, role).await?;
    gateway.rooms.room(&id).await?;
    if !(1..=MAX_LIFETIME).contains(&new.expires_in) {
        return Err(ApiError::bad_request("bad_link", format!("expires_in must be from 1 to {MAX_LIFETIME} seconds")));
    }
    let mut lifetime = Duration::from_secs(new.expires_in);
    if let Some(own_end) = grant.expires {
        // Nobody hands out more time than they have.
        lifetime = lifetime.min(Duration::from_millis(u64::try_from(own_end - unix_millis()).unwrap_or(0)));
    }
    let new = NewToken {
        subject: None,
        name: new.name.unwrap_or_else(|| "Guest".to_owned()),
        role,
        room: Some(room),
        documents: Vec::new(),
        lifetime: Some(lifetime),
        tenancy: Tenancy::default(),
    };
    let minted = gateway.identity.mint(&new).map_err(|error| match error {
        MintError::NoKey => ApiError::bad_request("no_signing_key", error.to_string()),
        MintError::Refused(_) => ApiError::bad_request("bad_link", error.to_string()),
    })?;
    let url = identity::link(&caller.base_url(&gateway), id.as_str(), &minted.token);
    Ok((StatusCode::CREATED, axum::Json(Link { url, token: minted.token, expires: minted.expires })))
}

/// Takes access back, on live connections too.
#[utoipa::path(post, path = "/api/v1/revocations", tag = "access", request_body = NewRevocation,
    responses((status = 200, body = Revoked), (status = 400, body = ErrorBody, description = "`bad_revocation`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 507, body = ErrorBody, description = "`disk_full`: done, but forgotten when the server starts again")))]
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    caller: Caller,
    Json(new): Json<NewRevocation>,
) -> Result<axum::Json<Revoked>, ApiError> {
    let bad = |message: &str| ApiError::bad_request("bad_revocation", message);
    let name = |text: &str| DocumentName::parse(text).map_err(|error| bad(&error.to_string()));
    if [&new.user, &new.token].into_iter().flatten().any(|named| named.trim().is_empty()) {
        return Err(bad("user and token must not be empty; leave out what you do not name"));
    }
    let subjects: Vec<Subject> = match (&new.user, &new.token, &new.document) {
        // Whoever took it from the administrator could not be stopped by anybody.
        (Some(user), None, None) if user == identity::ADMINISTRATOR => {
            return Err(bad("the administrator's access is taken back by changing auth.admin_token"));
        }
        (Some(user), None, None) => vec![Subject::User(identity::user_called(user))],
        (None, Some(token), None) => identity::tokens_called(token).into_iter().map(Subject::Token).collect(),
        (None, None, Some(document)) => vec![Subject::Document(name(document)?.as_str().to_owned())],
        _ => return Err(bad("name one of user, token and document")),
    };
    let authority = match (&new.document, &new.room) {
        (Some(document), _) => caller.admit(&gateway, &name(document)?).await?.authority,
        (None, Some(room)) if RoomId::parse(room).is_some() => {
            caller.admit(&gateway, &DocumentName::tree(room)).await?.authority
        }
        (None, Some(room)) => caller.admit(&gateway, &name(room)?).await?.authority,
        (None, None) => caller.in_any_room(&gateway, Capability::Manage).await?,
    };
    authority.check(Capability::Manage)?;
    let now = unix_millis();
    let after = |time: Duration| now.saturating_add(time.as_millis() as i64);
    let expires = new.expires.unwrap_or(after(REMEMBERED)).min(after(MOST_REMEMBERED));
    if expires <= now {
        return Err(bad("expires must be a moment to come, in Unix milliseconds"));
    }
    let reason: String = new.reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect();
    let (mut ended, mut all_stored) = (0, Ok(()));
    for subject in subjects {
        let (room, reason, by) = (new.room.clone(), reason.clone(), authority.principal.id.clone());
        let revocation = Revocation { subject, room, reason, by, at: now, expires: Some(expires) };
        let (of_it, stored) = gateway.identity.revoke(&revocation).await;
        ended += of_it;
        all_stored = all_stored.and(stored);
    }
    tracing::info!(by = %authority.principal.id, ended, "access was taken back");
    all_stored.map_err(|error| ApiError::from(error).saying(format!(
        "access was taken back and {ended} connections ended, but that could not be saved and is forgotten when the server starts again; \
         do it once more when its disk has space"
    )))?;
    Ok(axum::Json(Revoked { ended }))
}
