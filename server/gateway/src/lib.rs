//! The way in: WebSocket for documents, REST for everything else, the web app's files.
//!
//! HTTP statuses, close codes and who a token belongs to are decided here and nowhere else. It decides nothing about
//! documents, trees or runs. Read [`socket`] and [`yjs`] for the way of a frame, [`collab`] for many documents on one socket, [`terminal`] for
//! terminals, [`preview`] for what programs in sandboxes serve, [`media`] and [`whip`] for calls, [`accept`] for what comes before, [`identity`] for who may come in, [`api`] for REST, [`error`] for
//! what is said to clients.

mod accept;
mod access;
pub mod api;
mod collab;
mod error;
mod exports;
mod extract;
pub mod hooks;
mod http;
mod identity;
pub mod limits;
mod media;
mod meters;
pub mod preview;
mod ranges;
mod schema;
mod sessions;
mod socket;
mod terminal;
mod upload;
mod web;
mod whip;
mod yjs;
mod ysweet;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_media::Calls;
use buildspaces_plans::Engine;
use buildspaces_plans::ports::Sandboxes;
use buildspaces_policy::tenancy::Tenants;
use buildspaces_rooms::Rooms;
use buildspaces_webhooks as webhooks;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::limits::ConnectionLimits;
use crate::socket::{Close, STOPPING, Socket};

/// Who may come in: what the configuration and the command line need of it.
pub mod auth {
    pub use crate::identity::{
        AdminToken, AuthConfig, Key, KeyError, MintError, Minted, NewToken, Rules, ShortToken, SigningKey,
        WebhookConfig, link,
    };
}

pub use crate::accept::{Served, serve};
pub use crate::http::{Url, UrlError};
pub use crate::media::ice::IceServers;

/// What can be set about the gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Origins, such as `https://example.org`, whose pages may use this server besides its own.
    pub allowed_origins: Vec<String>,
    /// Names this server is reached under besides `localhost` and addresses. `None`: any name.
    pub allowed_hosts: Option<Vec<String>>,
    /// Where clients reach this server, such as `https://rooms.example`. `None`: as each request did.
    pub public_url: Option<String>,
    /// Largest WebSocket frame from a client, in bytes. Past it the connection ends with 1009.
    pub max_frame_bytes: usize,
    /// WebSocket connections at the same time. Past it a new one ends with 4529.
    pub max_connections: usize,
    /// Bytes that may wait for one WebSocket connection. Past it the connection ends with 1013.
    pub max_waiting_bytes: usize,
    /// How long at most the connections of a server that stops are told so one after the other.
    pub farewell: Duration,
    /// Who may come in. Without keys everybody may.
    pub auth: auth::AuthConfig,
    /// How much one client may ask for.
    pub limits: limits::LimitsConfig,
    pub preview: preview::PreviewConfig,
    /// What helps pages to find a way to calls.
    pub ice_servers: IceServers,
    /// `/metrics` says how each participant of a call is connected.
    pub participant_metrics: bool,
    /// Of which kinds rooms may be, and whose.
    pub tenants: Tenants,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allowed_hosts: Some(Vec::new()),
            public_url: None,
            max_frame_bytes: 16 << 20,
            max_connections: 10_000,
            max_waiting_bytes: 16 << 20,
            farewell: Duration::from_secs(3),
            auth: auth::AuthConfig::default(),
            limits: limits::LimitsConfig::default(),
            preview: preview::PreviewConfig::default(),
            ice_servers: IceServers::default(),
            participant_metrics: false,
            tenants: Tenants::default(),
        }
    }
}

/// A question with a later yes or no.
pub type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// What the gateway stands on.
pub struct Parts {
    pub config: Config,
    pub rooms: Rooms,
    pub engine: Engine,
    pub sandboxes: Arc<dyn Sandboxes>,
    pub webhooks: webhooks::Engine,
    pub calls: Calls,
    pub tasks: Tasks,
    /// The metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Can the server do its work?
    pub ready: Probe,
}

/// Shared by all handlers.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    parts: Parts,
    /// How many connections there are, of whom and from where.
    connections: ConnectionLimits,
    /// Who is who, and whose time is over.
    identity: identity::Identity,
    exports: exports::Exports,
    bodies: extract::Bodies,
    /// One upload at a time is taken apart: each may take much memory.
    upload: tokio::sync::Semaphore,
    /// So many files arrive at once, each of which is in memory until it is there.
    files: tokio::sync::Semaphore,
    previews: preview::Previews,
    streams: whip::Sessions,
}

impl Inner {
    /// Ends a connection. When the server stops all of them end, and clients that all heard so in one moment would all come back in one.
    pub(crate) async fn close(&self, socket: Socket, close: Close) {
        if close.code == STOPPING {
            let spread = limits::spread_of(self.connections.count(), self.config.farewell);
            tokio::time::sleep(spread.mul_f64(rand::random())).await;
        }
        socket.close(close).await;
    }
}

impl std::ops::Deref for Gateway {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::ops::Deref for Inner {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What the server answers, by the address it is asked at.
pub struct Routers {
    /// Every route of the server.
    pub main: Router,
    /// Previews and nothing else, for an address of their own.
    pub previews: Router,
}

/// Puts everything together.
pub fn routers(parts: Parts) -> Routers {
    let connections = ConnectionLimits::new(&parts.config.limits, parts.config.max_connections);
    let identity = identity::Identity::new(&parts.config.auth, parts.rooms.store(), &parts.tasks);
    let previews = preview::Previews::new(&parts.config.preview, parts.sandboxes.clone());
    let (exports, bodies) = (exports::Exports::default(), extract::Bodies::default());
    let (upload, files) = (tokio::sync::Semaphore::new(1), tokio::sync::Semaphore::new(8));
    let streams = whip::Sessions::default();
    let gateway =
        Gateway(Arc::new(Inner { parts, connections, identity, exports, bodies, upload, files, previews, streams }));
    let (api, _) = api::routes();
    let (large, _) = api::large_routes();
    let openapi = api::openapi().to_json().expect("the API's description has only string keys");
    let main = Router::new()
        .merge(api)
        .route("/api/openapi.json", get(move || async move { ([(header::CONTENT_TYPE, "application/json")], openapi) }))
        .route("/api/{*rest}", axum::routing::any(api::unknown))
        .route("/api/v1/rooms/{room}/terminals/{terminal}", get(terminal::connect))
        .route("/api/v1/rooms/{room}/media", get(media::connect))
        .route("/yjs/{*document}", get(yjs::connect))
        .route("/collab", get(collab::connect))
        .route("/collab/{*rest}", get(collab::connect))
        .merge(ysweet::routes())
        .merge(whip::routes())
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(web::file)
        .merge(large)
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), access::check))
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), accept::pace))
        .layer(CompressionLayer::new())
        .layer(axum::middleware::map_response(weaken))
        .layer(CatchPanicLayer::new())
        .layer(header_layer("x-content-type-options", "nosniff"))
        // A room's link is its key: it must not leak to other sites.
        .layer(header_layer("referrer-policy", "no-referrer"))
        // Outermost, because none of the above is for what programs serve.
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), preview::divert))
        .with_state(gateway.clone());
    let previews = Router::new().fallback(preview::only).layer(CatchPanicLayer::new()).with_state(gateway);
    Routers { main, previews }
}

fn header_layer(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// What was compressed on the way is not the same bytes any more, so its tag names them weakly.
async fn weaken(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let tag = headers.get(header::ETAG).map(HeaderValue::as_bytes).filter(|tag| !tag.starts_with(b"W/"));
    if headers.contains_key(header::CONTENT_ENCODING)
        && let Some(weak) = tag.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag].concat()).ok())
    {
        headers.insert(header::ETAG, weak);
    }
    response
}

async fn ready(axum::extract::State(gateway): axum::extract::State<Gateway>) -> impl IntoResponse {
    if (gateway.ready)().await && !gateway.tasks.is_cancelled() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer, or the server is stopping\n")
    }
}

/// What happens inside is nobody's business where tokens are needed, but the administrator's.
async fn metrics(axum::extract::State(gateway): axum::extract::State<Gateway>, caller: identity::Caller) -> Response {
    if !gateway.config.auth.is_open() && !caller.is_admin(&gateway) {
        let message = "metrics need the administrator's token (auth.admin_token)";
        return error::ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response();
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        (gateway.metrics)() + &meters::of_calls(&gateway.calls.stats(), gateway.config.participant_metrics),
    )
        .into_response()
}

/// True for an address that only this machine reaches.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
