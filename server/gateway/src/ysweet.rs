//! y-sweet's HTTP interface, so that its clients and SDKs move here by changing their connection string.
//!
//! Source: `crates/y-sweet/src/server.rs`, `crates/y-sweet-core/src/api_types.rs` and `js-pkg/sdk` of y-sweet 0.9. An app's server asks
//! for a document ([`create`]) and for what its users connect with ([`authorize`]); their browsers then open the WebSocket that
//! [`crate::yjs`] serves, or read and write over HTTP ([`as_update`], [`update`]). Only plain documents have names y-sweet knows; room
//! documents are reached at `/yjs` and `/collab`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::random_id;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Capability, Role};
use buildspaces_rooms as rooms;
use buildspaces_rooms::ports::About;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::ApiError;
use crate::extract::{self, Path, Whole};
use crate::identity::{Caller, Grant, MintError, NewToken};
use crate::{Gateway, yjs};

/// Letters of a name the server chooses: 105 random bits.
const NAME_CHARS: usize = 21;

/// How long a client's token holds if nobody says.
const TOKEN_SECONDS: u64 = 60 * 60;

/// The v1 update a document begins with: one element that is deleted already. A document is known once its log has something.
/// Everybody writes the same one, so creating a document twice changes nothing.
const BEGINNING: &[u8] = &[1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1];

#[derive(Deserialize)]
struct NewDocument {
    #[serde(rename = "docId")]
    doc_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Authorization {
    #[default]
    Full,
    ReadOnly,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthRequest {
    authorization: Authorization,
    user_id: Option<String>,
    valid_for_seconds: Option<u64>,
}

/// What a client connects with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientToken {
    /// The client appends `/` and the document's name.
    url: String,
    /// In front of `/as-update` and `/update`.
    base_url: String,
    doc_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    authorization: Authorization,
}

/// Its addresses, those of older versions too.
pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/ready", get(ready))
        .route("/check_store", get(check_store).post(check_store))
        .route("/doc/new", post(create))
        .route("/doc/{document}/auth", post(authorize))
        .route("/d/{document}/as-update", get(as_update))
        .route("/d/{document}/update", post(update))
        .route("/d/{document}/ws/{same}", get(yjs::connect_ysweet))
        .route("/doc/{document}/as-update", get(as_update))
        .route("/doc/{document}/update", post(update))
        .route("/doc/ws/{document}", get(yjs::connect_old_ysweet))
}

/// `GET /ready`.
async fn ready(State(gateway): State<Gateway>) -> Response {
    let ok = (gateway.ready)().await && !gateway.tasks.is_cancelled();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ok": ok }))).into_response()
}

/// `POST /check_store`, and `GET` as before 0.3: can documents be stored?
async fn check_store(State(gateway): State<Gateway>) -> Json<serde_json::Value> {
    if (gateway.ready)().await {
        Json(json!({ "ok": true }))
    } else {
        Json(json!({ "ok": false, "error": "the database does not answer" }))
    }
}

/// `POST /doc/new`. A document that exists is left as it is.
async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    extract::Json(new): extract::Json<NewDocument>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let doc_id = new.doc_id.unwrap_or_else(|| random_id(NAME_CHARS));
    let name = document_name(&doc_id)?;
    let authority = caller.admit(&gateway, &name).await?.authority;
    authority.check(Capability::EditDocuments)?;
    if !exists(&gateway, &name).await? {
        let document = gateway.rooms.document(&name).await?;
        document.apply_own(&authority.principal, BEGINNING.to_vec()).await?;
    }
    Ok(Json(json!({ "docId": doc_id })))
}

/// `POST /doc/<document>/auth`. The body may be missing.
async fn authorize(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(doc_id): Path<String>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<ClientToken>, ApiError> {
    let name = document_name(&doc_id)?;
    let request: AuthRequest = if body.is_empty() {
        AuthRequest::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::bad_request("bad_request", format!("the body is not what is wanted: {error}")))?
    };
    let grant = caller.admit(&gateway, &name).await?;
    if request.authorization == Authorization::Full {
        grant.authority.check(Capability::EditDocuments)?;
    }
    if !exists(&gateway, &name).await? {
        let message = format!("there is no document {doc_id:?}; create it with POST /doc/new");
        return Err(ApiError::not_found("no_such_document", message));
    }
    let base_url = format!("{}/d/{doc_id}", own_address(&gateway, &headers)?);
    // http becomes ws, https becomes wss.
    let url = format!("ws{}/ws", base_url.strip_prefix("http").unwrap_or_default());
    let token = if gateway.config.auth.is_open() {
        None
    } else {
        Some(token(&gateway, &grant, caller.is_admin(&gateway), &name, &request)?)
    };
    Ok(Json(ClientToken { url, base_url, doc_id, token, authorization: request.authorization }))
}

/// A token for one document, from whoever may hand on what they have.
fn token(
    gateway: &Gateway,
    grant: &Grant,
    is_admin: bool,
    name: &DocumentName,
    request: &AuthRequest,
) -> Result<String, ApiError> {
    grant.authority.check(Capability::Share)?;
    if request.user_id.is_some() && !is_admin {
        // Whoever could choose would write under others' names.
        let message =
            "only the administrator's token may say who somebody is; leave userId out, or ask with auth.admin_token";
        return Err(ApiError::forbidden("denied", message));
    }
    let mut lifetime = Duration::from_secs(request.valid_for_seconds.unwrap_or(TOKEN_SECONDS));
    if let Some(own_end) = grant.expires {
        // Nobody hands out more time than they have.
        lifetime = lifetime.min(Duration::from_millis(u64::try_from(own_end - unix_millis()).unwrap_or(0)));
    }
    let new = NewToken {
        subject: request.user_id.clone(),
        // What history calls them; a server that knows better says so in a token of its own.
        name: request.user_id.clone().unwrap_or_else(|| "Guest".to_owned()),
        role: match request.authorization {
            Authorization::Full => Role::Editor,
            Authorization::ReadOnly => Role::Viewer,
        },
        room: None,
        documents: vec![name.as_str().to_owned()],
        lifetime: Some(lifetime),
        tenancy: Tenancy::default(),
    };
    let minted = gateway.identity.mint(&new).map_err(|error| match error {
        MintError::NoKey => ApiError::bad_request("no_signing_key", error.to_string()),
        MintError::Refused(_) => ApiError::bad_request("bad_request", error.to_string()),
    })?;
    Ok(minted.token)
}

/// `GET /d/<document>/as-update`: the whole document as one update.
async fn as_update(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(doc_id): Path<String>,
) -> Result<Response, ApiError> {
    let name = document_name(&doc_id)?;
    caller.admit(&gateway, &name).await?;
    let read = || async { gateway.rooms.document(&name).await?.present().await };
    let present = gateway.rooms.again(read).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], present.state).into_response())
}

/// `POST /d/<document>/update`: applies an update. The answer follows its durable append.
async fn update(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(doc_id): Path<String>,
    Whole(update): Whole,
) -> Result<StatusCode, ApiError> {
    let name = document_name(&doc_id)?;
    let authority = caller.admit(&gateway, &name).await?.authority;
    authority.check(Capability::EditDocuments)?;
    let by = &authority.principal;
    let apply = || async { gateway.rooms.document(&name).await?.propose(by, update.clone(), None).await };
    gateway.rooms.again(apply).await?;
    Ok(StatusCode::OK)
}

/// The names y-sweet allows: letters, digits, `-` and `_`.
fn document_name(doc_id: &str) -> Result<DocumentName, ApiError> {
    let is_valid = !doc_id.is_empty() && doc_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let wrong = || ApiError::bad_request("bad_name", "a document's name must have letters, digits, - and _ only");
    if is_valid { DocumentName::parse(doc_id).map_err(|_| wrong()) } else { Err(wrong()) }
}

/// Was anything written to the document? If it was deleted its name stays taken, which is an error.
async fn exists(gateway: &Gateway, name: &DocumentName) -> Result<bool, ApiError> {
    match gateway.rooms.store().about(name).await? {
        Some(About { deleted: Some(_), .. }) => Err(rooms::Error::Deleted.into()),
        about => Ok(about.is_some_and(|about| about.seq > about.begins)),
    }
}

/// Where clients reach this server: as configured, or else as this request did.
fn own_address(gateway: &Gateway, headers: &HeaderMap) -> Result<String, ApiError> {
    if let Some(address) = &gateway.config.public_url {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host =
        host.ok_or_else(|| ApiError::bad_request("no_host", "say in the Host header how you reach this server"))?;
    Ok(format!("http://{host}"))
}
