//! One connection to an agent: requests out, frames in. Every byte that comes in is a stranger's.

use std::time::Duration;

use buildspaces_sandbox_agent::protocol::{Decoder, Error, Event, Frame, Request, encode_control, encode_input};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bytes read at once.
const READ: usize = 64 << 10;

/// How long the agent may take to make room for a request. It always reads, so one that does not is broken.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the agent closed the connection")]
    Closed,
    #[error("the agent does not read what it is sent")]
    Stuck,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the agent sent {0}")]
    Protocol(#[from] Error),
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), buffer: Vec::with_capacity(READ) }
    }

    /// Whether the other end has not hung up, as far as the kernel knows. To be asked of a connection that nobody uses.
    pub(crate) fn is_open(&self) -> bool {
        // A look at the next byte, which stays where it is.
        match rustix::net::recv(&self.stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, read)) => read > 0,
            Err(error) => error == Errno::AGAIN,
        }
    }

    /// Not cancel-safe: a request that was cut off in the middle spoils the connection.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<(), Broken> {
        self.write(&encode_control(request)?).await
    }

    /// Sends what was typed. Not cancel-safe either.
    pub(crate) async fn send_input(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.write(&encode_input(bytes)?).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), Broken> {
        match tokio::time::timeout(SEND_PATIENCE, self.stream.write_all(frame)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Broken::Stuck),
        }
    }

    /// The next frame. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> Result<Frame<Event>, Broken> {
        loop {
            if let Some(frame) = self.decoder.decode()? {
                return Ok(frame);
            }
            self.buffer.clear();
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Broken::Closed);
            }
            self.decoder.push(&self.buffer);
        }
    }
    /// The connection without frames, and what came of it already.
    pub(crate) fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }
}
