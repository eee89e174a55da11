//! The program on the other side: an HTTP client whose connections are tunnels into sandboxes.
//!
//! Connections are used again for the next request of the same port, whoever sends it: the program cannot tell, and neither side
//! keeps anything of a person in one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, Uri};
use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{NotConnected, Sandboxes, Tunnel};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

/// Idle connections to one port that are kept. They count among those a sandbox may have.
const IDLE_PER_PORT: usize = 4;

/// For how long. Many servers hang up after 5 s, and a request that meets that moment fails.
const IDLE: Duration = Duration::from_secs(3);

/// Longest head of an answer, in bytes. A longer one is an error of the program.
const MAX_HEAD: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Error {
    NotConnected(NotConnected),
    /// What came is none; the reason.
    Answer(String),
}

pub(super) struct Program(Client<Connector, Body>);

impl Program {
    pub(super) fn new(sandboxes: Arc<dyn Sandboxes>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_PORT)
            .http1_max_buf_size(MAX_HEAD)
            .build(Connector(sandboxes));
        Self(client)
    }

    /// Sends a request, whose headers are ready, to what listens on `port`. Dropping it hangs up.
    pub(super) async fn send(
        &self,
        room: &RoomId,
        port: u16,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // The id of a room is a name as hosts have them, and the pool keeps connections by host and port.
        let uri = Uri::builder().scheme("http").authority(format!("{room}:{port}")).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| Error::Answer(error.to_string()))?;
        self.0.request(request).await.map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if let Some(reason) = error.downcast_ref::<NotConnected>() {
                    return Error::NotConnected(reason.clone());
                }
                cause = error.source();
            }
            Error::Answer(last_cause(&error))
        })
    }
}

/// The innermost error says what happened.
fn last_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), last_cause)
}

/// Makes tunnels.
#[derive(Clone)]
struct Connector(Arc<dyn Sandboxes>);

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<Line, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let sandboxes = Arc::clone(&self.0);
        Box::pin(async move {
            let room = uri.host().and_then(RoomId::parse).ok_or(NotConnected::NoSandbox)?;
            let port = uri.port_u16().ok_or(NotConnected::NoSandbox)?;
            sandboxes.connect(&room, port).await.map(|tunnel| Line(TokioIo::new(tunnel)))
        })
    }
}

/// A tunnel as hyper wants it.
struct Line(TokioIo<Box<dyn Tunnel>>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
