//! Documents over WebSocket, one document per socket: as y-websocket speaks it at `GET /yjs/<document>?token=<token>`.
//!
//! One task per connection reads frames and hands them to the document; what the document sends goes to the socket by itself.
//! Nothing is decided here but who it is and the close code.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use buildspaces_crdt::names::Kind;
use buildspaces_crdt::{DocumentName, protocol};
use buildspaces_kernel::ids::{ConnectionId, RoomId};
use buildspaces_rooms::{CloseReason, Connection, Dialect, DocumentHandle, Error, Outbox};
use bytes::Bytes;

use crate::Gateway;
use crate::extract::{Path, Query};
use crate::identity::{self, Grant, Watch};
use crate::limits::UserPermit;
use crate::meters::{OpenConnection, RECEIVED_BYTES};
use crate::socket::{Close, Event, Origin, Socket, Upgrade, close_of};

#[derive(serde::Deserialize)]
pub(crate) struct Params {
    token: Option<String>,
}

/// Upgrades first and refuses by close code, because browsers hide the status of a refused upgrade from their pages.
pub(crate) async fn connect(
    State(gateway): State<Gateway>,
    Path(document): Path<String>,
    Query(params): Query<Params>,
    Origin(origin): Origin,
    upgrade: Upgrade,
) -> Response {
    let own = gateway.clone();
    upgrade.respond(&gateway, async move |socket| {
        let asked = Asked { document, token: params.token, origin };
        serve(&own, &asked, Dialect::YWebsocket, socket).await;
    })
}

/// The same for y-sweet's clients, whose addresses name the document twice.
pub(crate) async fn connect_ysweet(
    State(gateway): State<Gateway>,
    Path((document, same)): Path<(String, String)>,
    Query(params): Query<Params>,
    Origin(origin): Origin,
    upgrade: Upgrade,
) -> Response {
    let own = gateway.clone();
    upgrade.respond(&gateway, async move |socket| {
        if document == same {
            let asked = Asked { document, token: params.token, origin };
            serve(&own, &asked, Dialect::YSweet, socket).await;
        } else {
            socket.close(Close::new(4404, "the address names two documents")).await;
        }
    })
}

/// The same at the address that y-sweet had before 0.5: `GET /doc/ws/<document>`.
pub(crate) async fn connect_old_ysweet(
    state: State<Gateway>,
    Path(document): Path<String>,
    params: Query<Params>,
    origin: Origin,
    upgrade: Upgrade,
) -> Response {
    connect_ysweet(state, Path((document.clone(), document)), params, origin, upgrade).await
}

/// What a client asked for.
struct Asked {
    document: String,
    token: Option<String>,
    origin: Option<String>,
}

async fn serve(gateway: &Gateway, asked: &Asked, dialect: Dialect, mut socket: Socket) {
    let _counted = OpenConnection::new(if dialect == Dialect::YSweet { "ysweet" } else { "yjs" });
    // Boxed, so that a connection does not hold room for it as long as it lives.
    let opened = Box::pin(open(gateway, asked, dialect, &socket)).await;
    let close = match opened {
        Ok((connection, watch, _user)) => exchange(&mut socket, connection, watch).await,
        Err(close) => Some(close),
    };
    if let Some(close) = close {
        gateway.close(socket, close).await;
    }
}

async fn open(
    gateway: &Gateway,
    asked: &Asked,
    dialect: Dialect,
    socket: &Socket,
) -> Result<(Connection, Watch, Option<UserPermit>), Close> {
    let (name, grant) = admit(gateway, &asked.document, asked.token.as_deref(), asked.origin.as_deref()).await?;
    let user = grant.known.then(|| gateway.connections.identify(&grant.authority.principal.id)).transpose()?;
    let watch = gateway.identity.watch(&grant, &name);
    let connection = attach(gateway, &name, &grant, dialect, socket.outbox(), &Bytes::new()).await?;
    Ok((connection, watch, user))
}

/// Finds out who this is and what they may do with the document.
pub(crate) async fn admit(
    gateway: &Gateway,
    document: &str,
    token: Option<&str>,
    origin: Option<&str>,
) -> Result<(DocumentName, Grant), Close> {
    let name = DocumentName::parse(document).map_err(|error| Close::new(4404, error.to_string()))?;
    let admitted = identity::admit(gateway, token, origin, &name).await;
    let grant = admitted.map_err(|refusal| Close::new(refusal.close_code(), refusal.message()))?;
    Ok((name, grant))
}

/// Connects a client to a document, under an address of its socket.
pub(crate) async fn attach(
    gateway: &Gateway,
    name: &DocumentName,
    grant: &Grant,
    dialect: Dialect,
    outbox: &Arc<Outbox>,
    address: &Bytes,
) -> Result<Connection, Close> {
    // A document that unloads at this very moment is opened again.
    for _ in 0..3 {
        let handle = document_of(gateway, name).await?;
        match handle.connect(grant.authority.clone(), grant.known, dialect, outbox.lane(address.clone())).await {
            Err(Error::Closed) => tokio::task::yield_now().await,
            connected => return connected.map_err(|error| refusal(&error)),
        }
    }
    Err(close_of(&CloseReason::Stopping))
}

/// Opens a document, and the room around it.
pub(crate) async fn document_of(gateway: &Gateway, name: &DocumentName) -> Result<DocumentHandle, Close> {
    let handle = gateway.rooms.document(name).await.map_err(|error| refusal(&error))?;
    if let Some(room) = room_of(name) {
        gateway.engine.room_opened(&room).await;
    }
    Ok(handle)
}

/// Carries messages until one side ends. Returns what to close with, or `None` if the client is gone.
async fn exchange(socket: &mut Socket, connection: Connection, mut watch: Watch) -> Option<Close> {
    loop {
        let event = tokio::select! {
            event = socket.next() => event,
            end = watch.ended() => return Some(Close::new(4401, end.message())),
        };
        match event {
            Event::Binary(frame) => {
                RECEIVED_BYTES.increment(frame.len() as u64);
                let step = tracing::trace_span!(target: "keystroke", "decode", bytes = frame.len());
                let messages = match step.in_scope(|| protocol::decode(&frame)) {
                    Ok(messages) => messages,
                    Err(error) => return Some(Close::new(1002, error.to_string())),
                };
                if let Err(close) = socket.held(messages.len().saturating_sub(1)) {
                    return Some(close);
                }
                for message in messages {
                    if connection.receive(message).await.is_err() {
                        // The document ended, and says why at once or has said so already.
                        return Some(why(socket, &connection).await);
                    }
                }
            }
            Event::Ended(lanes) => {
                if let Some(close) = end_of(&connection, &lanes) {
                    return Some(close);
                }
            }
            Event::Quiet => socket.outbox().message(&Bytes::new(), Bytes::from_static(protocol::KEEP_ALIVE)),
            Event::Wrong(close) => return Some(close),
            Event::Gone => return None,
            Event::Text(_) | Event::Drained => {}
        }
    }
}

/// Why the document ended, if it did: an attempt to connect that came to nothing ends too.
fn end_of(connection: &Connection, lanes: &[(ConnectionId, CloseReason)]) -> Option<Close> {
    let own = lanes.iter().find(|(id, _)| *id == connection.id());
    own.map(|(_, reason)| close_of(reason))
}

/// Waits for the reason why a document ended.
async fn why(socket: &mut Socket, connection: &Connection) -> Close {
    loop {
        match socket.next().await {
            Event::Ended(lanes) => {
                if let Some(close) = end_of(connection, &lanes) {
                    return close;
                }
            }
            Event::Binary(_) | Event::Text(_) | Event::Quiet | Event::Drained => {}
            Event::Wrong(_) | Event::Gone => return close_of(&CloseReason::Stopping),
        }
    }
}

fn room_of(name: &DocumentName) -> Option<RoomId> {
    match name.kind() {
        Kind::File { room, .. } | Kind::Tree { room } | Kind::Runs { room } => RoomId::parse(room),
        Kind::Plain => None,
    }
}

pub(crate) fn refusal(error: &Error) -> Close {
    match error {
        Error::NoSuchRoom(_) | Error::NoSuchDocument(_) | Error::NoSuchNode | Error::Deleted => {
            Close::new(4404, error.to_string())
        }
        Error::Closed => close_of(&CloseReason::Stopping),
        error => {
            tracing::error!(%error, "a document could not be opened");
            close_of(&CloseReason::Failed)
        }
    }
}
