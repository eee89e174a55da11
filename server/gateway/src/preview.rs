//! Previews: what a program in a room's sandbox serves on a TCP port, shown in a browser.
//!
//! Each port of each room has an origin of its own (`<name>.preview.localhost`, or a name below [`PreviewConfig::url`]), because what
//! is served there is a stranger's: it must not share cookies, storage or a service worker with the room's page or with another room.
//!
//! 1. Somebody in the room asks for a preview (`POST …/previews`) and gets an address with a key, which works once and soon.
//! 2. [`serve`] turns the key into a cookie of that origin alone: a *visit* ([`visits`]), which ends with the access it came from.
//! 3. Every further request of the origin goes to the program, over a tunnel into the sandbox ([`program`]), with what must not pass
//!    taken out of its headers ([`headers`]).
//!
//! Nothing of a body is looked at, and none is held: each side waits for the other.

mod address;
mod headers;
mod page;
mod program;
mod visits;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use buildspaces_plans::ports::{NotConnected, Sandboxes};
use bytes::Bytes;
use hyper::body::Frame;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::WaitForCancellationFutureOwned;

use address::Addresses;
pub use address::{Base, BaseError};
use page::page;
use program::Program;
pub(crate) use visits::NewVisit;
use visits::{Visit, Visits};

use crate::Gateway;
use crate::error::ApiError;
use crate::identity::Watch;
use crate::meters::PREVIEW_REQUESTS;

/// Paths that begin so are the server's own on every preview's origin; no program sees them.
const OWN_PATHS: &str = "/.buildspaces/";
const ENTER: &str = "/.buildspaces/enter";

/// What can be set about previews.
#[derive(Clone, Debug, Default)]
pub struct PreviewConfig {
    /// Where previews are reached: each has a name of its own below this host. `None`: below `preview.localhost`, which leads to
    /// the browser's own machine and therefore is offered only to those who reach the server there.
    pub url: Option<Base>,
    /// The port of a second address that serves previews and nothing else. `None`: they are served beside everything else.
    pub port: Option<u16>,
}

/// Everything about previews.
pub(crate) struct Previews {
    addresses: Addresses,
    visits: Visits,
    program: Program,
    /// What the room's page may show in a frame, for its Content-Security-Policy.
    pub(crate) frame_source: String,
}

impl Previews {
    pub(crate) fn new(config: &PreviewConfig, sandboxes: Arc<dyn Sandboxes>) -> Self {
        let addresses = Addresses::new(config.url.clone(), config.port);
        let frame_source = addresses.frame_source();
        Self { addresses, visits: Visits::default(), program: Program::new(sandboxes), frame_source }
    }

    /// An address under which whoever `watch` is about may look at a port, once and soon. `headers` are those of the request for it.
    pub(crate) fn invite(
        &self,
        new: NewVisit,
        path: &str,
        headers: &HeaderMap,
        watch: Watch,
    ) -> Result<String, ApiError> {
        let host = text(headers, header::HOST).unwrap_or("localhost");
        let name = address::name_of(&new.room, new.port);
        let origin = self.addresses.origin(&name, host).ok_or_else(|| {
            let message = "previews need an address of their own on this server: its operator can set preview.url";
            ApiError::new(StatusCode::CONFLICT, "previews_off", message)
        })?;
        // Cookies of names above both, such as those of a proxy in front, come along with every request of either.
        let withheld = match address::have_parent_in_common(&origin, host) {
            true => headers::cookie_names(headers),
            false => Vec::new(),
        };
        // A browser says where its page is from with everything but simple reads.
        let embedder = text(headers, header::ORIGIN).map(str::to_owned);
        let key = self.visits.invite(Visit::new(new, name, origin.clone(), embedder, withheld), watch);
        let to = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
        Ok(format!("{origin}{ENTER}?key={key}&to={to}"))
    }
}

/// Is `path` one that a preview may begin with? Not the name of another host in disguise.
pub(crate) fn is_path(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next() == Some('/')
        && !matches!(chars.next(), Some('/' | '\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Middleware of the main address: previews' hosts are served as such and nothing else, all others as they were.
pub(crate) async fn divert(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    match gateway.previews.addresses.name(host_of(&request)) {
        None => next.run(request).await,
        Some(_) if gateway.config.preview.port.is_some() => misdirected(),
        Some(name) => serve(&gateway, &name, request).await,
    }
}

/// All of the second address.
pub(crate) async fn only(State(gateway): State<Gateway>, request: Request) -> Response {
    match gateway.previews.addresses.name(host_of(&request)) {
        Some(name) => serve(&gateway, &name, request).await,
        None => misdirected(),
    }
}

fn host_of(request: &Request) -> &str {
    // A request may name its host in its first line instead.
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    named.or_else(|| text(request.headers(), header::HOST)).unwrap_or_default()
}

fn misdirected() -> Response {
    page(StatusCode::MISDIRECTED_REQUEST, "Nothing is here", "The address of this server is another one.", None)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// One request of a preview's origin.
async fn serve(gateway: &Gateway, name: &str, request: Request) -> Response {
    let previews = &gateway.previews;
    let path = request.uri().path();
    if path == ENTER {
        return enter(gateway, name, &request);
    }
    if path.starts_with(OWN_PATHS) || request.method() == Method::CONNECT {
        return page(StatusCode::NOT_FOUND, "Nothing is here", "The server has no such page.", None);
    }
    let Some(visit) = previews.visits.find(name, request.headers()) else {
        let text = "Open this preview from its room, in the menu of ports. If it was open just now, your access has ended, or this \
                    browser keeps no cookies for pages in frames; then open it in a tab of its own.";
        return page(StatusCode::UNAUTHORIZED, "This preview is not open here", text, None);
    };
    if !headers::is_own(request.method(), request.headers(), &visit.origin) {
        let text = "A page of another site asked for this, and may not.";
        return page(StatusCode::FORBIDDEN, "Not from there", text, Some(&visit));
    }
    if headers::is_by_a_person(request.headers()) {
        gateway.sandboxes.touch(&visit.room);
    }
    PREVIEW_REQUESTS.increment(1);
    forward(gateway, &visit, request).await
}

/// Turns a key into a cookie, and goes on to what the preview begins with.
fn enter(gateway: &Gateway, name: &str, request: &Request) -> Response {
    let parameter = |wanted: &str| {
        let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find_map(|(name, value)| (name == wanted).then_some(value))?;
        percent_encoding::percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    let entered = parameter("key").and_then(|key| gateway.previews.visits.enter(&gateway.tasks, name, &key));
    let Some((visit, cookie)) = entered else {
        let text = "This link worked once, or it is too old. Open the preview from its room again.";
        return page(StatusCode::UNAUTHORIZED, "This link does not open the preview any more", text, None);
    };
    let to = parameter("to").filter(|path| is_path(path)).unwrap_or_else(|| "/".to_owned());
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(&to).expect("a path has only printable characters"));
    headers.insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("ids make headers"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers::frame_only_by(headers, &visit);
    response
}

/// Sends a request to the program, and its answer back.
async fn forward(gateway: &Gateway, visit: &Arc<Visit>, mut request: Request) -> Response {
    let upgrade = headers::is_websocket(request.headers());
    let taken_over = request.extensions_mut().remove::<OnUpgrade>();
    headers::inward(request.headers_mut(), visit, upgrade);
    *request.version_mut() = Version::HTTP_11;
    let answered = tokio::select! {
        answered = gateway.previews.program.send(&visit.room, visit.port, request) => answered,
        () = visit.ended.cancelled() => return page(StatusCode::UNAUTHORIZED, "Your access has ended", "", Some(visit)),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => return failed(visit, &error),
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    headers::outward(response.headers_mut(), visit, upgrade && switched);
    match (switched, upgrade, taken_over) {
        (false, ..) => response.map(|body| Body::new(Ending { body: Body::new(body), end: until_end(visit) })),
        (true, true, Some(browser)) => {
            let program = hyper::upgrade::on(&mut response);
            gateway.tasks.spawn("preview socket", join(gateway.clone(), Arc::clone(visit), browser, program));
            response.map(|_| Body::empty())
        }
        (true, ..) => failed(visit, &program::Error::Answer("it changed the protocol without being asked".to_owned())),
    }
}

fn failed(visit: &Visit, error: &program::Error) -> Response {
    let port = visit.port;
    match error {
        program::Error::NotConnected(NotConnected::Refused(reason)) => {
            tracing::debug!(reason, "a preview's program does not answer");
            let text = format!(
                "No program in the sandbox listens on port {port} of its own machine (127.0.0.1) right now. Start one, then load this page again."
            );
            page(StatusCode::BAD_GATEWAY, &format!("Nothing listens on port {port}"), &text, Some(visit))
        }
        program::Error::NotConnected(error @ NotConnected::NoSandbox) => {
            let text = format!("{error}: start a program in a terminal of the room, then load this page again.");
            page(StatusCode::BAD_GATEWAY, "The sandbox is off", &text, Some(visit))
        }
        program::Error::NotConnected(error @ (NotConnected::TooMany | NotConnected::Slow)) => {
            page(StatusCode::SERVICE_UNAVAILABLE, "The sandbox is busy", &format!("{error}."), Some(visit))
        }
        program::Error::Answer(reason) => {
            let text = format!("What answers on port {port} does not speak HTTP as browsers understand it: {reason}.");
            page(StatusCode::BAD_GATEWAY, "The answer cannot be shown", &text, Some(visit))
        }
    }
}

/// Carries bytes between a browser and a program until one of them, the visit or the server ends.
async fn join(gateway: Gateway, visit: Arc<Visit>, browser: OnUpgrade, program: OnUpgrade) {
    let carrying = async {
        let (browser, program) = tokio::try_join!(browser, program)?;
        let (mut browser, mut program) = (TokioIo::new(browser), TokioIo::new(program));
        // Either may break off at any time.
        let _ = tokio::io::copy_bidirectional(&mut browser, &mut program).await;
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        carried = carrying => if let Err(error) = carried {
            tracing::debug!(%error, "a preview's socket was not opened");
        },
        () = visit.ended.cancelled() => {}
        () = gateway.tasks.cancelled() => {}
    }
}

fn until_end(visit: &Visit) -> Pin<Box<WaitForCancellationFutureOwned>> {
    Box::pin(visit.ended.clone().cancelled_owned())
}

/// A body that breaks off when the visit ends.
struct Ending {
    body: Body,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("the access of who reads this has ended"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
