//! What holds for a room's calls: whether they are end-to-end encrypted, and how much of them is kept.

use axum::extract::State;
use buildspaces_policy::Capability;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::calls::{CallSettings, NewCallSettings};

/// Whether the room's calls are encrypted, and what it has of recordings of them.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/media/settings", operation_id = "call_settings", tag = "calls",
    params(("room" = String, Path)),
    responses((status = 200, body = CallSettings), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn settings(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<CallSettings>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let encryption = gateway.calls.encryption(room.id()).await?;
    Ok(axum::Json(CallSettings::new(encryption, gateway.calls.recordings().kept(room.id()).await?)))
}

/// Has the room's calls encrypted from the next on, or no more. The key is made and kept by pages.
#[utoipa::path(put, path = "/api/v1/rooms/{room}/media/settings", operation_id = "set_call_settings", tag = "calls",
    params(("room" = String, Path)), request_body = NewCallSettings,
    responses((status = 200, body = CallSettings), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`call_running`"), (status = 503, body = ErrorBody, description = "`calls_off`")))]
pub(crate) async fn set(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewCallSettings>,
) -> Result<axum::Json<CallSettings>, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    let encryption = gateway.calls.encrypt(room.id(), new.encrypted, &by).await?;
    Ok(axum::Json(CallSettings::new(encryption, gateway.calls.recordings().kept(room.id()).await?)))
}
