//! Files as bytes: one that somebody sends in, and those of the workspace that are no nodes.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_kernel::ids::NodeId;
use buildspaces_plans::ports::{NewFile, SandboxError};
use buildspaces_policy::Capability;
use buildspaces_rooms::tree::{NodeKind, Tree, TreeCommand};
use futures_util::StreamExt;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::identity::Caller;
use crate::schema::{ErrorBody, Node, Unshared, UnsharedFile};

/// Most bytes of a file that is sent in.
const MAX_SENT: usize = 64 << 20;

/// How long one may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most names that one answer has.
const MAX_LISTED: usize = 500;

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileParams {
    name: String,
    /// The folder's node; without one the file comes to the top.
    parent: Option<String>,
}

/// Puts a file of at most 64 MiB into the workspace. What is text of at most 1 MiB becomes a document, anything else a `binary` or `large` node.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/files", tag = "files", params(("room" = String, Path), FileParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Node), (status = 400, body = ErrorBody, description = "`bad_name`, `not_a_folder`, `too_deep`, `bad_upload`"),
        (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`name_taken`; `left_out`: it is in the workspace, where files of such a name are not shown"),
        (status = 413, body = ErrorBody, description = "`upload_too_large`"),
        (status = 503, body = ErrorBody, description = "`busy`: too many files arrive at once"),
        (status = 507, body = ErrorBody, description = "`organisation_full`")))]
pub(crate) async fn send(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(params): Query<FileParams>,
    body: Body,
) -> Result<(StatusCode, axum::Json<Node>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::EditTree).await?;
    let parent =
        params.parent.as_deref().map(|id| NodeId::parse(id).ok_or(buildspaces_rooms::Error::NoSuchNode)).transpose()?;
    // The tree says what is wrong with the place before the bytes come.
    let mut trial = Tree::restore(room.tree().nodes().cloned());
    let (name, kind) = (params.name.clone(), NodeKind::Binary);
    let command = TreeCommand::Create { parent: parent.clone(), name, kind, size: 0, text: None };
    let id = NodeId::random();
    trial.handle(&by.name, id.clone(), command)?;
    let path = trial.view().path(&id).ok_or(buildspaces_rooms::Error::NoSuchNode)?;
    let busy = |_| {
        let message = "too many files arrive at once; send yours again in a moment";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    };
    let _turn = gateway.files.try_acquire().map_err(busy)?;
    let slow = |_| ApiError::bad_request("bad_upload", "the file took too long to arrive; send a smaller one");
    let bytes = tokio::time::timeout(PATIENCE, read(body)).await.map_err(slow)??;
    let full =
        |error: SandboxError| ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "organisation_full", error.to_string());
    gateway.sandboxes.check_disk(&room.record().tenancy, bytes.len() as u64).map_err(full)?;
    let file = NewFile { path, bytes: bytes.into(), executable: false };
    let taken = gateway.sandboxes.fill(room.id(), vec![file]).await.map_err(ApiError::internal)?;
    if !taken.is_empty() {
        let message = format!(
            "there is already {:?} in the workspace, or something else in place of its folder; choose another name",
            params.name
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "name_taken", message));
    }
    let tree = room.tree();
    let node = tree.children(parent.as_ref()).into_iter().find(|node| node.name == params.name).cloned();
    let node = node.ok_or_else(|| {
        let message = "it is in the workspace now, where programs can use it, but files of such a name are not shown (by .gitignore, or as what \
                       tools make)";
        ApiError::new(StatusCode::CONFLICT, "left_out", message)
    })?;
    Ok((StatusCode::CREATED, axum::Json(node.into())))
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut body = body.into_data_stream();
    let mut sent = bytes::BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece =
            piece.map_err(|_| ApiError::bad_request("bad_upload", "the file did not arrive whole; send it again"))?;
        if sent.len() + piece.len() > MAX_SENT {
            let message = format!("a file that is sent in has at most {} MiB", MAX_SENT >> 20);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", message));
        }
        sent.extend_from_slice(&piece);
    }
    Ok(sent.freeze())
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UnsharedParams {
    /// A folder's path from the workspace's root. Without one: what is in the folders that the tree shows.
    folder: Option<String>,
}

/// Files and folders of the workspace that are no nodes, because they are ignored: at most 500, folders first. They are in the sandbox alone.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/unshared", tag = "files", params(("room" = String, Path), UnsharedParams),
    responses((status = 200, body = Unshared), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_folder`")))]
pub(crate) async fn unshared(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(params): Query<UnsharedParams>,
) -> Result<axum::Json<Unshared>, ApiError> {
    let room = caller.may_see_workspace(&gateway, &room).await?;
    let listed = gateway.sandboxes.unshared(room.id(), params.folder.as_deref(), MAX_LISTED).await;
    let (files, more) = listed.map_err(|error| ApiError::not_found("no_such_folder", error.to_string()))?;
    let files = files.into_iter().map(UnsharedFile::from).collect();
    Ok(axum::Json(Unshared { files, more }))
}
