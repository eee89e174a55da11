//! The room's sandbox as a whole.

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_policy::Capability;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::Path;
use crate::identity::Caller;
use crate::schema::ErrorBody;

/// Ends the room's sandbox: its run, its terminals and all else that runs in it. The files stay, and the next run or terminal gets a new
/// one. Nothing happens if there is none.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/sandbox", tag = "sandbox", params(("room" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn end_sandbox(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Terminal).await?;
    let reason = format!("the sandbox was ended by {}", by.name);
    if gateway.sandboxes.dispose(room.id(), &reason).await {
        tracing::info!(room = %room.id(), by = %by.id, "a sandbox was ended on request");
    }
    Ok(StatusCode::NO_CONTENT)
}
