//! Files and folders: commands to the room's tree, and downloads.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::NodeId;
use buildspaces_policy::Capability;
use buildspaces_rooms::tree::{self, TreeCommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::io::ReaderStream;

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path, Query};
use crate::identity::Caller;
use crate::schema::{ErrorBody, NewNode, NewNodeKind, Node, NodeChange};

/// Creates a file or folder.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/nodes", tag = "files", params(("room" = String, Path)), request_body = NewNode,
    responses((status = 201, body = Node), (status = 400, body = ErrorBody, description = "`bad_name`, `not_a_folder`, `too_deep`"),
        (status = 401, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "`name_taken`")))]
pub(crate) async fn create_node(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewNode>,
) -> Result<(StatusCode, axum::Json<Node>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::EditTree).await?;
    let kind = match new.kind {
        NewNodeKind::Folder => tree::NodeKind::Folder,
        NewNodeKind::Text => tree::NodeKind::Text,
    };
    let parent = new.parent.as_deref().map(node_id).transpose()?;
    let command = TreeCommand::Create { parent, name: new.name, kind, size: 0, text: new.text };
    let node = room.command(&by, command).await?.into_iter().next();
    let node = node.ok_or_else(|| ApiError::internal("a created node was not returned"))?;
    Ok((StatusCode::CREATED, axum::Json(node.into())))
}

/// Renames or moves a file or folder.
#[utoipa::path(patch, path = "/api/v1/rooms/{room}/nodes/{node}", tag = "files",
    params(("room" = String, Path), ("node" = String, Path)), request_body = NodeChange,
    responses((status = 200, body = Node), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`conflict`, `name_taken`, `cycle`")))]
pub(crate) async fn change_node(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, node)): RoomAndId,
    Json(change): Json<NodeChange>,
) -> Result<axum::Json<Node>, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::EditTree).await?;
    let parent = match change.parent {
        Some(Some(parent)) => Some(Some(node_id(&parent)?)),
        Some(None) => Some(None),
        None => None,
    };
    let command = TreeCommand::Update { id: node_id(&node)?, parent, name: change.name, rev: change.rev };
    let node = room.command(&by, command).await?.into_iter().next();
    Ok(axum::Json(node.ok_or_else(|| ApiError::internal("a changed node was not returned"))?.into()))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParams {
    /// The revision the caller saw.
    rev: Option<u64>,
}

/// Deletes a file, or a folder with everything below it.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/nodes/{node}", tag = "files",
    params(("room" = String, Path), ("node" = String, Path), DeleteParams),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`conflict`")))]
pub(crate) async fn delete_node(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, node)): RoomAndId,
    Query(params): Query<DeleteParams>,
) -> Result<StatusCode, ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::EditTree).await?;
    room.command(&by, TreeCommand::Delete { id: node_id(&node)?, rev: params.rev }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A file's bytes, for download.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/nodes/{node}/content", tag = "files",
    params(("room" = String, Path), ("node" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn content(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((room, node)): RoomAndId,
) -> Result<Response, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Read).await?;
    let id = node_id(&node)?;
    // A token may be for other files of the room only.
    caller.admit(&gateway, &DocumentName::file(room.id().as_str(), id.as_str())).await?;
    let tree = room.tree();
    let (node, path) = tree.node(&id).zip(tree.path(&id)).ok_or(buildspaces_rooms::Error::NoSuchNode)?;
    let (body, len) = match node.kind {
        tree::NodeKind::Folder => {
            return Err(ApiError::bad_request("is_a_folder", "a folder cannot be downloaded; download its files"));
        }
        tree::NodeKind::Text => {
            let text = room.text(&id).await?;
            let len = text.len() as u64;
            (Body::from(text), len)
        }
        tree::NodeKind::Binary | tree::NodeKind::Large => {
            let file = gateway.sandboxes.open(room.id(), &path).await;
            let file = file.map_err(|error| ApiError::not_found("no_such_file", error.to_string()))?;
            let len = file.metadata().map_err(ApiError::internal)?.len();
            (Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file))), len)
        }
    };
    let mut response = Response::new(body);
    let disposition = format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(&node.name, NON_ALPHANUMERIC));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let disposition = HeaderValue::from_str(&disposition).map_err(ApiError::internal)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

fn node_id(text: &str) -> Result<NodeId, ApiError> {
    NodeId::parse(text).ok_or_else(|| buildspaces_rooms::Error::NoSuchNode.into())
}
