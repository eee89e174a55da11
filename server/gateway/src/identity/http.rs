//! A small HTTPS client for the few questions identity asks others: one answer, bounded in time and size, no redirects.

use std::time::Duration;

use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// Idle connections to one host that are kept for the next question.
const IDLE_PER_HOST: usize = 16;

/// Where a question may be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(Uri);

/// Why an address is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    #[error("is not an address such as https://id.example/keys")]
    Invalid,
    /// What is fetched over it decides who may come in, so nobody on the way may change it.
    #[error(
        "must begin with https://, because its answer decides who may come in; http:// is taken for this machine, and \
             elsewhere with auth.allow_http = true"
    )]
    Plain,
    /// It would be sent along, and end in logs.
    #[error("must not contain a user name or password")]
    Credentials,
}

impl Url {
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Invalid)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError::Invalid)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(UrlError::Credentials);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if allow_http || is_this_machine(host) => {}
            Some("http") => return Err(UrlError::Plain),
            _ => return Err(UrlError::Invalid),
        }
        Ok(Self(uri))
    }
}

impl std::fmt::Display for Url {
    /// Without path and query, in which some keep a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.0.scheme_str().unwrap_or(""), self.0.host().unwrap_or(""))
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(crate::is_loopback)
}

/// Why there is no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("not reached: {0}")]
    Unreachable(String),
    #[error("the answer broke off or is larger than {0} bytes")]
    TooLarge(usize),
}

/// Asks. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client(Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    pub(super) fn new() -> Self {
        let provider = rustls::crypto::ring::default_provider();
        // Where the system has no certificates, https fails when it is used, with a sentence in the log.
        let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider.clone()) {
            Ok(builder) => builder,
            Err(error) => {
                tracing::warn!(%error, "this system has no root certificates, so https addresses cannot be trusted");
                let none = rustls::ClientConfig::builder_with_provider(provider.into())
                    .with_safe_default_protocol_versions()
                    .expect("ring knows the protocol versions of rustls")
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(none)
            }
        };
        let connector = builder.https_or_http().enable_http1().build();
        let client = Hyper::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self(client)
    }

    /// Sends one request to `url`; the answer has at most `max_bytes` and is there within `limit`.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        request: Request<Bytes>,
        limit: Duration,
        max_bytes: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = url.0.clone();
        let exchange = async {
            let sent = self.0.request(Request::from_parts(parts, Full::new(body))).await;
            let response = sent.map_err(|error| FetchError::Unreachable(causes(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), max_bytes).collect().await;
            Ok((status, body.map_err(|_| FetchError::TooLarge(max_bytes))?.to_bytes()))
        };
        timeout(limit, exchange).await.map_err(|_| FetchError::Slow(limit))?
    }
}

/// An error with what caused it: the outermost one only says that connecting failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_on_the_way_can_change_is_asked() {
        for (text, allow_http, expected) in [
            ("https://id.example/keys", false, Ok(())),
            ("http://127.0.0.1:9/hook", false, Ok(())),
            ("http://[::1]:9/hook", false, Ok(())),
            ("http://localhost/hook", false, Ok(())),
            ("http://id.example/keys", true, Ok(())),
            ("http://id.example/keys", false, Err(UrlError::Plain)),
            ("http://localhost.evil.example/", false, Err(UrlError::Plain)),
            ("https://me:secret@id.example/", false, Err(UrlError::Credentials)),
            ("/keys", false, Err(UrlError::Invalid)),
            ("ftp://id.example/", true, Err(UrlError::Invalid)),
            ("", false, Err(UrlError::Invalid)),
        ] {
            assert_eq!(Url::parse(text, allow_http).map(|_| ()), expected, "{text}");
        }
    }
}
