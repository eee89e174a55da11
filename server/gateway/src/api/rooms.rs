//! Rooms, their templates and rules, and the server's own state.

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_plans::git::Origin;
use buildspaces_plans::rule::NewRule;
use buildspaces_policy::Capability;
use buildspaces_rooms::templates::{TEMPLATES, template};
use buildspaces_rooms::{MAX_TITLE_CHARS, RoomHandle};

use super::{RoomPath, open};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::{ErrorBody, NewKind, NewRoom, Room, RoomKinds, Rule, Status, Template, Wishes};

/// In the place of a template's id, in rooms that began with a repository.
const FROM_REPOSITORY: &str = "repository";

/// What a room can begin with.
#[utoipa::path(get, path = "/api/v1/templates", tag = "rooms", responses((status = 200, body = Vec<Template>)))]
pub(crate) async fn templates() -> axum::Json<Vec<Template>> {
    axum::Json(TEMPLATES.iter().map(Template::from).collect())
}

/// The server's version and whether it can run anything.
#[utoipa::path(get, path = "/api/v1/status", tag = "server", responses((status = 200, body = Status)))]
pub(crate) async fn status(State(gateway): State<Gateway>) -> axum::Json<Status> {
    let sandbox = gateway.sandboxes.availability().borrow().clone().into();
    axum::Json(Status { version: env!("CARGO_PKG_VERSION").to_owned(), sandbox })
}

/// Creates a room from a template, or from a repository.
#[utoipa::path(post, path = "/api/v1/rooms", tag = "rooms", request_body = NewRoom,
    responses((status = 201, body = Room), (status = 400, body = ErrorBody, description = "`no_such_template`, `bad_title`, `bad_url`, `bad_branch`, `bad_tenancy`"),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "`no_such_kind`, `no_such_organisation`, `kind_not_theirs`, `not_by_your_token`"),
        (status = 503, body = ErrorBody, description = "`runs_off`")))]
pub(crate) async fn create_room(
    State(gateway): State<Gateway>,
    caller: Caller,
    Json(new): Json<NewRoom>,
) -> Result<(StatusCode, axum::Json<Room>), ApiError> {
    let wishes = Wishes { kind: new.kind, organisation: new.organisation };
    let (authority, tenancy) = caller.creates(&gateway, wishes).await?;
    let person = authority.principal.clone();
    let titled = |otherwise: &str| {
        new.title.clone().filter(|title| !title.trim().is_empty()).unwrap_or_else(|| otherwise.to_owned())
    };
    if let Some(origin) = new.repository {
        if new.template.is_some() {
            return Err(ApiError::bad_request("two_beginnings", "name a template or a repository, not both"));
        }
        authority.check(Capability::Git)?;
        let origin = Origin::parse(&origin.url, origin.branch.as_deref())?;
        // Before there is a room that nothing could come into.
        gateway.engine.git().check_available()?;
        let title = titled(origin.title()).chars().take(MAX_TITLE_CHARS).collect();
        let new =
            buildspaces_rooms::NewRoom { title, template: FROM_REPOSITORY.to_owned(), files: Vec::new(), tenancy };
        let room = gateway.rooms.create(&person, new).await?;
        add_test_rule(&gateway, &room, TEMPLATES.iter().flat_map(|template| template.test_globs).copied()).await?;
        gateway.engine.git().clone_from(room.id(), origin).await?;
        return Ok((StatusCode::CREATED, axum::Json(Room::from(&room.record()))));
    }
    let template = new.template.as_deref().and_then(template).ok_or_else(|| {
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.id).collect();
        ApiError::bad_request("no_such_template", format!("there is no such template; there is {}", known.join(", ")))
    })?;
    let files = template.files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let (title, id) = (titled(template.title), template.id.to_owned());
    let new = buildspaces_rooms::NewRoom { title, template: id, files, tenancy };
    let room = gateway.rooms.create(&person, new).await?;
    add_test_rule(&gateway, &room, template.test_globs.iter().copied()).await?;
    Ok((StatusCode::CREATED, axum::Json(Room::from(&room.record()))))
}

/// Tests run when files change that match one of these.
pub(super) async fn add_test_rule(
    gateway: &Gateway,
    room: &RoomHandle,
    globs: impl Iterator<Item = &'static str>,
) -> Result<(), ApiError> {
    let globs = globs.map(str::to_owned).collect();
    let rule = NewRule { name: "Tests".to_owned(), globs, skill: "test.run".to_owned() };
    gateway.engine.create_rules(room.id(), vec![rule]).await?;
    Ok(())
}

/// A room's title and origin. Where people may begin a session under a name, none is needed: whoever has the link may know what it
/// leads to.
#[utoipa::path(get, path = "/api/v1/rooms/{room}", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = Room), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody, description = "`no_such_room`")))]
pub(crate) async fn room(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Room>, ApiError> {
    if !gateway.config.auth.takes_sessions() {
        caller.open(&gateway, &room, Capability::Read).await?;
    }
    Ok(axum::Json(Room::from(&open(&gateway, &room).await?.record())))
}

/// Of which kind the room is, and who changed that when.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/kind", operation_id = "room_kind", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomKinds), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn kind(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<RoomKinds>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Manage).await?;
    Ok(axum::Json(RoomKinds::new(&room.record(), room.kind_changes().await?)))
}

/// Makes it a room of another kind. A sandbox that runs keeps what it has; the room's next one has what the new kind says. For the server's
/// administrator alone.
#[utoipa::path(put, path = "/api/v1/rooms/{room}/kind", operation_id = "set_room_kind", tag = "rooms", params(("room" = String, Path)),
    request_body = NewKind,
    responses((status = 200, body = RoomKinds), (status = 400, body = ErrorBody, description = "`bad_tenancy`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "`denied`, `no_such_kind`, `no_such_organisation`, `kind_not_theirs`"),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn set_kind(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewKind>,
) -> Result<axum::Json<RoomKinds>, ApiError> {
    let by = caller.identify(&gateway).await?;
    if !caller.is_admin(&gateway) {
        let message = "only this server's administrator makes a room one of another kind: with the token in auth.admin_token, or with \
                       `buildspaces room` while the server is stopped";
        return Err(ApiError::forbidden("denied", message));
    }
    let room = open(&gateway, &room).await?;
    let wishes = Wishes { kind: Some(new.kind), organisation: None };
    let wished = wishes.over(room.record().tenancy)?;
    gateway.config.tenants.check(&wished)?;
    room.change_kind(wished.kind, &by).await?;
    Ok(axum::Json(RoomKinds::new(&room.record(), room.kind_changes().await?)))
}

/// The room's rules.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/rules", tag = "runs", params(("room" = String, Path)),
    responses((status = 200, body = Vec<Rule>), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn rules(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Rule>>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let rules = gateway.engine.rules(room.id()).await?;
    Ok(axum::Json(rules.into_iter().map(Rule::from).collect()))
}
