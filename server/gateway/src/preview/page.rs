//! The one page that a preview's origin shows by itself: why there is nothing of the program to see.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::headers::frame_only_by;
use super::visits::Visit;

/// It needs nothing but its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// `title` and `text` are ours, never a program's.
pub(super) fn page(status: StatusCode, title: &str, text: &str, visit: Option<&Visit>) -> Response {
    let again = if visit.is_some() { "<p><a href=\"\">Load again</a></p>" } else { "" };
    let body = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{title}</title><style>\
         :root{{color-scheme:light dark;font:14px/1.5 system-ui,sans-serif}}body{{margin:15vh auto;max-width:34rem;padding:0 1.5rem;\
         color:light-dark(#3b4252,#b9c0cc);background:light-dark(#fff,#16181d)}}h1{{font-size:1.1rem;color:light-dark(#16181d,#f2f4f8)}}\
         a{{color:light-dark(#2f5bd8,#8fb0ff)}}</style><h1>{title}</h1><p>{text}</p>{again}</html>"
    );
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Without a visit nobody knows whose page shows it in a frame, and there is nothing in it to click.
    if let Some(visit) = visit {
        frame_only_by(headers, visit);
    }
    response
}
