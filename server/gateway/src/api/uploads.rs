//! Rooms that begin with a project that somebody has on their own machine.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_plans::ports::SandboxError;
use buildspaces_policy::Authority;
use buildspaces_rooms::templates::TEMPLATES;
use futures_util::StreamExt;

use super::rooms::add_test_rule;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::Query;
use crate::identity::Caller;
use crate::schema::{ErrorBody, Room, Wishes};
use crate::upload::{self, MAX_SENT};

/// How long an archive may take to arrive: others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// In the place of a template's id, in rooms that began with a project from elsewhere.
const UPLOADED: &str = "upload";

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadParams {
    /// 1 to 120 characters.
    title: String,
    /// Of which kind the room is; see `POST /api/v1/rooms`.
    kind: Option<String>,
    /// Whose the room is.
    organisation: Option<String>,
}

/// Creates a room with the files of an archive, tar with gzip or zip, of at most 64 MiB. A folder around everything is left out, a `.git`
/// comes along. Links and devices are not made.
#[utoipa::path(post, path = "/api/v1/rooms/upload", tag = "rooms", params(UploadParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Room), (status = 400, body = ErrorBody, description = "`bad_upload`, `bad_title`"),
        (status = 401, body = ErrorBody), (status = 413, body = ErrorBody, description = "`upload_too_large`"),
        (status = 503, body = ErrorBody, description = "`busy`: another upload is under way"),
        (status = 507, body = ErrorBody, description = "`organisation_full`: the files of its rooms take as much as they may together")))]
pub(crate) async fn upload(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(params): Query<UploadParams>,
    body: Body,
) -> Result<(StatusCode, axum::Json<Room>), ApiError> {
    let wishes = Wishes { kind: params.kind, organisation: params.organisation };
    let (Authority { principal: by, .. }, tenancy) = caller.creates(&gateway, wishes).await?;
    let busy = |_| {
        let message = "another project is being taken apart; send yours again in a moment";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    };
    let _turn = gateway.upload.try_acquire().map_err(busy)?;
    let slow = |_| ApiError::bad_request("bad_upload", "the archive took too long to arrive; send a smaller one");
    let sent = tokio::time::timeout(PATIENCE, read(body)).await.map_err(slow)??;
    let unpacked = tokio::task::spawn_blocking(move || upload::unpack(&sent)).await.map_err(ApiError::internal)?;
    let files = unpacked.map_err(|error| ApiError::bad_request("bad_upload", error.to_string()))?;
    // Before there is a room that they could not come into.
    let bytes = files.iter().map(|file| file.bytes.len() as u64).sum();
    let full =
        |error: SandboxError| ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "organisation_full", error.to_string());
    gateway.sandboxes.check_disk(&tenancy, bytes).map_err(full)?;
    let new =
        buildspaces_rooms::NewRoom { title: params.title, template: UPLOADED.to_owned(), files: Vec::new(), tenancy };
    let room = gateway.rooms.create(&by, new).await?;
    // By way of the workspace, so that what is no text and what git keeps come along, and one road decides what becomes a document.
    gateway.sandboxes.fill(room.id(), files).await.map_err(ApiError::internal)?;
    add_test_rule(&gateway, &room, TEMPLATES.iter().flat_map(|template| template.test_globs).copied()).await?;
    Ok((StatusCode::CREATED, axum::Json(Room::from(&room.record()))))
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut body = body.into_data_stream();
    let mut sent = bytes::BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|_| ApiError::bad_request("bad_upload", "the archive did not arrive whole; send it again"))?;
        if sent.len() + piece.len() > MAX_SENT {
            let message = format!("an archive has at most {} MiB", MAX_SENT >> 20);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", message));
        }
        sent.extend_from_slice(&piece);
    }
    Ok(sent.freeze())
}
