//! The past of documents: versions, differences, blame, and going back. A document's name is one percent-encoded segment.

use std::num::NonZeroUsize;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use buildspaces_crdt::names::Kind;
use buildspaces_policy::Capability;

use super::documents::{DocumentPath, permitted};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path, Query};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::history::{
    BlameRange, Blamed, Client, Clients, Difference, Hunk, NamedVersion, NewVersion, RestoreTo, Versions, authors,
};

/// Most versions of one answer.
const MAX_LIMIT: usize = 1000;

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Only versions below this number.
    before: Option<u64>,
    /// At most so many; 100 if left out, 1000 at most.
    #[param(value_type = Option<usize>, minimum = 1)]
    limit: Option<NonZeroUsize>,
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RootParams {
    /// Name of the shared text; `text` if left out.
    root: Option<String>,
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffParams {
    from: u64,
    to: u64,
    /// Name of the shared text; `text` if left out.
    root: Option<String>,
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BlameParams {
    /// The version; the newest if left out.
    seq: Option<u64>,
    /// Name of the shared text; `text` if left out.
    root: Option<String>,
}

fn root(root: Option<&String>) -> &str {
    root.map_or(buildspaces_crdt::text::ROOT, String::as_str)
}

/// The document's versions: those that somebody named, and the sessions of edits between them, newest first.
#[utoipa::path(get, path = "/api/v1/documents/{name}/versions", tag = "history", params(("name" = String, Path), PageParams),
    responses((status = 200, body = Versions), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 410, body = ErrorBody, description = "`deleted`")))]
pub(crate) async fn versions(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Query(page): Query<PageParams>,
) -> Result<axum::Json<Versions>, ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let (before, limit) = (page.before.unwrap_or(u64::MAX), page.limit.map_or(100, NonZeroUsize::get).min(MAX_LIMIT));
    let past = gateway.rooms.history().versions(&document, before, limit).await?;
    Ok(axum::Json(Versions::page(past, before, limit)))
}

/// Names the present version. Its text is kept whatever becomes of the log.
#[utoipa::path(post, path = "/api/v1/documents/{name}/versions", tag = "history", params(("name" = String, Path)),
    request_body = NewVersion, responses((status = 201, body = NamedVersion), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn checkpoint(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Json(new): Json<NewVersion>,
) -> Result<(StatusCode, axum::Json<NamedVersion>), ApiError> {
    let (document, by) = permitted(&gateway, &caller, &name, Capability::EditDocuments).await?;
    let version = gateway.rooms.history().checkpoint(&document, &by, &new.name).await?;
    let version = NamedVersion { seq: version.seq, name: version.name, at: version.at };
    Ok((StatusCode::CREATED, axum::Json(version)))
}

/// The document as it was after update `seq`, as a Yjs update.
#[utoipa::path(get, path = "/api/v1/documents/{name}/versions/{seq}", tag = "history",
    params(("name" = String, Path), ("seq" = u64, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_version`"), (status = 503, body = ErrorBody, description = "`busy`")))]
pub(crate) async fn version(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((name, seq)): Path<(String, u64)>,
) -> Result<([(HeaderName, &'static str); 1], axum::body::Bytes), ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let state = gateway.rooms.history().state(&document, seq).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], state))
}

/// The text as it was after update `seq`.
#[utoipa::path(get, path = "/api/v1/documents/{name}/versions/{seq}/text", tag = "history",
    params(("name" = String, Path), ("seq" = u64, Path), RootParams),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_version`"), (status = 503, body = ErrorBody, description = "`busy`")))]
pub(crate) async fn version_text(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path((name, seq)): Path<(String, u64)>,
    Query(params): Query<RootParams>,
) -> Result<([(HeaderName, &'static str); 1], axum::body::Bytes), ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let text = gateway.rooms.history().text(&document, seq, root(params.root.as_ref())).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], gateway.exports.hold(text).await?))
}

/// In what the text of version `to` differs from that of version `from`, and who did it.
#[utoipa::path(get, path = "/api/v1/documents/{name}/diff", tag = "history", params(("name" = String, Path), DiffParams),
    responses((status = 200, body = Difference), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn diff(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Query(params): Query<DiffParams>,
) -> Result<axum::Json<Difference>, ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let DiffParams { from, to, root: named } = params;
    let (hunks, people) = gateway.rooms.history().diff(&document, from, to, root(named.as_ref())).await?;
    let hunks = hunks.into_iter().map(Hunk::from).collect();
    Ok(axum::Json(Difference { from, to, hunks, authors: authors(people) }))
}

/// Who wrote each part of the text.
#[utoipa::path(get, path = "/api/v1/documents/{name}/blame", tag = "history", params(("name" = String, Path), BlameParams),
    responses((status = 200, body = Blamed), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn blame(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Query(params): Query<BlameParams>,
) -> Result<axum::Json<Blamed>, ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let (seq, blame, people) = gateway.rooms.history().blame(&document, params.seq, root(params.root.as_ref())).await?;
    let ranges = blame.into_iter().map(BlameRange::from).collect();
    Ok(axum::Json(Blamed { seq, ranges, authors: authors(people) }))
}

/// Whose each Yjs client is: the author who brought something under its id first.
#[utoipa::path(get, path = "/api/v1/documents/{name}/clients", tag = "history", params(("name" = String, Path)),
    responses((status = 200, body = Clients), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn clients(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
) -> Result<axum::Json<Clients>, ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let (clients, people) = gateway.rooms.history().clients(&document).await?;
    let clients = clients.into_iter().map(Client::from).collect();
    Ok(axum::Json(Clients { clients, authors: authors(people) }))
}

/// Makes the document what it was in an older version, by new edits of the caller. Nothing of the history is taken away.
#[utoipa::path(post, path = "/api/v1/documents/{name}/restore", tag = "history", params(("name" = String, Path)),
    request_body = RestoreTo, responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_version`"),
        (status = 409, body = ErrorBody, description = "`not_restorable`")))]
pub(crate) async fn restore(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Json(wanted): Json<RestoreTo>,
) -> Result<StatusCode, ApiError> {
    let (document, by) = permitted(&gateway, &caller, &name, Capability::EditDocuments).await?;
    if matches!(document.kind(), Kind::Tree { .. } | Kind::Runs { .. }) {
        return Err(super::documents::written_by_the_server());
    }
    let restore = || async {
        let live = gateway.rooms.document(&document).await?;
        gateway.rooms.history().restore(&document, &live, &by, wanted.seq).await
    };
    gateway.rooms.again(restore).await?;
    Ok(StatusCode::NO_CONTENT)
}
