//! Sessions: a name and a secret token.

use axum::extract::State;
use axum::http::StatusCode;

use crate::Gateway;
use crate::error::ApiError;
use crate::extract::Json;
use crate::identity::Caller;
use crate::schema::{CurrentSession, ErrorBody, NewSession, Person, Session};
use crate::sessions;

/// Begins a session under a display name.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "people", request_body = NewSession,
    responses((status = 201, body = Session), (status = 400, body = ErrorBody, description = "`bad_name`"),
        (status = 507, body = ErrorBody, description = "`disk_full`")))]
pub(crate) async fn create_session(
    State(gateway): State<Gateway>,
    Json(new): Json<NewSession>,
) -> Result<(StatusCode, axum::Json<Session>), ApiError> {
    let (token, person) = sessions::create(&gateway, &new.name).await?;
    Ok((StatusCode::CREATED, axum::Json(Session { token, person: Person::from(&person) })))
}

/// Who the caller is.
#[utoipa::path(get, path = "/api/v1/session", tag = "people",
    responses((status = 200, body = CurrentSession), (status = 401, body = ErrorBody, description = "`unknown_session`")))]
pub(crate) async fn session(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<axum::Json<CurrentSession>, ApiError> {
    let person = caller.identify(&gateway).await?;
    Ok(axum::Json(CurrentSession { person: Person::from(&person) }))
}

/// Changes the caller's display name; connections made from now on show it.
#[utoipa::path(patch, path = "/api/v1/session", tag = "people", request_body = NewSession,
    responses((status = 200, body = CurrentSession), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(crate) async fn rename(
    State(gateway): State<Gateway>,
    caller: Caller,
    Json(new): Json<NewSession>,
) -> Result<axum::Json<CurrentSession>, ApiError> {
    let mut person = caller.has_session(&gateway).await?;
    let name = sessions::check_name(&new.name)?;
    gateway.rooms.store().rename_person(&person.id, &name).await?;
    person.name = name.into();
    Ok(axum::Json(CurrentSession { person: Person::from(&person) }))
}
