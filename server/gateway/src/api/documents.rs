//! Documents over HTTP: list, create, read, change, delete, copy. A document's name is one percent-encoded segment.
//!
//! Everything here goes through the document's own actor, as what comes over WebSocket does, so both see the same document.
//! An `ETag` names a state and the form it is in: epoch, number of the last update, a hash of the state vector, and behind a dot the form.
//! Where a change is to follow (`If-Match`) the form does not matter.

use std::num::NonZeroUsize;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use buildspaces_crdt::export::{self, Kind, Unreadable};
use buildspaces_crdt::history::clocks;
use buildspaces_crdt::names;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::{Capability, Principal};
use buildspaces_rooms::{DocumentHandle, Error, Position, Present};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::extract::{Json, Path, Query, Whole};
use crate::identity::{Caller, Sight};
use crate::schema::ErrorBody;
use crate::schema::history::{CopyTo, Created, DocumentInfo, Documents};
use crate::{Gateway, exports};

pub(crate) type DocumentPath = Path<String>;

/// Most documents of one answer.
const MAX_LIMIT: usize = 1000;

/// Names that are looked at for one answer, for somebody who may see only some of them.
const MAX_LOOKED_AT: usize = 100_000;

const UPDATE: &str = "application/octet-stream";

/// The document of a path, and who asks, if they may.
pub(crate) async fn permitted(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    capability: Capability,
) -> Result<(DocumentName, Principal), ApiError> {
    let document =
        DocumentName::parse(name).map_err(|error| ApiError::not_found("no_such_document", error.to_string()))?;
    let grant = caller.admit(gateway, &document).await?;
    grant.authority.check(capability)?;
    if let names::Kind::File { room, .. } | names::Kind::Tree { room } | names::Kind::Runs { room } = document.kind() {
        let room = RoomId::parse(room);
        gateway.rooms.room(&room.ok_or_else(ApiError::no_such_room)?).await?;
    }
    Ok((document, grant.authority.principal))
}

pub(crate) fn written_by_the_server() -> ApiError {
    ApiError::forbidden("read_only", "this document is written by the server; use the room's own calls to change it")
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only names that begin with this. Documents of a room are listed only with a prefix `<room>/`: a room's id is its key.
    #[serde(default)]
    prefix: String,
    /// Only names after this one.
    #[serde(default)]
    after: String,
    /// At most so many; 100 if left out, 1000 at most.
    #[param(value_type = Option<usize>, minimum = 1)]
    limit: Option<NonZeroUsize>,
}

/// Lists documents by name: those that the caller's token is for.
#[utoipa::path(get, path = "/api/v1/documents", tag = "documents", params(ListParams),
    responses((status = 200, body = Documents), (status = 400, body = ErrorBody, description = "`longer_prefix`"),
        (status = 401, body = ErrorBody)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Result<axum::Json<Documents>, ApiError> {
    let sight = caller.sight(&gateway).await?;
    let room = params.prefix.split_once('/').and_then(|(room, _)| RoomId::parse(room));
    let in_room = match room {
        Some(room) => caller.open(&gateway, room.as_str(), Capability::Read).await.is_ok(),
        None => false,
    };
    let limit = params.limit.map_or(100, NonZeroUsize::get).min(MAX_LIMIT);
    let mut documents = visible(&gateway, &sight, params, !in_room, limit).await?;
    documents.truncate(limit);
    let next = (documents.len() == limit).then(|| documents.last().map(|last| last.name.clone())).flatten();
    Ok(axum::Json(Documents { documents, next }))
}

/// At least `limit` documents that the caller may see, if there are so many.
async fn visible(
    gateway: &Gateway,
    sight: &Sight,
    params: ListParams,
    plain: bool,
    limit: usize,
) -> Result<Vec<DocumentInfo>, ApiError> {
    let ListParams { mut prefix, mut after, .. } = params;
    let mut documents = Vec::new();
    if plain && !sight.has_plain() {
        return Ok(documents);
    }
    // Whoever may see one room must not make us look at all others.
    match sight.room() {
        Some(room) if room.starts_with(&prefix) => room.clone_into(&mut prefix),
        Some(room) if !prefix.starts_with(room) => return Ok(documents),
        _ => {}
    }
    let at_once = if sight.is_whole() { limit } else { MAX_LIMIT };
    for _ in 0..MAX_LOOKED_AT / MAX_LIMIT {
        let found = gateway.rooms.store().list(&prefix, &after, plain, at_once).await?;
        let is_last = found.len() < at_once;
        if let Some(last) = found.last() {
            last.document.as_str().clone_into(&mut after);
        }
        let seen = found.into_iter().filter(|about| sight.covers(gateway, &about.document));
        documents.extend(seen.map(DocumentInfo::from));
        if is_last || documents.len() >= limit {
            return Ok(documents);
        }
    }
    let message = "your token is for few of very many documents; ask with a longer prefix";
    Err(ApiError::bad_request("longer_prefix", message))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutParams {
    /// `true`: use the name of a deleted document again, for one that has nothing to do with it.
    #[serde(default)]
    reuse: bool,
    /// Name of the shared text that a `text/plain` body becomes; `text` if left out.
    root: Option<String>,
}

/// Creates a document with content, unless it has some: then nothing happens, however often this is called. The body is a
/// text (`text/plain`) or a Yjs update (`application/octet-stream`).
#[utoipa::path(put, path = "/api/v1/documents/{name}", tag = "documents", params(("name" = String, Path), PutParams),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 201, body = Created), (status = 200, body = Created, description = "it had content"),
        (status = 400, body = ErrorBody, description = "`empty`, `of_a_room`, `invalid_update`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 410, body = ErrorBody, description = "`deleted`"),
        (status = 413, body = ErrorBody, description = "`body_too_large`, `document_too_large`"), (status = 412, body = ErrorBody, description = "`changed`: it has content and `If-None-Match: *` was sent, or is in no state that `If-Match` names"),
        (status = 415, body = ErrorBody)))]
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Query(params): Query<PutParams>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, axum::Json<Created>), ApiError> {
    let (document, by) = permitted(&gateway, &caller, &name, Capability::EditDocuments).await?;
    let root = params.root.as_deref().unwrap_or(buildspaces_crdt::text::ROOT);
    let update = match content_type(&headers) {
        "text/plain" => {
            let text = std::str::from_utf8(&body)
                .map_err(|_| ApiError::bad_request("bad_body", "the text is not UTF-8; send it as UTF-8"))?;
            Bytes::from(Replica::new().set_text(root, text).unwrap_or_default())
        }
        UPDATE => body,
        _ => return Err(unsupported()),
    };
    if update.is_empty() {
        let message = "a document begins with content; an empty one is there as soon as somebody opens it";
        return Err(ApiError::bad_request("empty", message));
    }
    if headers.contains_key(header::IF_MATCH) {
        // It changes nothing if there is such a document, and creates none in place of one that is gone.
        found(&gateway, &document, &headers).await.map_err(|error| match error {
            Error::NoSuchDocument(_) | Error::Deleted => Error::Changed,
            error => error,
        })?;
    }
    let create = || async { gateway.rooms.create_document(&by, &document, update.clone(), params.reuse).await };
    let created = gateway.rooms.again(create).await?;
    if !created && headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == "*") {
        return Err(Error::Changed.into());
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(Created { name: document.to_string(), created })))
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum As {
    Update,
    StateVector,
    Text,
    Markdown,
    Json,
}

impl As {
    fn suffix(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::StateVector => "vector",
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Json => "json",
        }
    }
}

/// As what a shared type is read.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SharedType {
    Text,
    Map,
    Array,
    Xml,
}

impl From<SharedType> for Kind {
    fn from(kind: SharedType) -> Self {
        match kind {
            SharedType::Text => Self::Text,
            SharedType::Map => Self::Map,
            SharedType::Array => Self::Array,
            SharedType::Xml => Self::Xml,
        }
    }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetParams {
    /// In what form; without it `Accept` decides, and without that it is `update`.
    #[param(inline)]
    r#as: Option<As>,
    /// Name of the shared type. If left out: `text` for a text, the first for Markdown, all of them for JSON.
    root: Option<String>,
    /// As what JSON reads it; by what is in it if left out.
    #[param(inline)]
    r#type: Option<SharedType>,
}

/// The document as it is now.
#[utoipa::path(get, path = "/api/v1/documents/{name}", tag = "documents", params(("name" = String, Path), GetParams),
    responses((status = 200, content_type = "application/octet-stream", description = "with an `ETag`"),
        (status = 304, description = "`If-None-Match` names this state"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 406, body = ErrorBody), (status = 410, body = ErrorBody),
        (status = 422, body = ErrorBody, description = "`unreadable`"), (status = 503, body = ErrorBody, description = "`export_too_slow`, `busy`")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Query(params): Query<GetParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let wanted = match params.r#as {
        Some(wanted) => wanted,
        None => accepted(&headers)?,
    };
    let mut found = found(&gateway, &document, &HeaderMap::new()).await?;
    let tag = found.tag(wanted);
    if is_named(&headers, header::IF_NONE_MATCH, |named| named == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(&tag)?), vary()]).into_response());
    }
    if wanted == As::StateVector {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(UPDATE)), (header::ETAG, etag(&tag)?), vary()];
        return Ok((headers, Body::from(found.position.state_vector)).into_response());
    }
    let present = whole(&gateway, &document, &mut found).await?;
    let etag = etag(&found.tag(wanted))?;
    let root = params.root;
    let (content_type, body) = match wanted {
        As::Update | As::StateVector => (UPDATE, present.state),
        As::Text => {
            let root = root.unwrap_or_else(|| buildspaces_crdt::text::ROOT.to_owned());
            let of = root.clone();
            let (text, place) = gateway.exports.run(present, move |replica| export::text(replica, &of)).await?;
            let text = text.map_err(|_| {
                let message = format!("{root:?} is no text; ask for ?as=json, or for ?as=markdown if it is rich text");
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", message)
            })?;
            ("text/plain; charset=utf-8", place.hold(text))
        }
        As::Json => {
            let kind = params.r#type.map(Kind::from);
            let json = move |replica: &Replica| json(replica, root.as_deref(), kind);
            let (value, place) = gateway.exports.run(present, json).await?;
            let value = value.map_err(|_| exports::unreadable())?;
            ("application/json", place.hold(value.to_string()))
        }
        As::Markdown => {
            let markdown = move |replica: &Replica| buildspaces_crdt::markdown::markdown(replica, root.as_deref());
            let (text, place) = gateway.exports.run(present, markdown).await?;
            ("text/markdown; charset=utf-8", place.hold(text.unwrap_or_default()))
        }
    };
    let content_type = HeaderValue::from_static(content_type);
    Ok(([(header::CONTENT_TYPE, content_type), (header::ETAG, etag), vary()], Body::from(body)).into_response())
}

/// Applies a Yjs update. It is durable when this returns. With `If-Match` only if nobody changed the document since.
#[utoipa::path(post, path = "/api/v1/documents/{name}/updates", tag = "documents", params(("name" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = 400, body = ErrorBody, description = "`invalid_update`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "`read_only`"), (status = 404, body = ErrorBody),
        (status = 410, body = ErrorBody), (status = 412, body = ErrorBody, description = "`changed`"),
        (status = 413, body = ErrorBody, description = "`body_too_large`, `document_too_large`"), (status = 415, body = ErrorBody)))]
pub(crate) async fn update(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<StatusCode, ApiError> {
    let (document, by) = permitted(&gateway, &caller, &name, Capability::EditDocuments).await?;
    if matches!(document.kind(), names::Kind::Tree { .. } | names::Kind::Runs { .. }) {
        return Err(written_by_the_server());
    }
    if content_type(&headers) != UPDATE {
        return Err(unsupported());
    }
    if headers.contains_key(header::IF_MATCH) {
        // Once only: if it took effect and that was not heard, a second attempt would find it changed, by itself.
        let found = found(&gateway, &document, &headers).await?;
        found.live.propose(&by, body, Some(found.position.seq)).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    // As over WebSocket, the first update begins a document.
    let update = || async { gateway.rooms.document(&document).await?.propose(&by, body.clone(), None).await };
    gateway.rooms.again(update).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a document; with `If-Match` only if nobody changed it since. Whoever has it open loses it (close code 4404), and its name answers 410 from then on.
#[utoipa::path(delete, path = "/api/v1/documents/{name}", tag = "documents", params(("name" = String, Path)),
    responses((status = 204), (status = 400, body = ErrorBody, description = "`of_a_room`"), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 410, body = ErrorBody),
        (status = 412, body = ErrorBody, description = "`changed`")))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (document, by) = permitted(&gateway, &caller, &name, Capability::Manage).await?;
    if headers.contains_key(header::IF_MATCH) {
        // It stays open meanwhile, so that nothing is loaded twice.
        let found = found(&gateway, &document, &headers).await?;
        gateway.rooms.delete_unchanged_document(&by, &document, found.position.seq).await?;
    } else {
        gateway.rooms.delete_document(&by, &document).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a new document of what this one is now, without its history.
#[utoipa::path(post, path = "/api/v1/documents/{name}/copy", tag = "documents", params(("name" = String, Path)),
    request_body = CopyTo, responses((status = 201, body = Created),
        (status = 400, body = ErrorBody, description = "`of_a_room`, `invalid_update`"), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 410, body = ErrorBody), (status = 413, body = ErrorBody), (status = 409, body = ErrorBody, description = "`name_taken`")))]
pub(crate) async fn copy(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): DocumentPath,
    Json(CopyTo { to }): Json<CopyTo>,
) -> Result<(StatusCode, axum::Json<Created>), ApiError> {
    let (document, _) = permitted(&gateway, &caller, &name, Capability::Read).await?;
    let (target, by) = permitted(&gateway, &caller, &to, Capability::EditDocuments).await?;
    let mut found = found(&gateway, &document, &HeaderMap::new()).await?;
    let present = whole(&gateway, &document, &mut found).await?;
    // Bytes of its own: the new document may keep them for long, and what is read is counted as long as anybody holds it.
    let state = Bytes::copy_from_slice(&present.state);
    drop(present);
    let create = || async { gateway.rooms.create_document(&by, &target, state.clone(), false).await };
    if !gateway.rooms.again(create).await? {
        let message = format!("there is already a document {target}; choose another name");
        return Err(ApiError::new(StatusCode::CONFLICT, "name_taken", message));
    }
    Ok((StatusCode::CREATED, axum::Json(Created { name: target.to_string(), created: true })))
}

/// A document that has something in it, and its epoch. A room's file may be empty.
async fn open(gateway: &Gateway, document: &DocumentName) -> Result<(u64, DocumentHandle), Error> {
    if document.kind() == names::Kind::Plain {
        let (about, live) = gateway.rooms.written_document(document).await?;
        return Ok((about.epoch, live));
    }
    Ok((1, gateway.rooms.document(document).await?))
}

/// A document and where it stands.
struct Found {
    epoch: u64,
    /// As long as it is held nothing is loaded twice.
    live: DocumentHandle,
    position: Position,
}

impl Found {
    /// What names its state.
    fn state(&self) -> String {
        let mut hash = Sha256::new();
        for (client, clock) in clocks(&self.position.state_vector).unwrap_or_default() {
            hash.update(client.to_le_bytes());
            hash.update(clock.to_le_bytes());
        }
        let hash = hash.finalize();
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{hash}", self.epoch, self.position.seq)
    }

    /// What names its state in a form.
    fn tag(&self, form: As) -> String {
        format!("{}.{}", self.state(), form.suffix())
    }
}

/// The document and where it stands; [`Error::Changed`] if that is nothing that `If-Match` names.
async fn found(gateway: &Gateway, document: &DocumentName, headers: &HeaderMap) -> Result<Found, Error> {
    let look = || async {
        let (epoch, live) = open(gateway, document).await?;
        let position = live.position().await?;
        Ok(Found { epoch, live, position })
    };
    let found = gateway.rooms.again(look).await?;
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(found);
    }
    let state = found.state();
    let is_wanted = is_named(headers, header::IF_MATCH, |named| named.split('.').next() == Some(&state));
    if is_wanted { Ok(found) } else { Err(Error::Changed) }
}

/// All of it, and where it stands then.
async fn whole(gateway: &Gateway, document: &DocumentName, found: &mut Found) -> Result<Present, Error> {
    let read = || async {
        let (epoch, live) = open(gateway, document).await?;
        let present = live.present().await?;
        Ok((epoch, present))
    };
    let (epoch, present) = gateway.rooms.again(read).await?;
    found.epoch = epoch;
    found.position = Position { seq: present.seq, state_vector: present.state_vector.clone() };
    Ok(present)
}

fn etag(tag: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(&format!("\"{tag}\"")).map_err(ApiError::internal)
}

/// Does one of these headers name it, or anything?
fn is_named(headers: &HeaderMap, header: HeaderName, is_it: impl Fn(&str) -> bool) -> bool {
    let tags =
        headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    // What is named is a state, whose bytes may differ: a weak tag comes back where something on the way compressed them.
    tags.map(str::trim).any(|tag| tag == "*" || is_it(tag.trim_start_matches("W/").trim_matches('"')))
}

fn vary() -> (HeaderName, HeaderValue) {
    (header::VARY, HeaderValue::from_static("accept"))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(UPDATE);
    value.split(';').next().unwrap_or_default().trim()
}

/// The form that `Accept` asks for: the first that we have.
fn accepted(headers: &HeaderMap) -> Result<As, ApiError> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return Ok(As::Update) };
    let form = |kind: &str| match kind {
        UPDATE | "application/*" | "*/*" => Some(As::Update),
        "text/plain" | "text/*" => Some(As::Text),
        "text/markdown" => Some(As::Markdown),
        "application/json" => Some(As::Json),
        _ => None,
    };
    let mut kinds = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    kinds.find_map(form).ok_or_else(|| {
        let message =
            "this can be had as application/octet-stream, text/plain, text/markdown or application/json, or by ?as=";
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
    })
}

/// One shared type as JSON, or all of them by name.
fn json(replica: &Replica, root: Option<&str>, kind: Option<Kind>) -> Result<serde_json::Value, Unreadable> {
    let one = |name: &str| match kind {
        Some(kind) => export::json(replica, name, kind),
        None => export::guess(replica, name).and_then(|kind| export::json(replica, name, kind)),
    };
    match root {
        Some(root) => one(root),
        None => export::roots(replica).into_iter().map(|name| Ok((name.clone(), one(&name)?))).collect(),
    }
}

fn unsupported() -> ApiError {
    let message = "send a Yjs update as application/octet-stream, or a text as text/plain where one is taken";
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_body", message)
}
