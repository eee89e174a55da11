//! Rooms as one file each, streamed: neither side ever holds a whole archive.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use buildspaces_policy::Capability;
use buildspaces_rooms::archive::{self, Import};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::identity::Caller;
use crate::schema::{ErrorBody, Room, Wishes};

/// Pieces of an archive that wait for the one who downloads it. When it is full, the export waits.
const PIECES: usize = 2;

/// The room with its texts and all their history as one tar file. Files that are no texts are in it, as far as the room keeps them; runs and
/// recordings of terminals are not.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/archive", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, content_type = "application/x-tar"), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn export(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<([(HeaderName, HeaderValue); 2], Body), ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Manage).await?;
    let name =
        HeaderValue::from_str(&format!("attachment; filename=\"{}.tar\"", room.id())).map_err(ApiError::internal)?;
    let (out, pieces) = mpsc::channel(PIECES);
    let (rooms, id) = (gateway.rooms.clone(), room.id().clone());
    // It ends with the download, whose end closes the channel.
    gateway.tasks.spawn("room export", async move { archive::export(&rooms, &id, out).await });
    let pieces = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<Result<Bytes, archive::Error>>| {
        // An error breaks the transfer off, so that nobody takes half an archive for a whole one.
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    // Whoever compresses it asks again after its end.
    let pieces = pieces.fuse();
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(pieces)))
}

/// Creates a room from an archive. It has the id it had; there must not be such a room. It is of the kind and the organisation that any room
/// is that the caller creates, whatever it was. Nothing is kept of an archive that
/// cannot be read to its end.
#[utoipa::path(post, path = "/api/v1/rooms/archive", tag = "rooms", params(Wishes),
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses((status = 201, body = Room), (status = 400, body = ErrorBody, description = "`bad_archive`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody, description = "`room_exists`"),
        (status = 503, body = ErrorBody, description = "`busy`: another import is under way")))]
pub(crate) async fn import(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(wishes): Query<Wishes>,
    body: Body,
) -> Result<(StatusCode, axum::Json<Room>), ApiError> {
    // As whoever creates a room.
    let (_, tenancy) = caller.creates(&gateway, wishes).await?;
    let mut import = Import::begin(&gateway.rooms, tenancy)?;
    let (reply, result) = tokio::sync::oneshot::channel();
    // In a task of its own: if the caller goes away, what was stored must still be taken back.
    gateway.tasks.spawn("room import", async move {
        let read = read(&mut import, body).await;
        if read.is_err() {
            import.abandon().await;
        }
        let _ = reply.send(read);
    });
    let id = result.await.map_err(ApiError::internal)??;
    let room = gateway.rooms.room(&id).await?;
    Ok((StatusCode::CREATED, axum::Json(Room::from(&room.record()))))
}

async fn read(import: &mut Import, body: Body) -> Result<buildspaces_kernel::ids::RoomId, ApiError> {
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|_| ApiError::bad_request("bad_archive", "the archive did not arrive whole; send it again"))?;
        import.push(&piece).await?;
    }
    Ok(import.finish().await?)
}
