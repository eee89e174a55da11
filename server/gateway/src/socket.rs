//! WebSocket on a raw TCP socket. After the HTTP upgrade the connection leaves hyper, so that whoever has something to send
//! can write it to the socket at once (see `rooms::outbox`). Reading, control frames and the closing handshake are tungstenite's;
//! what it wants to write joins the outbox.
//!
//! It knows no protocol above WebSocket; [`crate::yjs`] and [`crate::collab`] do.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_rooms::outbox::{Drained, FAIR_BYTES, Header, Wire};
use buildspaces_rooms::{CloseReason, Outbox};
use bytes::Bytes;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, timeout};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::error::ApiError;
use crate::limits::{self, Exceeded, RateLimit};
use crate::{Config, Gateway, meters};

/// How often each connection is looked at: was anything sent, was anything heard?
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Checks between two pings.
const PING_CHECKS: u32 = 2;

/// A client that was not heard for so many checks, pongs included, is gone.
const SILENT_CHECKS: u32 = 6;

/// A socket that took nothing for so many checks although something waits is stuck.
const STUCK_CHECKS: u32 = 2;

/// How long what is queued may take before the close frame, and that frame itself.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the client's own close is waited for; without it the code may never arrive.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes read at once. Each idle connection holds so many, and tungstenite overwrites them before each read.
const READ_BYTES: usize = 1024;

/// Up to so many bytes are put together before they are written.
const SMALL: usize = 512;

/// A message of up to this many times the limit is read to its end, so that its sender gets to read why it is refused:
/// closing a socket that holds unread bytes resets it, and the close code is lost. Longer ones are cut off.
const READ_TO_REFUSE: usize = 2;

/// A request that asks to become a WebSocket.
pub(crate) struct Upgrade {
    accept: String,
    on_upgrade: OnUpgrade,
    forwarded_for: Option<String>,
}

impl FromRequestParts<Gateway> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Gateway) -> Result<Self, ApiError> {
        let wrong =
            |what: &str| ApiError::bad_request("not_a_websocket", format!("this is a WebSocket address: {what}"));
        let lists = |name, value: &str| {
            let listed = parts.headers.get_all(name).into_iter().filter_map(|listed| listed.to_str().ok());
            listed.flat_map(|listed| listed.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(value))
        };
        if parts.method != Method::GET || !lists(header::CONNECTION, "upgrade") || !lists(header::UPGRADE, "websocket")
        {
            return Err(wrong("send Connection: upgrade and Upgrade: websocket"));
        }
        if !lists(header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(wrong("send Sec-WebSocket-Version: 13"));
        }
        let accept = match parts.headers.get(header::SEC_WEBSOCKET_KEY) {
            Some(key) => derive_accept_key(key.as_bytes()),
            None => return Err(wrong("send Sec-WebSocket-Key")),
        };
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let on_upgrade = on_upgrade.ok_or_else(|| wrong("this connection cannot be upgraded; use HTTP/1.1"))?;
        // A proxy may add a line of its own behind one that the client sent.
        let forwarded_for = parts.headers.get_all("x-forwarded-for").iter().next_back();
        let forwarded_for = forwarded_for.and_then(|list| list.to_str().ok());
        Ok(Self { accept, on_upgrade, forwarded_for: forwarded_for.map(str::to_owned) })
    }
}

/// The page that asks, as the browser says.
pub(crate) struct Origin(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned)))
    }
}

impl Upgrade {
    /// Answers with the switch of protocols and then runs `serve` as a task of its own.
    pub(crate) fn respond<F>(self, gateway: &Gateway, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { accept, on_upgrade, forwarded_for } = self;
        let opening = gateway.clone();
        gateway.tasks.spawn("connection", async move {
            let Ok(upgraded) = on_upgrade.await else { return };
            match upgraded.downcast::<TokioIo<TcpStream>>() {
                Ok(upgrade::Parts { io, read_buf, .. }) => {
                    let stream = io.into_inner();
                    let address = stream.peer_addr().map(|peer| {
                        limits::client_address(&opening.config.limits, peer.ip(), forwarded_for.as_deref())
                    });
                    let socket = Socket::new(&opening.config, stream, &read_buf);
                    // However little is in it, it is as large as hyper reads at once.
                    drop(read_buf);
                    match opening.connections.connect(address.ok()) {
                        Ok(_permit) => serve(socket).await,
                        Err(exceeded) => socket.close(exceeded.into()).await,
                    }
                }
                Err(_) => tracing::error!("a connection is not a TCP socket, so it cannot become a WebSocket"),
            }
        });
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_str(&accept).expect("base64 fits into a header");
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

/// The writing half, shared by everyone who has something to send.
struct TcpWire(Arc<OwnedWriteHalf>);

impl Wire for TcpWire {
    fn header(&self, len: usize) -> Header {
        header(FINAL_BINARY, len)
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        match slices {
            [one] => self.0.try_write(one),
            // A keystroke to many people is mostly this call, and one buffer costs the kernel less than three.
            several if len <= SMALL => {
                let mut joined = [0; SMALL];
                let mut end = 0;
                for slice in several {
                    joined[end..end + slice.len()].copy_from_slice(slice);
                    end += slice.len();
                }
                self.0.try_write(&joined[..len])
            }
            several => self.0.try_write_vectored(several),
        }
    }
}

const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;

/// RFC 6455, section 5.2: before a whole message, not masked.
fn header(kind: u8, len: usize) -> Header {
    let mut header = Header::default();
    header.push(&[kind]);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => header.push(&[len]),
        (_, Ok(len)) => {
            header.push(&[126]);
            header.push(&len.to_be_bytes());
        }
        _ => {
            header.push(&[127]);
            header.push(&(len as u64).to_be_bytes());
        }
    }
    header
}

/// What happens on a socket.
pub(crate) enum Event {
    Binary(Bytes),
    /// Only where [`Socket::with_texts`] was asked for, like the next.
    Text(String),
    /// All that waited has been written.
    Drained,
    /// The client broke a rule: close with this.
    Wrong(Close),
    /// Lanes were closed by their documents.
    Ended(Vec<(ConnectionId, CloseReason)>),
    /// Nothing was sent for a while; clients count any message as a sign of life.
    Quiet,
    /// The client is gone.
    Gone,
}

/// A close code and the reason that is sent with it.
#[derive(Debug)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Close {
    /// Control frames carry at most 123 bytes of reason.
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(123));
        Self { code, reason }
    }

    /// The server could not, and may be able to in a moment. The protocol's own codes say so; ours, from 4000 on, are about the client.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code, 1011..=1013)
    }
}

impl From<Exceeded> for Close {
    fn from(exceeded: Exceeded) -> Self {
        let (code, reason) = exceeded.close();
        Self::new(code, reason)
    }
}

/// One connection, owned by its task.
pub(crate) struct Socket {
    outbox: Arc<Outbox>,
    writer: Arc<OwnedWriteHalf>,
    reader: OwnedReadHalf,
    /// Boxed, because a socket is moved from one future into the next and each keeps room for it.
    context: Box<WebSocketContext>,
    /// What tungstenite wants to write: pongs and closes.
    replies: Vec<u8>,
    max_frame_bytes: usize,
    /// Nobody was let in: less is gathered, see [`Socket::limit_unknown`].
    is_unknown: bool,
    texts: bool,
    rate: RateLimit,
    check: Pin<Box<Sleep>>,
    checks: u32,
    /// Checks since something was received.
    silent: u32,
    /// Checks since the socket took anything.
    unsent: u32,
    sent: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Documents let go of their lanes a little later; the client should not have to wait for that.
        let _ = rustix::net::shutdown(self.writer.as_ref().as_ref(), rustix::net::Shutdown::Both);
    }
}

impl Socket {
    fn new(config: &Config, stream: TcpStream, read: &[u8]) -> Self {
        let (reader, writer) = stream.into_split();
        let writer = Arc::new(writer);
        let limit = config.max_frame_bytes.saturating_mul(READ_TO_REFUSE);
        let settings = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        Self {
            outbox: Outbox::new(Box::new(TcpWire(writer.clone())), config.max_waiting_bytes),
            writer,
            reader,
            context: Box::new(WebSocketContext::from_partially_read(read.to_vec(), Role::Server, Some(settings))),
            replies: Vec::new(),
            max_frame_bytes: config.max_frame_bytes,
            is_unknown: false,
            texts: false,
            rate: RateLimit::new(&config.limits, std::time::Instant::now()),
            check: Box::pin(tokio::time::sleep(CHECK_EVERY)),
            checks: 0,
            silent: 0,
            unsent: 0,
            sent: 0,
        }
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Until somebody is let in, a message of more than `bytes` is not even gathered; `None`: somebody is. 0 is no limit.
    pub(crate) fn limit_unknown(&mut self, bytes: Option<u64>) {
        let usual = self.max_frame_bytes.saturating_mul(READ_TO_REFUSE);
        let bytes = bytes.filter(|bytes| *bytes > 0).and_then(|bytes| usize::try_from(bytes).ok());
        let limit = bytes.map_or(usual, |bytes| bytes.min(usual));
        self.is_unknown = limit < usual;
        self.context.set_config(|config| {
            config.max_message_size = Some(limit);
            config.max_frame_size = Some(limit);
        });
    }

    /// For a protocol with texts, whose task looks itself how much waits to be written.
    pub(crate) fn with_texts(&mut self) {
        self.texts = true;
    }

    /// Sends a text.
    pub(crate) fn send_text(&self, text: &str) {
        let mut frame = header(FINAL_TEXT, text.len()).as_slice().to_vec();
        frame.extend_from_slice(text.as_bytes());
        self.outbox.raw(frame.into());
    }

    /// The next event. Meanwhile it writes what the socket did not take before. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let condition = self.outbox.condition();
            if condition.is_broken {
                return Event::Gone;
            }
            if condition.has_closed {
                return Event::Ended(self.outbox.take_closed());
            }
            let Self { outbox, writer, reader, context, replies, check, .. } = self;
            tokio::select! {
                biased;
                () = outbox.changed() => {}
                message = std::future::poll_fn(|cx| poll_message(cx, reader, context, replies)) => {
                    self.silent = 0;
                    if matches!(message, Some(Ok(Message::Close(_)))) {
                        // The answer to a close would wait for the next read, which does not come.
                        let _ = self.context.flush(&mut Stream { reader: None, replies: &mut self.replies });
                    }
                    if !self.replies.is_empty() {
                        self.outbox.raw(std::mem::take(&mut self.replies).into());
                    }
                    if let Some(message) = message {
                        let step = tracing::trace_span!(target: "keystroke", "next");
                        if let Some(event) = step.in_scope(|| self.event(message)) {
                            return event;
                        }
                    }
                }
                _ = writer.writable(), if condition.is_blocked => match outbox.drain(FAIR_BYTES) {
                    Drained::More => tokio::task::yield_now().await,
                    Drained::Empty if self.texts => return Event::Drained,
                    Drained::Empty | Drained::Blocked | Drained::Broken => {}
                },
                () = check => if let Some(event) = self.check() {
                    return event;
                }
            }
        }
    }

    /// Counts further messages that a frame held, besides itself.
    pub(crate) fn held(&mut self, more: usize) -> Result<(), Close> {
        self.rate.take_more(std::time::Instant::now(), more).map_err(Into::into)
    }

    fn event(&mut self, message: Result<Message, Error>) -> Option<Event> {
        if let Ok(message) = &message
            && let Err(exceeded) = self.rate.take(std::time::Instant::now(), message.len())
        {
            return Some(Event::Wrong(exceeded.into()));
        }
        let too_large = || {
            meters::limited("frame_bytes");
            let reason = format!("a message may have at most {} bytes", self.max_frame_bytes);
            Event::Wrong(Close::new(1009, reason))
        };
        Some(match message {
            Ok(Message::Binary(bytes)) if bytes.len() > self.max_frame_bytes => too_large(),
            Ok(Message::Binary(bytes)) => Event::Binary(bytes),
            Ok(Message::Text(text)) if text.len() > self.max_frame_bytes => too_large(),
            Ok(Message::Text(text)) if self.texts => Event::Text(text.as_str().to_owned()),
            Ok(Message::Text(_)) => Event::Wrong(Close::new(1002, "only binary frames are understood here")),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => return None,
            Err(Error::Capacity(_)) if self.is_unknown => Event::Wrong(Exceeded::UnauthenticatedBytes.into()),
            Err(Error::Capacity(_)) => too_large(),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => Event::Gone,
            Err(Error::Protocol(error)) => Event::Wrong(Close::new(1002, error.to_string())),
            Err(Error::Utf8(_)) => Event::Wrong(Close::new(1007, "a text that is not UTF-8")),
            Ok(Message::Close(_)) | Err(_) => Event::Gone,
        })
    }

    /// Looks for signs of life.
    fn check(&mut self) -> Option<Event> {
        self.check.as_mut().reset(Instant::now() + CHECK_EVERY);
        self.checks += 1;
        self.silent += 1;
        let sent = self.outbox.sent();
        self.unsent = if sent == self.sent { self.unsent + 1 } else { 0 };
        self.sent = sent;
        let is_stuck = self.unsent > STUCK_CHECKS && self.outbox.condition().is_blocked;
        if is_stuck {
            return Some(Event::Gone);
        }
        if self.silent > SILENT_CHECKS {
            return Some(Event::Wrong(Close::new(1001, "no sign of life")));
        }
        if self.checks.is_multiple_of(PING_CHECKS) {
            self.outbox.raw(Bytes::from_static(&[0x89, 0]));
        }
        (self.unsent > 0).then_some(Event::Quiet)
    }

    /// Sends what is queued and the close frame, and waits a moment for the client's own.
    pub(crate) async fn close(mut self, close: Close) {
        tracing::debug!(code = close.code, reason = close.reason, "connection closed");
        meters::closed(close.code);
        if close.code == TOO_SLOW {
            // It would only delay the moment from which on the client can begin anew.
            self.outbox.abandon();
        }
        let code = CloseCode::from(close.code);
        let frame = CloseFrame { code, reason: close.reason.into() };
        let _ = self.context.close(&mut Stream { reader: None, replies: &mut self.replies }, Some(frame));
        self.outbox.raw(std::mem::take(&mut self.replies).into());
        if timeout(WRITE_TIMEOUT, self.drain()).await != Ok(true) {
            return;
        }
        let Self { reader, context, replies, .. } = &mut self;
        let goodbye = async {
            // Nobody waits for what tungstenite would answer now.
            while !matches!(
                std::future::poll_fn(|cx| poll_message(cx, reader, context, replies)).await,
                Some(Err(_)) | None
            ) {}
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    /// Writes everything that waits. False if the socket broke.
    async fn drain(&self) -> bool {
        loop {
            match self.outbox.drain(FAIR_BYTES) {
                Drained::Empty => return true,
                Drained::Broken => return false,
                Drained::More => tokio::task::yield_now().await,
                Drained::Blocked => {
                    let _ = self.writer.writable().await;
                }
            }
        }
    }
}

pub(crate) const TOO_MUCH: &str =
    "what was sent would keep the server busy for too long; it is not saved: make it in smaller steps";

pub(crate) const DOCUMENT_TOO_LARGE: &str = "the document would be larger than it may be; what was sent is not saved";

/// The code that tells a slow reader to begin anew.
pub(crate) const TOO_SLOW: u16 = 1013;

/// The code that tells everybody to come back after the server's stop.
pub(crate) const STOPPING: u16 = 1012;
/// The server failed to store or load a document.
pub(crate) const FAILED: u16 = 1011;

/// The next message, or `None` if nothing came and there are replies to send.
fn poll_message(
    cx: &mut Context<'_>,
    reader: &mut OwnedReadHalf,
    context: &mut WebSocketContext,
    replies: &mut Vec<u8>,
) -> Poll<Option<Result<Message, Error>>> {
    match context.read(&mut Stream { reader: Some((reader, cx)), replies }) {
        // The answer to a ping is written when tungstenite is asked for the next message.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock && !replies.is_empty() => Poll::Ready(None),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(Some(result)),
    }
}

/// What tungstenite takes for a socket: it reads from the real one and writes into a buffer.
struct Stream<'a, 'b> {
    reader: Option<(&'a mut OwnedReadHalf, &'a mut Context<'b>)>,
    replies: &'a mut Vec<u8>,
}

impl Read for Stream<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((reader, cx)) = &mut self.reader else { return Err(io::ErrorKind::WouldBlock.into()) };
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut **reader).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Ok(buffer.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which close code tells a client why its document ended.
pub(crate) fn close_of(reason: &CloseReason) -> Close {
    match reason {
        CloseReason::Malformed(reason) => Close::new(1002, reason.clone()),
        CloseReason::TooSlow => Close::new(
            TOO_SLOW,
            "more waits for you than the server keeps: read faster or ask for less, and connect again",
        ),
        CloseReason::TooLarge => Close::new(4413, DOCUMENT_TOO_LARGE),
        CloseReason::TooMuch => Close::new(4422, TOO_MUCH),
        CloseReason::Gone => Close::new(4404, "the document was deleted"),
        CloseReason::Failed => Close::new(FAILED, "the document could not be stored or loaded; connect again"),
        CloseReason::Stopping => Close::new(STOPPING, "the server is stopping; connect again"),
    }
}
