//! Documents over WebSocket, as y-websocket speaks it: `GET /yjs/<document>?token=<session>`.
//!
//! One task per connection reads frames, hands them to the document, and sends what the document's outbox holds. Frames that
//! wait together are written together. Nothing is decided here but who it is, what is too large, and the close code.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use buildspaces_crdt::names::Kind;
use buildspaces_crdt::{DocumentName, protocol};
use buildspaces_kernel::ids::RoomId;
use buildspaces_rooms::{CloseReason, Connection, Error, Inbox};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};

use crate::Gateway;
use crate::error::ApiError;
use crate::identity::{self, Watch};

/// Clients hang up after 30 s without a message, and do not see WebSocket pings.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);

/// How often a ping asks whether the client is still there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A client that was silent for this long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a write may take before the client counts as stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// A message of up to this many times the limit is read to its end, so that its sender gets to read why it is refused:
/// closing a socket that holds unread bytes resets it, and the close code is lost. Longer ones are cut off.
const READ_TO_REFUSE: usize = 2;

/// Frames written before the socket is looked at again.
const MAX_BATCH: usize = 64;

#[derive(serde::Deserialize)]
pub(crate) struct Params {
    token: Option<String>,
}

/// Upgrades first and refuses by close code, because browsers hide the status of a refused upgrade from their pages.
pub(crate) async fn connect(
    State(gateway): State<Gateway>,
    Path(document): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(permit) = gateway.0.connections.clone().try_acquire_owned() else {
        let message = "too many connections; try again in a moment";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message).into_response();
    };
    let read = gateway.config.max_frame_bytes.saturating_mul(READ_TO_REFUSE);
    upgrade.max_message_size(read).max_frame_size(read).write_buffer_size(0).on_upgrade(async move |socket| {
        let _permit = permit;
        metrics::gauge!("buildspaces_connections_open").increment(1.0);
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        serve(&gateway, &document, params.token.as_deref(), origin, socket).await;
        metrics::gauge!("buildspaces_connections_open").decrement(1.0);
    })
}

async fn serve(gateway: &Gateway, document: &str, token: Option<&str>, origin: Option<&str>, mut socket: WebSocket) {
    let opened = open(gateway, document, token, origin).await;
    let closed = match opened {
        Ok((connection, inbox, watch)) => exchange(gateway, &mut socket, connection, inbox, watch).await,
        Err(close) => Some(close),
    };
    if let Some(close) = closed {
        tracing::debug!(document, code = close.code, reason = %close.reason, "connection closed");
        let _ = timeout(WRITE_TIMEOUT, socket.send(Frame::Close(Some(close)))).await;
        // The client's own close completes the handshake; without it the code may never arrive.
        let _ = timeout(Duration::from_secs(2), async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}

/// Finds out who this is and opens the document.
async fn open(
    gateway: &Gateway,
    document: &str,
    token: Option<&str>,
    origin: Option<&str>,
) -> Result<(Connection, Inbox, Watch), CloseFrame> {
    let name = DocumentName::parse(document).map_err(|error| close(4404, error.to_string()))?;
    let grant = identity::admit(gateway, token, origin, &name)
        .await
        .map_err(|refusal| close(refusal.close_code(), refusal.message()))?;
    let watch = gateway.identity.watch(&grant, &name);
    // A document that unloads at this very moment is opened again.
    for _ in 0..3 {
        let handle = gateway.rooms.document(&name).await.map_err(refusal)?;
        match handle.connect(grant.authority.clone(), grant.known).await {
            Ok((connection, inbox)) => {
                if let Some(room) = room_of(&name) {
                    gateway.engine.room_opened(&room).await;
                }
                return Ok((connection, inbox, watch));
            }
            Err(Error::Closed) => tokio::task::yield_now().await,
            Err(error) => return Err(refusal(error)),
        }
    }
    Err(close_frame(&CloseReason::Stopping))
}

/// Carries frames both ways until one side ends. Returns what to close with, or `None` if the client is gone.
async fn exchange(
    gateway: &Gateway,
    socket: &mut WebSocket,
    connection: Connection,
    mut inbox: Inbox,
    mut watch: Watch,
) -> Option<CloseFrame> {
    let mut last_sent = Instant::now();
    let mut last_received = Instant::now();
    let mut next_ping = Instant::now() + PING_EVERY;
    loop {
        tokio::select! {
            outgoing = inbox.next() => {
                let frame = match outgoing {
                    Ok(frame) => frame,
                    Err(reason) => return Some(close_frame(&reason)),
                };
                if !write(socket, frame, &mut inbox).await {
                    return None;
                }
                last_sent = Instant::now();
            }
            incoming = socket.next() => {
                let frame = match incoming {
                    Some(Ok(Frame::Binary(frame))) if frame.len() > gateway.config.max_frame_bytes => {
                        return Some(too_large(gateway));
                    }
                    Some(Ok(Frame::Binary(frame))) => frame,
                    Some(Ok(Frame::Text(_))) => return Some(close(1002, "only binary frames are understood here")),
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {
                        last_received = Instant::now();
                        continue;
                    }
                    Some(Ok(Frame::Close(_))) | None => return None,
                    // The library reports a frame far above the limit as a capacity error and nothing finer.
                    Some(Err(error)) => return error.to_string().contains("too big").then(|| too_large(gateway)),
                };
                last_received = Instant::now();
                metrics::counter!("buildspaces_received_bytes_total").increment(frame.len() as u64);
                let messages = match protocol::decode(&frame) {
                    Ok(messages) => messages,
                    Err(error) => return Some(close(1002, error.to_string())),
                };
                if connection.receive(messages).await.is_err() {
                    // The document ended; its last frames and the reason are in the inbox.
                    while let Some(frame) = inbox.try_next() {
                        if socket.send(Frame::Binary(frame)).await.is_err() {
                            return None;
                        }
                    }
                    return inbox.next().await.err().map(|reason| close_frame(&reason));
                }
            }
            end = watch.ended() => return Some(close(4401, end.message())),
            () = tokio::time::sleep_until(last_sent + KEEP_ALIVE_AFTER) => {
                let frame = Bytes::from_static(protocol::KEEP_ALIVE);
                if !write(socket, frame, &mut inbox).await {
                    return None;
                }
                last_sent = Instant::now();
            }
            () = tokio::time::sleep_until(next_ping) => {
                if last_received.elapsed() >= SILENCE {
                    return Some(close(1001, "no sign of life"));
                }
                next_ping = Instant::now() + PING_EVERY;
                if !matches!(timeout(WRITE_TIMEOUT, socket.send(Frame::Ping(Bytes::new()))).await, Ok(Ok(()))) {
                    return None;
                }
            }
        }
    }
}

/// Writes a frame and what waits behind it, then flushes once. False if the client is gone or stuck.
async fn write(socket: &mut WebSocket, first: Bytes, inbox: &mut Inbox) -> bool {
    let batch = async {
        let mut bytes = first.len();
        socket.feed(Frame::Binary(first)).await?;
        for _ in 1..MAX_BATCH {
            let Some(frame) = inbox.try_next() else { break };
            bytes += frame.len();
            socket.feed(Frame::Binary(frame)).await?;
        }
        metrics::counter!("buildspaces_sent_bytes_total").increment(bytes as u64);
        socket.flush().await
    };
    matches!(timeout(WRITE_TIMEOUT, batch).await, Ok(Ok(())))
}

fn too_large(gateway: &Gateway) -> CloseFrame {
    close(1009, format!("a message may have at most {} bytes", gateway.config.max_frame_bytes))
}

fn room_of(name: &DocumentName) -> Option<RoomId> {
    match name.kind() {
        Kind::File { room, .. } | Kind::Tree { room } | Kind::Runs { room } => RoomId::parse(room),
        Kind::Plain => None,
    }
}

fn refusal(error: Error) -> CloseFrame {
    match error {
        Error::NoSuchRoom(_) | Error::NoSuchDocument(_) | Error::NoSuchNode => close(4404, error.to_string()),
        Error::Closed => close_frame(&CloseReason::Stopping),
        error => {
            tracing::error!(%error, "a document could not be opened");
            close_frame(&CloseReason::Failed)
        }
    }
}

fn close_frame(reason: &CloseReason) -> CloseFrame {
    match reason {
        CloseReason::Malformed(reason) => close(1002, reason.clone()),
        CloseReason::TooSlow => close(1013, "you read more slowly than the document changes; connect again"),
        CloseReason::Gone => close(4404, "the document was deleted"),
        CloseReason::Failed => close(1011, "the document could not be stored or loaded; connect again"),
        CloseReason::Stopping => close(1012, "the server is stopping; connect again"),
    }
}

/// Control frames carry at most 123 bytes of reason.
fn close(code: u16, reason: impl Into<String>) -> CloseFrame {
    let mut reason = reason.into();
    let end = reason.floor_char_boundary(123);
    reason.truncate(end);
    CloseFrame { code, reason: reason.into() }
}
