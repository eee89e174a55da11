//! Recordings of terminals: whether they are made, which there are, and each as a file.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use buildspaces_kernel::ids::RecordingId;
use buildspaces_plans as plans;
use buildspaces_policy::Capability;
use futures_util::stream;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::recordings::{NewTerminalSettings, Recording, TerminalSettings};

/// Whether the room's terminals are recorded.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/terminals/settings", operation_id = "terminal_settings", tag = "terminals",
    params(("room" = String, Path)),
    responses((status = 200, body = TerminalSettings), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn settings(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<TerminalSettings>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let recordings = gateway.engine.recordings();
    let (setting, kept) = (recordings.setting(room.id()).await?, recordings.kept(room.id()).await?);
    Ok(axum::Json(TerminalSettings::new(setting, kept)))
}

/// Has what terminals show recorded from now on, or no more. Turning it on again begins anew where a recording ended by itself.
#[utoipa::path(put, path = "/api/v1/rooms/{room}/terminals/settings", operation_id = "set_terminal_settings", tag = "terminals",
    params(("room" = String, Path)), request_body = NewTerminalSettings,
    responses((status = 200, body = TerminalSettings), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "`recordings_full`"),
        (status = 503, body = ErrorBody, description = "`recordings_off`")))]
pub(crate) async fn set(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewTerminalSettings>,
) -> Result<axum::Json<TerminalSettings>, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    let setting = gateway.engine.terminals().record(room.id(), new.record, &by).await?;
    Ok(axum::Json(TerminalSettings::new(setting, gateway.engine.recordings().kept(room.id()).await?)))
}

/// The room's recordings, newest first. They stay until a host deletes them; how many there may be is told with the settings.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/recordings", operation_id = "list_recordings", tag = "terminals",
    params(("room" = String, Path)),
    responses((status = 200, body = Vec<Recording>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Recording>>, ApiError> {
    let room = caller.may_watch_terminals(&gateway, &room).await?;
    let recordings = gateway.engine.recordings().list(room.id()).await?;
    Ok(axum::Json(recordings.into_iter().map(Recording::from).collect()))
}

/// A recording as an asciicast (version 2); of one that goes on, what there is of it.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/recordings/{recording}", operation_id = "read_recording", tag = "terminals",
    params(("room" = String, Path), ("recording" = String, Path)),
    responses((status = 200, body = String, content_type = "application/x-asciicast"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody, description = "`no_such_recording`")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, recording)): RoomAndId,
) -> Result<([(HeaderName, HeaderValue); 3], Body), ApiError> {
    let room = caller.may_watch_terminals(&gateway, &room).await?;
    let recordings = gateway.engine.recordings().clone();
    let recording = recordings.find(room.id(), &recording_id(&recording)?).await?;
    let name = format!("attachment; filename=\"terminal-{}-{}.cast\"", recording.number, recording.id);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-asciicast")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(ApiError::internal)?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    // Piece by piece as the reader takes it. An error breaks the transfer off.
    let pieces = stream::try_unfold(0, move |at| {
        let (recordings, id) = (recordings.clone(), recording.id.clone());
        async move {
            let piece = recordings.piece(&id, at).await?;
            let next = at + piece.len() as u64;
            Ok::<_, plans::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), next)))
        }
    });
    Ok((headers, Body::from_stream(pieces)))
}

/// Forgets a recording that has ended.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/recordings/{recording}", operation_id = "delete_recording", tag = "terminals",
    params(("room" = String, Path), ("recording" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_recording`"),
        (status = 409, body = ErrorBody, description = "`still_recorded`")))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, recording)): RoomAndId,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    gateway.engine.recordings().delete(room.id(), &recording_id(&recording)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn recording_id(text: &str) -> Result<RecordingId, ApiError> {
    RecordingId::parse(text).ok_or_else(|| plans::Error::NoSuchRecording.into())
}
