//! A broadcast relay without any CRDT, on tokio-tungstenite: the limit that a Yjs server can be compared with.
//!
//! It forwards every binary message to the other members of the path it came by, and answers each SyncStep1 with an empty
//! SyncStep2 so that clients count as synchronised. It keeps nothing, limits next to nothing, and echoes nothing: do not put it on a
//! network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Messages that wait for one member. Past it the member is disconnected.
const MAX_WAITING: usize = 65_536;

/// Messages written before the socket is flushed.
const MAX_BATCH: usize = 256;

const STEP_1: &[u8] = &[0, 0];
const STEP_2: &[u8] = &[0, 1];
const EMPTY_STEP_2: &[u8] = &[0, 1, 2, 0, 0];

type Members = HashMap<u64, mpsc::Sender<Message>>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let rooms = Rooms::default();
    let mut members = JoinSet::new();
    for id in 0.. {
        let (stream, _) = listener.accept().await?;
        members.spawn(serve_member(rooms.clone(), id, stream));
        while members.try_join_next().is_some() {}
    }
    Ok(())
}

async fn serve_member(rooms: Rooms, id: u64, stream: TcpStream) {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let callback = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    // A small buffer to read: memory per connection is one of the things compared. What is written gathers until it is flushed.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let _ = stream.set_nodelay(true);
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async_with_config(stream, callback, Some(config)).await else {
        return;
    };
    let (sender, mut waiting) = mpsc::channel(MAX_WAITING);
    lock(&rooms).entry(path.clone()).or_default().insert(id, sender);
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { break };
                let Message::Binary(bytes) = &message else { continue };
                if bytes.starts_with(STEP_1) {
                    if socket.send(Message::binary(EMPTY_STEP_2)).await.is_err() {
                        break;
                    }
                } else if !bytes.starts_with(STEP_2) {
                    forward(&rooms, &path, id, &message);
                }
            }
            first = waiting.recv() => {
                let Some(first) = first else { break };
                let write = async {
                    socket.feed(first).await?;
                    for _ in 1..MAX_BATCH {
                        let Some(Some(message)) = waiting.recv().now_or_never() else { break };
                        socket.feed(message).await?;
                    }
                    socket.flush().await
                };
                if write.await.is_err() {
                    break;
                }
            }
        }
    }
    let mut rooms = lock(&rooms);
    if let Some(members) = rooms.get_mut(&path) {
        members.remove(&id);
        if members.is_empty() {
            rooms.remove(&path);
        }
    }
}

fn forward(rooms: &Rooms, path: &str, from: u64, message: &Message) {
    if let Some(members) = lock(rooms).get_mut(path) {
        members.retain(|id, member| *id == from || member.try_send(message.clone()).is_ok());
    }
}

fn lock(rooms: &Rooms) -> std::sync::MutexGuard<'_, HashMap<String, Members>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}
