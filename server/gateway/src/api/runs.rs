//! Runs: what ran, what runs, "Run now" and "Cancel".

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use buildspaces_kernel::ids::{RuleId, RunId};
use buildspaces_plans as plans;
use buildspaces_policy::Capability;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::{ErrorBody, NewRun, Run};

/// The room's runs, newest first.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/runs", tag = "runs", params(("room" = String, Path)),
    responses((status = 200, body = Vec<Run>), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn runs(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Run>>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let runs = gateway.engine.runs(room.id()).await?;
    Ok(axum::Json(runs.iter().map(|run| run.summary().into()).collect()))
}

/// Runs a rule now, even if its text has been run.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/runs", tag = "runs", params(("room" = String, Path)), request_body = NewRun,
    responses((status = 201, body = Run), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody, description = "`runs_off`; the hint says how to turn runs on")))]
pub(crate) async fn start_run(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewRun>,
) -> Result<(StatusCode, axum::Json<Run>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Run).await?;
    let rule = match new.rule {
        Some(rule) => Some(RuleId::parse(&rule).ok_or(plans::Error::NoSuchRule)?),
        None => None,
    };
    let run = gateway.engine.run_now(room.id(), rule, &by).await?;
    Ok((StatusCode::CREATED, axum::Json(run.summary().into())))
}

/// One run.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/runs/{run}", tag = "runs", params(("room" = String, Path), ("run" = String, Path)),
    responses((status = 200, body = Run), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn run(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, run)): RoomAndId,
) -> Result<axum::Json<Run>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let run = gateway.engine.run(room.id(), &run_id(&run)?).await?;
    Ok(axum::Json(run.summary().into()))
}

/// A run's output, as the program wrote it.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/runs/{run}/log", tag = "runs",
    params(("room" = String, Path), ("run" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn log(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, run)): RoomAndId,
) -> Result<impl IntoResponse, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let log = gateway.engine.log(room.id(), &run_id(&run)?).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], log))
}

/// Cancels a queued or running run. A run that has ended is returned as it is.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/runs/{run}/cancel", tag = "runs",
    params(("room" = String, Path), ("run" = String, Path)),
    responses((status = 200, body = Run), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn cancel_run(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, run)): RoomAndId,
) -> Result<axum::Json<Run>, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Run).await?;
    let run = gateway.engine.cancel(room.id(), &run_id(&run)?, &by).await?;
    Ok(axum::Json(run.summary().into()))
}

fn run_id(text: &str) -> Result<RunId, ApiError> {
    RunId::parse(text).ok_or_else(|| plans::Error::NoSuchRun.into())
}
