//! A small HTTPS client for the few questions this server asks others: one answer, bounded in time and size, no redirects.
//!
//! Where an address came from somebody who is not the operator, the client connects to the public internet only ([`Reach`]). That is looked
//! at after names are resolved, and what was looked at is what is connected to: there is no second look-up in between.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response, StatusCode, Uri, response};
use buildspaces_kernel::address::is_public;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower_service::Service;

/// Idle connections to one host that are kept for the next question.
const IDLE_PER_HOST: usize = 16;

/// How long the rest of an answer is read that nobody needs.
const DRAIN: Duration = Duration::from_secs(1);

/// Where a question may be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(Uri);

/// Why an address is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    #[error("is not an address such as https://example.org/path")]
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

    /// An address that somebody in a room chose. The error is a sentence.
    pub(crate) fn chosen(text: &str, allow_http: bool, allow_private: bool) -> Result<Self, String> {
        const MAX_BYTES: usize = 2048;
        if text.len() > MAX_BYTES {
            return Err(format!("url must have at most {MAX_BYTES} bytes"));
        }
        let url = Self::parse(text, true).map_err(|error| format!("url {error}"))?;
        if url.0.scheme_str() == Some("http") && !allow_http {
            return Err(
                "url must begin with https://; the server's operator can allow http:// with webhooks.allow_http = true"
                    .to_owned(),
            );
        }
        match literal(&url.0) {
            Some(address) if !allow_private && !is_public(address) => Err(format!(
                "url leads to {address}, which is of a private network or of this machine; the server's operator can allow that with \
                 webhooks.allow_private = true"
            )),
            _ => Ok(url),
        }
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
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(crate::is_loopback)
}

/// Why there is no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("not reached: {0}")]
    Unreachable(String),
    #[error("the answer broke off or is larger than {0} bytes")]
    TooLarge(usize),
}

/// What a client may connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Anything: the operator chose the address.
    All,
    /// The public internet: not this machine, nor anything beside it.
    Public,
}

impl Reach {
    fn allows(self, address: IpAddr) -> bool {
        self == Self::All || is_public(address)
    }
}

/// The address that stands in place of a name.
fn literal(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What a name stands for, as far as the client may connect to it.
#[derive(Clone)]
struct Resolver(Reach);

/// A host has no address but of a private network or of this machine; which, is for nobody outside to know.
#[derive(Debug, thiserror::Error)]
#[error("it leads to a private network or to the server's own machine, and webhooks.allow_private is not set")]
struct NotPublic;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().filter(|found| reach.allows(found.ip())).copied().collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(std::io::Error::other(NotPublic));
            }
            Ok(allowed.into_iter())
        })
    }
}

/// Asks. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Client(Hyper<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>, Reach);

impl Client {
    pub(crate) fn new(reach: Reach) -> Self {
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
        let mut connector = HttpConnector::new_with_resolver(Resolver(reach));
        // It is asked for the connection below TLS too.
        connector.enforce_http(false);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Hyper::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self(client, reach)
    }

    /// Sends one request to `url`, whose answer begins within `limit`: its status and headers. Of the rest no more than `max_bytes` is read.
    pub(crate) async fn send(
        &self,
        url: &Url,
        request: Request<Bytes>,
        limit: Duration,
        max_bytes: usize,
    ) -> Result<response::Parts, FetchError> {
        let answered = timeout(limit, self.exchange(url, request)).await;
        let (parts, body) = answered.map_err(|_| FetchError::Slow(limit))??.into_parts();
        // Read to its end, so that the connection can be used again; what does not end soon is cut off.
        let _ = timeout(DRAIN, Limited::new(body, max_bytes).collect()).await;
        Ok(parts)
    }

    /// Sends one request to `url`; the answer has at most `max_bytes` and is there within `limit`.
    pub(crate) async fn fetch(
        &self,
        url: &Url,
        request: Request<Bytes>,
        limit: Duration,
        max_bytes: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let exchange = async {
            let response = self.exchange(url, request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), max_bytes).collect().await;
            Ok((status, body.map_err(|_| FetchError::TooLarge(max_bytes))?.to_bytes()))
        };
        timeout(limit, exchange).await.map_err(|_| FetchError::Slow(limit))?
    }

    async fn exchange(&self, url: &Url, request: Request<Bytes>) -> Result<Response<Incoming>, FetchError> {
        // A host that is an address is never resolved.
        if literal(&url.0).is_some_and(|address| !self.1.allows(address)) {
            return Err(FetchError::Unreachable(NotPublic.to_string()));
        }
        let (mut parts, body) = request.into_parts();
        parts.uri = url.0.clone();
        let sent = self.0.request(Request::from_parts(parts, Full::new(body))).await;
        sent.map_err(|error| FetchError::Unreachable(causes(&error)))
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

    #[test]
    fn an_address_from_a_room_must_lead_to_the_internet() {
        for (text, http, private, says) in [
            ("https://a.example/hook?key=1", false, false, None),
            ("http://a.example/", true, false, None),
            ("http://127.0.0.1:9/", true, true, None),
            ("http://a.example/", false, true, Some("webhooks.allow_http")),
            ("https://127.0.0.1/", false, false, Some("webhooks.allow_private")),
            ("https://[::1]/", false, false, Some("webhooks.allow_private")),
            ("https://[::ffff:10.0.0.1]/", false, false, Some("webhooks.allow_private")),
            ("https://169.254.169.254/latest", true, false, Some("webhooks.allow_private")),
            ("https://me:secret@a.example/", true, true, Some("must not contain a user name")),
            ("file:///etc/passwd", true, true, Some("is not an address")),
            ("a.example", true, true, Some("is not an address")),
        ] {
            let error = Url::chosen(text, http, private).err();
            assert_eq!(error.is_some(), says.is_some(), "{text}: {error:?}");
            assert!(says.is_none_or(|says| error.as_deref().is_some_and(|error| error.contains(says))), "{error:?}");
        }
        assert!(Url::chosen(&format!("https://a.example/{}", "a".repeat(2048)), false, false).is_err());
    }

    #[tokio::test]
    async fn names_and_spellings_of_this_machine_are_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let port = listener.local_addr().expect("address").port();
        let client = Client::new(Reach::Public);
        for host in ["localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"] {
            let url = Url::parse(&format!("http://{host}:{port}/"), true).expect("an address");
            let request = Request::post("/").body(Bytes::new()).expect("a request");
            let error = client.send(&url, request, Duration::from_secs(10), 1).await.expect_err("refused").to_string();
            assert!(error.contains("webhooks.allow_private"), "{host}: {error}");
        }
        let accepted = timeout(Duration::ZERO, listener.accept()).await;
        assert!(accepted.is_err(), "nobody connected");
    }
}
