//! Which pages may talk to this server. Without tokens anybody who reaches it may use it, so a page of another site, in the
//! browser of somebody who runs it on their own machine, must not reach it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::{Config, Gateway};

/// Middleware: refuses foreign origins and names this server does not have.
pub(crate) async fn check(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    match verdict(&gateway.config, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(message) => {
            tracing::warn!(message, "request refused");
            ApiError::forbidden("foreign_origin", message).into_response()
        }
    }
}

fn verdict(config: &Config, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST);
    if let (Some(hosts), Some(host)) = (&config.allowed_hosts, host) {
        // A foreign name that was made to point here is how a web page gets around the check of origins.
        if !is_own_name(host) && !hosts.iter().any(|allowed| same_host(allowed, host)) {
            return Err("this server is not known under that name; add it to allowed_hosts in the configuration");
        }
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if config.allowed_origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin) => Ok(()),
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority.is_some() && authority == host {
                Ok(())
            } else {
                Err("this page's origin is not allowed; add it to allowed_origins in the configuration")
            }
        }
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
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("host"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("origin"));
        }
        verdict(config, &headers).is_ok()
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
        assert!(allowed(&config, "rooms.example", Some("https://site.example")));
        assert!(allowed(&config, "rooms.example:443", None));
        assert!(!allowed(&config, "other.example", None));
        assert!(allowed(&Config { allowed_hosts: None, ..config }, "other.example", None));
    }
}
