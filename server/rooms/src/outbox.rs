//! The queue of frames that wait to be sent to one connection.
//!
//! **Invariant:** a queue never grows past its bounds and never drops a frame in silence: a reader that
//! falls behind is closed with a reason that makes it synchronise again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Most frames that wait for one connection. Past it the connection is closed as too slow.
#[cfg(not(test))]
pub const MAX_FRAMES: usize = 4096;
#[cfg(test)]
pub const MAX_FRAMES: usize = 16;

/// Most bytes that wait for one connection; a single larger frame still passes when nothing else
/// waits. Past it the connection is closed as too slow.
pub const MAX_BYTES: usize = 16 << 20;

/// Why the server ends a connection. `gateway` chooses the close code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The client sent something that breaks the protocol.
    Malformed(String),
    /// The client reads more slowly than the document changes.
    TooSlow,
    /// The document was deleted.
    Gone,
    /// The document could not be stored or loaded; connecting again loads it anew.
    Failed,
    /// The server is stopping.
    Stopping,
}

/// The sending end, owned by the document's actor.
#[derive(Debug)]
pub struct Outbox {
    frames: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
}

/// The receiving end, owned by the connection.
#[derive(Debug)]
pub struct Inbox {
    frames: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    reason: OnceLock<CloseReason>,
}

/// A new queue.
pub fn outbox() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(MAX_FRAMES);
    let shared = Arc::new(Shared::default());
    (Outbox { frames: sender, shared: shared.clone() }, Inbox { frames: receiver, shared })
}

/// The queue is full, or the connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Outbox {
    /// Queues a frame.
    pub fn push(&self, frame: Bytes) -> Result<(), Full> {
        let len = frame.len();
        let waiting = self.shared.bytes.fetch_add(len, Ordering::Relaxed);
        if waiting > 0 && waiting + len > MAX_BYTES {
            return Err(Full);
        }
        self.frames.try_send(frame).map_err(|_| Full)
    }

    /// Ends the connection after what is queued was sent.
    pub fn close(self, reason: CloseReason) {
        let _ = self.shared.reason.set(reason);
    }
}

impl Inbox {
    /// The next frame, or why there will be none. Who reads too slowly gets nothing more of the queue: it would only
    /// delay the moment from which on they are heard again. Cancel-safe.
    pub async fn next(&mut self) -> Result<Bytes, CloseReason> {
        if self.shared.reason.get() == Some(&CloseReason::TooSlow) {
            return Err(CloseReason::TooSlow);
        }
        match self.frames.recv().await {
            Some(frame) => {
                self.shared.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
                Ok(frame)
            }
            None => Err(self.shared.reason.get().cloned().unwrap_or(CloseReason::Failed)),
        }
    }

    /// A frame that waits already, without waiting for one.
    pub fn try_next(&mut self) -> Option<Bytes> {
        let frame = self.frames.try_recv().ok()?;
        self.shared.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_in_order_and_then_the_reason() {
        let (outbox, mut inbox) = outbox();
        outbox.push(Bytes::from_static(b"a")).expect("room");
        outbox.push(Bytes::from_static(b"b")).expect("room");
        outbox.close(CloseReason::Gone);
        assert_eq!(inbox.next().await, Ok(Bytes::from_static(b"a")));
        assert_eq!(inbox.next().await, Ok(Bytes::from_static(b"b")));
        assert_eq!(inbox.next().await, Err(CloseReason::Gone));
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_at_once() {
        let (outbox, mut inbox) = outbox();
        outbox.push(Bytes::from_static(b"a")).expect("room");
        outbox.close(CloseReason::TooSlow);
        assert_eq!(inbox.next().await, Err(CloseReason::TooSlow));
    }

    #[tokio::test]
    async fn both_bounds_hold_and_one_large_frame_passes() {
        let (small, _inbox) = outbox();
        for _ in 0..MAX_FRAMES {
            small.push(Bytes::from_static(b"x")).expect("room");
        }
        assert_eq!(small.push(Bytes::from_static(b"x")), Err(Full));
        let (large, _inbox) = outbox();
        large.push(Bytes::from(vec![0; MAX_BYTES + 1])).expect("alone");
        assert_eq!(large.push(Bytes::from_static(b"x")), Err(Full));
    }
}
