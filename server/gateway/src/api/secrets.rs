//! A room's secrets: their names, and how steps get them. Only its hosts may know; nobody is told a value.

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RuleId;
use buildspaces_plans as plans;
use buildspaces_plans::secret::SecretName;
use buildspaces_plans::secrets;
use buildspaces_policy::Capability;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::secrets::{NewSecret, RuleChange, Secret};
use crate::schema::{ErrorBody, Rule};

/// The room's secrets by name, without their values.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/secrets", operation_id = "list_secrets", tag = "secrets",
    params(("room" = String, Path)),
    responses((status = 200, body = Vec<Secret>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody, description = "`secrets_off`; the hint says how to turn them on")))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Secret>>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Manage).await?;
    let secrets = gateway.engine.secrets().list(room.id()).await?;
    Ok(axum::Json(secrets.into_iter().map(Secret::from).collect()))
}

/// Adds a secret, or replaces it with its value and all. The value goes in and never comes out.
#[utoipa::path(put, path = "/api/v1/rooms/{room}/secrets/{name}", operation_id = "put_secret", tag = "secrets",
    params(("room" = String, Path), ("name" = String, Path)), request_body = NewSecret,
    responses((status = 200, body = Secret), (status = 201, body = Secret), (status = 400, body = ErrorBody, description = "`invalid_secret`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`too_many_secrets`"), (status = 503, body = ErrorBody, description = "`secrets_off`")))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, name)): RoomAndId,
    Json(new): Json<NewSecret>,
) -> Result<(StatusCode, axum::Json<Secret>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    let given = new.given.try_into().map_err(plans::Error::InvalidSecret)?;
    let new = secrets::NewSecret { value: new.value, given, skills: new.skills };
    let (secret, is_new) = gateway.engine.secrets().put(room.id(), &by, &name, new, unix_millis()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(Secret::from(secret))))
}

/// Forgets a secret. Rules that name it do not run until they name it no more.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/secrets/{name}", operation_id = "delete_secret", tag = "secrets",
    params(("room" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_secret`"), (status = 503, body = ErrorBody, description = "`secrets_off`")))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, name)): RoomAndId,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    gateway.engine.secrets().delete(room.id(), &by, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says which secrets a rule's steps are given, from the next run on.
#[utoipa::path(patch, path = "/api/v1/rooms/{room}/rules/{rule}", operation_id = "change_rule", tag = "secrets",
    params(("room" = String, Path), ("rule" = String, Path)), request_body = RuleChange,
    responses((status = 200, body = Rule), (status = 400, body = ErrorBody, description = "`unknown_secret`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody, description = "`no_such_rule`"),
        (status = 503, body = ErrorBody, description = "`secrets_off`")))]
pub(crate) async fn change_rule(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, rule)): RoomAndId,
    Json(change): Json<RuleChange>,
) -> Result<axum::Json<Rule>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Manage).await?;
    let rule = RuleId::parse(&rule).ok_or(plans::Error::NoSuchRule)?;
    let names = change.secrets.into_iter().map(SecretName::try_from).collect::<Result<_, _>>();
    let names = names.map_err(plans::Error::InvalidSecret)?;
    Ok(axum::Json(gateway.engine.set_rule_secrets(room.id(), &rule, names).await?.into()))
}
