//! A socket without a network: what an outbox writes, frame by frame. It can be made to take less, or nothing.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};

use crate::outbox::{CloseReason, Drained, Header, Outbox, Wire};

/// Bytes that may wait in the outboxes made here.
pub const MAX_BYTES: usize = 1 << 20;

/// The receiving end.
#[derive(Debug)]
pub struct Inbox {
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    written: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    /// How much more the socket takes; `None`: anything.
    room: Option<usize>,
    calls: usize,
}

struct MemoryWire(Arc<Shared>);

/// An outbox and what reads from it.
pub fn outbox() -> (Arc<Outbox>, Inbox) {
    let shared = Arc::new(Shared::default());
    let outbox = Outbox::new(Box::new(MemoryWire(shared.clone())), MAX_BYTES);
    (outbox.clone(), Inbox { outbox, shared })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

impl Wire for MemoryWire {
    fn header(&self, len: usize) -> Header {
        let mut header = Header::default();
        header.push(&(len as u32).to_be_bytes());
        header
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.calls += 1;
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = offered.min(state.room.unwrap_or(usize::MAX));
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = taken;
        for slice in slices {
            let part = left.min(slice.len());
            state.bytes.extend_from_slice(&slice[..part]);
            left -= part;
        }
        if let Some(room) = &mut state.room {
            *room -= taken;
        }
        self.0.written.notify_one();
        Ok(taken)
    }
}

impl Inbox {
    /// From now on the socket takes so many bytes more; `None`: anything.
    pub fn set_room(&self, room: Option<usize>) {
        self.shared.lock().room = room;
    }

    /// What a connection's task does when its socket takes more.
    pub fn drain(&self) -> Drained {
        self.outbox.drain(usize::MAX)
    }

    /// System calls so far.
    pub fn calls(&self) -> usize {
        self.shared.lock().calls
    }

    /// A frame that is there, without waiting for one.
    pub fn try_next(&mut self) -> Option<Bytes> {
        let mut state = self.shared.lock();
        let len = u32::from_be_bytes(state.bytes.get(..4)?.try_into().expect("four bytes")) as usize;
        if state.bytes.len() < 4 + len {
            return None;
        }
        let _header = state.bytes.split_to(4);
        Some(state.bytes.split_to(len).freeze())
    }

    /// The next frame, or why there will be none.
    pub async fn next(&mut self) -> Result<Bytes, CloseReason> {
        loop {
            if let Some(frame) = self.try_next() {
                return Ok(frame);
            }
            if let Some((_, reason)) = self.outbox.take_closed().pop() {
                return Err(reason);
            }
            tokio::select! {
                () = self.shared.written.notified() => {}
                () = self.outbox.changed() => {}
            }
        }
    }
}
