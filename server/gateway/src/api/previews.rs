//! The way into a preview. What is shown there is `crate::preview`'s.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use buildspaces_policy::Capability;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::preview::{NewVisit, is_path};
use crate::schema::ErrorBody;
use crate::schema::previews::{NewPreview, Preview};

/// Makes a link that shows what a program serves on a port of the room's sandbox, to the caller alone.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/previews", tag = "previews", params(("room" = String, Path)),
    request_body = NewPreview,
    responses((status = 201, body = Preview),
        (status = 400, body = ErrorBody, description = "`bad_port` or `bad_path`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`previews_off`: this server has no address for them")))]
pub(crate) async fn open_preview(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    Path(room): RoomPath,
    Json(new): Json<NewPreview>,
) -> Result<(StatusCode, axum::Json<Preview>), ApiError> {
    let (room, watch, person) = caller.watched(&gateway, &room, Capability::Preview).await?;
    let path = new.path.as_deref().unwrap_or("/");
    if new.port == 0 {
        return Err(ApiError::bad_request("bad_port", "port must be from 1 to 65535"));
    }
    if !is_path(path) {
        let message = "path must begin with one / and have printable ASCII characters only; encode others by percent";
        return Err(ApiError::bad_request("bad_path", message));
    }
    // So that everybody in the room sees its ports.
    gateway.engine.room_opened(room.id()).await;
    let visit = NewVisit { room: room.id().clone(), port: new.port, person: person.id.clone() };
    let url = gateway.previews.invite(visit, path, &headers, watch)?;
    gateway.sandboxes.touch(room.id());
    tracing::info!(room = %room.id(), port = new.port, by = %person.id, "a preview is opened");
    Ok((StatusCode::CREATED, axum::Json(Preview { url })))
}
