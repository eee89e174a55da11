//! Terminals: which there are, opening and closing. What they show goes over a WebSocket: see [`crate::terminal`].

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_kernel::ids::TerminalId;
use buildspaces_plans as plans;
use buildspaces_policy::Capability;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::terminals::{NewTerminal, Terminal};

/// The room's terminals, oldest first.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/terminals", tag = "terminals", params(("room" = String, Path)),
    responses((status = 200, body = Vec<Terminal>), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn terminals(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Terminal>>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let terminals = gateway.engine.terminals().list(room.id());
    Ok(axum::Json(terminals.into_iter().map(Terminal::from).collect()))
}

/// Opens a terminal. It starts at once; connect to its WebSocket to see how.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/terminals", tag = "terminals", params(("room" = String, Path)),
    request_body = NewTerminal,
    responses((status = 201, body = Terminal), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`too_many_terminals`, `recordings_full`"),
        (status = 503, body = ErrorBody, description = "`runs_off`; the hint says how to turn runs on")))]
pub(crate) async fn open_terminal(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewTerminal>,
) -> Result<(StatusCode, axum::Json<Terminal>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Terminal).await?;
    // So that everybody in the room sees it in their list.
    gateway.engine.room_opened(room.id()).await;
    let terminal = gateway.engine.terminals().open(room.id(), &by, new.into()).await?;
    Ok((StatusCode::CREATED, axum::Json(terminal.into())))
}

/// Ends everything in a terminal and forgets it.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/terminals/{terminal}", tag = "terminals",
    params(("room" = String, Path), ("terminal" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn close_terminal(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, terminal)): RoomAndId,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Terminal).await?;
    let terminal = TerminalId::parse(&terminal).ok_or(plans::Error::NoSuchTerminal)?;
    gateway.engine.terminals().close(room.id(), &terminal, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
