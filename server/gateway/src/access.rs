//! Which pages may talk to this server. Without tokens anybody who reaches it may use it, so a page of another site, in the
//! browser of somebody who runs it on their own machine, must not reach it. Pages of allowed origins may also read the answers (CORS). There are
//! no cookies, so nothing here is about credentials.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::{Config, Gateway};

/// What pages of allowed origins may use, and what they may read besides the body.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("accept, authorization, content-type, if-match, if-none-match, range");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("accept-ranges, content-disposition, content-range, etag, link, location, retry-after");

/// Seconds for which a browser need not ask again. Chromium takes no more.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Middleware: refuses foreign origins and names this server does not have, and lets pages of allowed origins read what is answered.
pub(crate) async fn check(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let verdict = match verdict(&gateway.config, request.headers()) {
        Ok(verdict) => verdict,
        Err(message) => {
            tracing::warn!(message, "request refused");
            return ApiError::forbidden("foreign_origin", message).into_response();
        }
    };
    let is_question =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match (verdict, is_question) {
        (Verdict::Guest, true) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    // Also for those without an origin: a cache must not answer one page with what another was told.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let (Verdict::Guest, Some(origin)) = (verdict, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if is_question {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
    response
}

/// Whose page it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// The server's own, or no page.
    Own,
    /// One of an allowed origin.
    Guest,
}

fn verdict(config: &Config, headers: &HeaderMap) -> Result<Verdict, &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST);
    if let (Some(hosts), Some(host)) = (&config.allowed_hosts, host) {
        // A foreign name that was made to point here is how a web page gets around the check of origins.
        if !is_own_name(host) && !hosts.iter().any(|allowed| same_host(allowed, host)) {
            return Err("this server is not known under that name; add it to allowed_hosts in the configuration");
        }
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(Verdict::Own) };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if authority.is_some() && authority == host {
        Ok(Verdict::Own)
    } else if config.allowed_origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        Ok(Verdict::Guest)
    } else {
        Err("this page's origin is not allowed; add it to allowed_origins in the configuration")
    }
}

/// `localhost`, a name below it, or an IP address, with any port.
fn is_own_name(host: &str) -> bool {
    let Some(name) = host_name(host) else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

fn same_host(allowed: &str, host: &str) -> bool {
    allowed == host || host_name(host).is_some_and(|name| name == allowed)
}

fn host_name(host: &str) -> Option<String> {
    let uri: Uri = format!("http://{host}/").parse().ok()?;
    uri.host().map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(config: &Config, host: &str, origin: Option<&str>) -> bool {
        judged(config, host, origin).is_ok()
    }

    fn judged(config: &Config, host: &str, origin: Option<&str>) -> Result<Verdict, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("host"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("origin"));
        }
        verdict(config, &headers)
    }

    #[test]
    fn only_own_pages_and_listed_ones_reach_the_server() {
        let config = Config::default();
        assert!(allowed(&config, "127.0.0.1:8080", None));
        assert!(allowed(&config, "localhost:8080", Some("http://localhost:8080")));
        assert!(allowed(&config, "[::1]:8080", Some("http://[::1]:8080")));
        assert!(!allowed(&config, "localhost:8080", Some("http://evil.example")));
        assert!(!allowed(&config, "localhost:8080", Some("null")));
        assert!(!allowed(&config, "localhost:8080", Some("http://localhost:9999")));
        assert!(!allowed(&config, "evil.example:8080", Some("http://evil.example:8080")), "a rebound name");

        let config = Config {
            allowed_origins: vec!["https://site.example/".into()],
            allowed_hosts: Some(vec!["rooms.example".into()]),
            ..Config::default()
        };
        assert_eq!(judged(&config, "rooms.example", Some("https://site.example")), Ok(Verdict::Guest));
        assert_eq!(judged(&config, "rooms.example", Some("https://rooms.example")), Ok(Verdict::Own));
        assert!(allowed(&config, "rooms.example:443", None));
        assert!(!allowed(&config, "other.example", None));
        assert!(allowed(&Config { allowed_hosts: None, ..config }, "other.example", None));
    }
}
