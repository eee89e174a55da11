//! Connections to programs in a sandbox, each by way of a connection to the agent that is this tunnel's alone.
//!
//! Once the agent has said that the program is reached, bytes go through the socket as they are; whoever does not read holds up
//! whoever writes, and nothing is kept here but what came along with the agent's answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buildspaces_plans::ports::NotConnected;
use buildspaces_sandbox_agent::protocol::{Event, Line, Request};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::link::{Connection, Link};
use crate::steps::{answer, name_of, plain};

/// Tunnels of one sandbox at the same time: as many as its agent makes. One more waits, for at most [`PATIENCE`].
const MAX_TUNNELS: usize = 64;

/// How long everything together may take until there is a tunnel.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tunnels of one sandbox.
#[derive(Debug)]
pub(crate) struct Tunnels(Arc<Semaphore>);

impl Default for Tunnels {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_TUNNELS)))
    }
}

impl Tunnels {
    /// Connects to `port` of the sandbox. Cancel-safe: what was begun is hung up.
    pub(crate) async fn connect(&self, link: &Link, port: u16) -> Result<Tunnel, NotConnected> {
        let permit = timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.map_err(|_| NotConnected::TooMany)?.expect("never closed");
        let connected = timeout(PATIENCE, connect(link, port)).await;
        let (stream, rest) = connected.map_err(|_| NotConnected::Slow)??.into_parts();
        Ok(Tunnel { rest: rest.into(), stream, _permit: permit })
    }
}

async fn connect(link: &Link, port: u16) -> Result<Connection, NotConnected> {
    loop {
        let mut connection = link.connection(Line::Tunnel).await;
        match answer(&mut connection, &Request::Connect { port }).await {
            Ok(Event::Connected) => return Ok(connection),
            Ok(Event::Unreachable { reason }) => {
                link.park(Line::Tunnel, connection);
                return Err(NotConnected::Refused(plain(&reason)));
            }
            Ok(other) => tracing::debug!(answer = name_of(&other), "an agent does not make a tunnel"),
            // It had waited for long; the agent dials anew.
            Err(broken) => tracing::debug!(%broken, "a tunnel's connection is of no use"),
        }
    }
}

/// One connection to a program.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Read before anything else.
    rest: Bytes,
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.has_remaining() {
            let now = self.rest.len().min(buffer.remaining());
            buffer.put_slice(&self.rest.split_to(now));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
