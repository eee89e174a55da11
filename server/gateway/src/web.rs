//! The web app's files, built into the binary.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::Gateway;

#[derive(RustEmbed)]
#[folder = "../../web/app/dist"]
struct Files;

/// Monaco sets style attributes and starts its worker from a blob in some browsers, and recordings are played from one; nothing else is loosened.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; \
     frame-src";

/// Shown when the binary was built without the web app.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>BuildSpaces</title><p>This server was built without its \
     web app. Run <code>make build</code> and start it again. The API works: see <a href=/api/openapi.json>/api/openapi.json</a>.";

/// A file of the web app; its page for `/` and for a room's link.
pub(crate) async fn file(State(gateway): State<Gateway>, method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let is_page = path.is_empty() || path.starts_with("r/");
    if !is_page && let Some(file) = Files::get(path) {
        // Vite puts a hash of the content into the names of everything below assets/.
        let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        return answer(&gateway, path, file, cache, StatusCode::OK);
    }
    let status = if is_page { StatusCode::OK } else { StatusCode::NOT_FOUND };
    match Files::get("index.html") {
        // An unknown asset is no page: a browser would run it as a script.
        _ if path.starts_with("assets/") => StatusCode::NOT_FOUND.into_response(),
        Some(page) => answer(&gateway, "index.html", page, "no-cache", status),
        None => (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html")], NOT_BUILT).into_response(),
    }
}

fn answer(gateway: &Gateway, path: &str, file: EmbeddedFile, cache: &'static str, status: StatusCode) -> Response {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let mime = HeaderValue::from_str(mime.as_ref()).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut response = Response::new(Body::from(file.data));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, mime);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    // Frames show previews, and nothing else.
    let policy = format!("{POLICY} {}", gateway.previews.frame_source);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("hosts make headers"));
    response
}
