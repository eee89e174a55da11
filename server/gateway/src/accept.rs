//! Takes TCP connections and serves HTTP on them, until they become WebSockets or end, or hands them to the calls: those of people whose
//! networks let no UDP pass come to the same port, and begin with another byte than any request.
//!
//! A connection that says nothing holds a file descriptor all the same, and one that says it slowly holds a request too. So connections
//! are counted, by address and all together, a request's head has its time, a body must keep a pace, and an answer must be taken. What has become a WebSocket is
//! counted and looked after in [`crate::socket`] instead, and costs nothing here.

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_media::webrtc::{WebRtc, is_media};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower_service::Service;

use crate::error::ApiError;
use crate::limits::{ConnectionLimits, ConnectionPermit, Exceeded, LimitsConfig};
use crate::{Gateway, meters};

/// How long to wait when the system has no file descriptor or no memory for another connection.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Bytes a second that buy a body more time. A phone at the edge of its network sends more.
const SLOWEST: u64 = 4 << 10;

/// Between two probes whether somebody is still there; the system counts in seconds.
const SHORTEST_PROBE: Duration = Duration::from_secs(1);

/// What a port is for. Without a router it is for media alone.
pub struct Served {
    pub router: Option<Router>,
    /// `None`: calls do not come here.
    pub media: Option<WebRtc>,
}

/// Serves `served` until `stop`, then takes no more connections, and returns once every request under way was answered. Who has not asked
/// for anything by then is not waited for.
pub async fn serve(listener: TcpListener, served: Served, config: &LimitsConfig, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout((!config.request.is_zero()).then_some(config.request));
    let port = Arc::new(Port {
        http,
        // Every route is made ready once here; the router itself would do it again for each connection.
        router: served.router.map(|router| router.with_state(())),
        media: served.media,
        limits: ConnectionLimits::new(config, usize::try_from(config.http_connections).unwrap_or(usize::MAX)),
        behind_proxy: config.behind_proxy,
        patience: config.request,
        connections: Tasks::new(),
    });
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut stop => break,
        };
        // A reverse proxy has all of its clients' connections; it counts them itself.
        let counted = (!config.behind_proxy).then(|| peer.ip());
        let permit = match port.limits.connect(counted) {
            Ok(permit) => permit,
            Err(exceeded) => {
                refuse(stream, exceeded);
                continue;
            }
        };
        // A keystroke must not wait for the next one to fill a packet.
        let _ = stream.set_nodelay(true);
        look_after(&stream, config.request);
        let own = port.clone();
        port.connections.spawn("connection", async move { own.connection(stream, peer, permit).await });
    }
    drop(listener);
    port.connections.shutdown(Duration::MAX).await;
}

/// What all connections of one port share.
struct Port {
    http: http1::Builder,
    router: Option<Router>,
    media: Option<WebRtc>,
    limits: ConnectionLimits,
    behind_proxy: bool,
    patience: Duration,
    connections: Tasks,
}

impl Port {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let Some(media) = &self.media else { return self.requests(stream, permit).await };
        let first = tokio::select! {
            first = first_byte(&stream, self.patience) => first,
            () = self.connections.cancelled() => return,
        };
        match first {
            Some(first) if is_media(first) => self.media(media, stream, peer, permit).await,
            Some(_) => self.requests(stream, permit).await,
            None => {}
        }
    }

    async fn media(&self, media: &WebRtc, stream: TcpStream, peer: SocketAddr, mut permit: ConnectionPermit) {
        // It did not come through the proxy.
        if self.behind_proxy {
            match self.limits.connect(Some(peer.ip())) {
                Ok(own) => permit = own,
                Err(exceeded) => {
                    // It is hung up on; nobody there could read why.
                    let _ = exceeded.close();
                    return;
                }
            }
        }
        let _permit = permit;
        tokio::select! {
            () = media.carry(stream, peer) => {}
            () = self.connections.cancelled() => {}
        }
    }

    async fn requests(&self, stream: TcpStream, _permit: ConnectionPermit) {
        let Some(router) = self.router.clone() else { return };
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = has_asked.clone();
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            router.clone().call(request)
        });
        let mut connection = std::pin::pin!(self.http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.connections.cancelled() => {
                // Browsers open connections before they need them.
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        match result {
            // Browsers keep connections that they do not need for a while.
            Err(error) if error.is_timeout() && !has_asked.load(Ordering::Relaxed) => meters::limited("request_time"),
            Err(error) => tracing::trace!(%error, "an HTTP connection ended"),
            Ok(()) => {}
        }
    }
}

/// What comes first, which stays there to be read. `None` if nothing does in time.
async fn first_byte(stream: &TcpStream, patience: Duration) -> Option<u8> {
    let mut first = [0];
    let peek = stream.peek(&mut first);
    let peeked = match patience {
        Duration::ZERO => peek.await,
        patience => match timeout(patience, peek).await {
            Ok(peeked) => peeked,
            Err(_) => {
                meters::limited("request_time");
                return None;
            }
        },
    };
    peeked.is_ok_and(|count| count == 1).then_some(first[0])
}

/// Who takes nothing of an answer holds it in our memory, and who vanished without a word holds what they had open, where nothing is written that
/// could tell. Both end after `patience`; zero leaves it to the system.
fn look_after(stream: &TcpStream, patience: Duration) {
    use rustix::net::sockopt;
    let _ = sockopt::set_socket_keepalive(stream, true);
    let Ok(millis) = u32::try_from(patience.as_millis()) else { return };
    // It also says how long probes may go unanswered. Several fit in, because one may be lost.
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
    if !patience.is_zero() {
        let _ = sockopt::set_tcp_keepidle(stream, (patience / 2).max(SHORTEST_PROBE));
        let _ = sockopt::set_tcp_keepintvl(stream, (patience / 8).max(SHORTEST_PROBE));
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client has gone already.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken; trying again");
                sleep(NO_ROOM_PAUSE).await;
            }
        }
    }
}

/// Says so and ends the connection. Nobody waits for it to be read.
fn refuse(stream: TcpStream, exceeded: Exceeded) {
    let (_, message) = exceeded.close();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: text/plain\r\n\
         content-length: {}\r\n\r\n{message}",
        message.len()
    );
    // A new socket's buffer has room for it.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(answer.as_bytes()));
}

/// Middleware: a request's body must not take for ever.
pub(crate) async fn pace(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let patience = gateway.config.limits.request;
    if patience.is_zero() || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_late = Arc::new(AtomicBool::new(false));
    let paced = |body| Body::new(Paced::new(body, patience, is_late.clone()));
    let response = next.run(request.map(paced)).await;
    if is_late.load(Ordering::Relaxed) {
        meters::limited("request_time");
        let message = "the request's body came too slowly; send it again";
        return ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message).into_response();
    }
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        meters::limited("body_bytes");
    }
    response
}

/// A body that ends with an error when it was waited for too long. Only waiting counts: what takes us long is not the client's doing.
struct Paced {
    body: Body,
    /// How long may still be waited, and how long at most without a byte.
    left: Duration,
    most: Duration,
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    is_late: Arc<AtomicBool>,
}

impl Paced {
    fn new(body: Body, most: Duration, is_late: Arc<AtomicBool>) -> Self {
        Self { body, left: most, most, waiting: None, timer: Box::pin(sleep(most)), is_late }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(since) = this.waiting.take() {
                    this.left = this.left.saturating_sub(since.elapsed());
                }
                let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
                let bought = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000 / SLOWEST));
                this.left = this.left.saturating_add(bought).min(this.most);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                if this.waiting.is_none() {
                    let now = Instant::now();
                    this.waiting = Some(now);
                    this.timer.as_mut().reset(now + this.left);
                }
                ready!(this.timer.as_mut().poll(cx));
                this.is_late.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err("the body came too slowly".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
