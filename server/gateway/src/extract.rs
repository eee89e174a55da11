//! What handlers take from a request. What is wrong with it is said in the shape of all our errors, and not in the framework's.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Gateway;
use crate::error::ApiError;

/// The variable segments of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Gateway> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, gateway).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(ApiError::new(rejection.status(), "bad_path", rejection.body_text())),
        }
    }
}

/// The parameters behind the `?`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Gateway> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, gateway).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::bad_request("bad_query", rejection.body_text())),
        }
    }
}

/// A body with all its bytes.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Gateway> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, ApiError> {
        let most = usize::try_from(gateway.config.limits.body_bytes).unwrap_or(usize::MAX);
        gateway.bodies.read(request.into_body(), most, " (limits.body_bytes)").await.map(Self)
    }
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Gateway> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let message = "send the body as JSON, with the header Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_body", message));
        }
        let Whole(bytes) = Whole::from_request(request, gateway).await?;
        match axum::Json::<T>::from_bytes(&bytes) {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = kind(headers);
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The type of what is sent, without its parameters.
fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A text of one type, of at most so many bytes.
pub(crate) async fn text_of_kind(
    request: Request,
    gateway: &Gateway,
    wanted: &str,
    most: usize,
) -> Result<String, ApiError> {
    if kind(request.headers()) != wanted {
        let message = format!("send the body with the header Content-Type: {wanted}");
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_body", message));
    }
    let bytes = gateway.bodies.read(request.into_body(), most, "").await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::bad_request("bad_body", "the body must be UTF-8"))
}

fn bad_body(rejection: &JsonRejection) -> ApiError {
    let status = match rejection.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    ApiError::new(status, "bad_body", rejection.body_text())
}

/// A body of at most so many bytes has its place at once.
const SMALL: usize = 64 << 10;

/// Larger bodies that arrive at the same time: anybody may send one before it is known who they are, and all of it is kept until it is there.
const LARGE_ONES: usize = 32;

/// How long one waits for its place.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much memory bodies take that are still arriving.
pub(crate) struct Bodies(Semaphore);

impl Default for Bodies {
    fn default() -> Self {
        Self(Semaphore::new(LARGE_ONES))
    }
}

impl Bodies {
    /// `setting` is what the operator may change if that is too little.
    async fn read(&self, mut body: Body, most: usize, setting: &str) -> Result<Bytes, ApiError> {
        let mut whole = BytesMut::new();
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let cut_off = |_| ApiError::bad_request("bad_body", "the body did not arrive whole; send it again");
            let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
            let length = whole.len() + data.len();
            if length > most {
                let message = format!("the body of this request may have at most {most} bytes{setting}");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
            }
            if length > SMALL && place.is_none() {
                let waited = timeout(PATIENCE, self.0.acquire()).await;
                place = Some(waited.map_err(|_| too_many())?.map_err(|_| too_many())?);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}

fn too_many() -> ApiError {
    let message = "too many large requests arrive at the same time; send it again in a moment";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).later()
}
