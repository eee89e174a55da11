//! TCP connections to the port of calls, for people whose networks let no UDP pass (ICE-TCP, RFC 6544). Packets go in frames (RFC
//! 4571), and in and out of the same [`Inbox`] as datagrams do, so the crate does not know of it.
//!
//! Whose a connection is says its first frame, a check that proves to know a connection's password. Whoever proves nothing is sent
//! nothing, and is hung up on after one frame, or after a while. The gateway accepts and counts them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::mux::{Inbox, LARGEST, Mux};
use crate::meters;

/// A browser's first check has some 150 bytes. Frames of fewer than 1,024 begin with a byte that no HTTP request begins with.
const FIRST: usize = 1023;

/// How long the first frame may take.
const PROVED_WITHIN: Duration = Duration::from_secs(10);

/// How long nothing may come: browsers check a connection that they use every few seconds, and give it up after 30.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// Bytes that are read of one connection at once.
const CHUNK: usize = 16 << 10;

/// What the system may hold for somebody who takes it slowly: half a second of a large picture. What does not fit is dropped here,
/// because it would be late when it came.
const SEND_BUFFER: usize = 128 << 10;

/// Can a connection that begins with this byte be one of media?
pub fn is_media(first: u8) -> bool {
    usize::from(first) <= FIRST >> 8
}

/// One connection of somebody.
#[derive(Debug)]
pub(super) struct TcpConnection {
    socket: TcpStream,
    peer: SocketAddr,
    /// What of a frame the system has not taken yet. Never more than one frame: while there is something, others are dropped.
    tail: Mutex<Vec<u8>>,
    stuck: Notify,
    over: Notify,
}

impl TcpConnection {
    pub(super) fn new(socket: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        // A voice must not wait for more of it.
        socket.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        let (stuck, over) = (Notify::new(), Notify::new());
        Ok(Self { socket, peer, tail: Mutex::default(), stuck, over })
    }

    /// Brings what comes to whom it is for, until either has gone.
    pub(super) async fn carry(self: Arc<Self>, mux: &Mux) {
        let mut frames = Frames::default();
        let Ok(Some((inbox, first))) = timeout(PROVED_WITHIN, self.proof(&mut frames, mux)).await else {
            meters::TCP_STRANGE.increment(1);
            return;
        };
        if !inbox.join(&self) {
            return;
        }
        let _counted = meters::Open::tcp();
        inbox.put(first, self.peer);
        let mut heard = Instant::now();
        let mut silence = std::pin::pin!(sleep_until(heard + SILENT_FOR));
        loop {
            loop {
                match frames.next(LARGEST) {
                    Ok(Some(packet)) => inbox.put(packet, self.peer),
                    Ok(None) => break,
                    Err(TooLarge) => return,
                }
            }
            // Reading without waiting is not seen by the runtime: a flood would keep everything else from this thread.
            tokio::task::consume_budget().await;
            tokio::select! {
                () = self.over.notified() => return,
                read = self.read(&mut frames, CHUNK) => match read {
                    Ok(()) => heard = Instant::now(),
                    Err(_) => return,
                },
                _ = self.drain() => return,
                () = silence.as_mut() => {
                    if heard.elapsed() >= SILENT_FOR {
                        return;
                    }
                    silence.as_mut().reset(heard + SILENT_FOR);
                }
            }
        }
    }

    /// Whom the first frame is for, if it is a check that proves it.
    async fn proof(&self, frames: &mut Frames, mux: &Mux) -> Option<(Arc<Inbox>, Bytes)> {
        loop {
            if let Some(first) = frames.next(FIRST).ok()? {
                return Some((mux.proven(&first)?, first));
            }
            self.read(frames, FIRST + 2).await.ok()?;
        }
    }

    /// Cancel-safe.
    async fn read(&self, frames: &mut Frames, most: usize) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            frames.0.reserve(most);
            match self.socket.try_read_buf(&mut frames.0) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the whole packet some time, or nothing of it. Does not wait.
    pub(super) fn send(&self, packet: &[u8]) {
        let Ok(len) = u16::try_from(packet.len()) else { return };
        let head = len.to_be_bytes();
        let mut tail = self.tail.lock().expect("bytes are only pushed and taken");
        // What is left of the frame before goes first; the next frame would end up in its middle.
        if !tail.is_empty() {
            meters::TCP_DROPPED.increment(1);
            return;
        }
        match self.socket.try_write_vectored(&[IoSlice::new(&head), IoSlice::new(packet)]) {
            Ok(sent) if sent < head.len() + packet.len() => {
                tail.extend_from_slice(&head[sent.min(head.len())..]);
                tail.extend_from_slice(&packet[sent.saturating_sub(head.len())..]);
                self.stuck.notify_one();
            }
            Ok(_) => {}
            // Full, or gone, which whoever reads finds out.
            Err(_) => meters::TCP_DROPPED.increment(1),
        }
    }

    /// Hands the system the rest of frames, for ever. Cancel-safe.
    async fn drain(&self) -> io::Result<()> {
        loop {
            if self.tail.lock().expect("bytes are only pushed and taken").is_empty() {
                self.stuck.notified().await;
                continue;
            }
            self.socket.writable().await?;
            let mut tail = self.tail.lock().expect("bytes are only pushed and taken");
            match self.socket.try_write(&tail) {
                Ok(sent) => drop(tail.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Hangs up.
    pub(super) fn end(&self) {
        self.over.notify_one();
    }
}

/// What came, in frames: two bytes that say how long it is, and the packet.
#[derive(Default)]
struct Frames(BytesMut);

#[derive(PartialEq, Eq, Debug)]
struct TooLarge;

impl Frames {
    /// The next packet if all of it is there.
    fn next(&mut self, most: usize) -> Result<Option<Bytes>, TooLarge> {
        let Some(head) = self.0.first_chunk() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*head));
        if len > most {
            return Err(TooLarge);
        }
        if self.0.len() < 2 + len {
            return Ok(None);
        }
        self.0.advance(2);
        Ok(Some(self.0.split_to(len).freeze()))
    }
}

#[cfg(test)]
mod tests;
