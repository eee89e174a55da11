//! Recordings of calls: which there are, their files, and forgetting them. They are started and stopped in the call itself.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use buildspaces_kernel::ids::RecordingId;
use buildspaces_media::recordings::Error;
use buildspaces_policy::Capability;
use futures_util::stream;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::Path;
use crate::identity::Caller;
use crate::ranges::Wanted;
use crate::schema::ErrorBody;
use crate::schema::call_recordings::CallRecording;

/// Bytes that are read from the disk at a time.
const PIECE: usize = 256 << 10;

/// The recordings of the room's calls, newest first. They stay until a host deletes them; how many there may be is told with the settings of calls.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/media/recordings", operation_id = "list_call_recordings", tag = "calls",
    params(("room" = String, Path)),
    responses((status = 200, body = Vec<CallRecording>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<CallRecording>>, ApiError> {
    let room = caller.may_watch_calls(&gateway, &room).await?;
    let recordings = gateway.calls.recordings().list(room.id()).await?;
    Ok(axum::Json(recordings.into_iter().map(Into::into).collect()))
}

/// A file of a recording: Ogg with Opus, WebM with VP8, or Matroska with H.264. Of one that goes on, what there is of it. A part of it by `Range`, one at a time.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/media/recordings/{recording}/files/{file}", operation_id = "read_call_recording",
    tag = "calls", params(("room" = String, Path), ("recording" = String, Path), ("file" = u32, Path),
        ("range" = Option<String>, Header, example = "bytes=0-1023")),
    responses((status = 200, body = Vec<u8>, content_type = "video/webm"),
        (status = 206, body = Vec<u8>, content_type = "video/webm", description = "that part of it"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_recording`"),
        (status = 416, body = ErrorBody, description = "`no_such_range`")))]
pub(crate) async fn file(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, recording, file)): Path<(String, String, String)>,
    method: Method,
    asked: HeaderMap,
) -> Result<Response, ApiError> {
    let room = caller.may_watch_calls(&gateway, &room).await?;
    let recordings = gateway.calls.recordings().clone();
    let recording = recordings.find(room.id(), &id(&recording)?).await?;
    let is_it = |other: &&buildspaces_media::recording::File| other.number.to_string() == file;
    let file = recording.files.iter().find(is_it).ok_or(Error::NoSuchRecording)?.clone();
    let name = format!("attachment; filename=\"call-{}-{}\"", recording.id, file.name());
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(ApiError::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Nothing gets smaller that was compressed already.
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    let length = file.bytes;
    // Piece by piece as the reader takes it. An error breaks the transfer off.
    let pieces = |bytes| {
        Body::from_stream(stream::try_unfold(bytes, move |left: Range<u64>| {
            let (recordings, recording, file) = (recordings.clone(), recording.clone(), file.clone());
            async move {
                let most = usize::try_from(left.end - left.start).unwrap_or(PIECE).min(PIECE);
                let piece = recordings.piece(&recording, &file, left.start, most).await?;
                let left = left.start + piece.len() as u64..left.end;
                Ok::<_, Error>((!piece.is_empty()).then(|| (Bytes::from(piece), left)))
            }
        }))
    };
    Ok(Wanted::of(&method, &asked, length).answer(length, headers, pieces))
}

/// Forgets a recording that has ended, with its files.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/media/recordings/{recording}", operation_id = "delete_call_recording",
    tag = "calls", params(("room" = String, Path), ("recording" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_recording`"),
        (status = 409, body = ErrorBody, description = "`still_recorded`")))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, recording)): RoomAndId,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    gateway.calls.recordings().delete(room.id(), &id(&recording)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn id(text: &str) -> Result<RecordingId, ApiError> {
    RecordingId::parse(text).ok_or_else(|| Error::NoSuchRecording.into())
}
