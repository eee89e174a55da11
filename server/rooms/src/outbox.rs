//! What waits to be sent through one socket, and the way it is sent: at once, by whoever has something to send.
//!
//! A document's actor queues frames while it performs a turn's effects and then calls [`Lane::flush`], which writes them to the
//! socket in one system call. No task is woken for that. Only what the socket does not take is left to the connection's own
//! task, which waits for [`Outbox::changed`] and calls [`Outbox::drain`] when the socket takes more.
//!
//! A socket may carry several documents. Each has a [`Lane`] that writes under an *address*, the bytes that stand before each of
//! its frames; y-websocket has none. It knows nothing of WebSocket: [`Wire`] frames and writes.
//!
//! **Invariant:** a queue never grows past its bounds and never drops a frame in silence: a reader that falls behind is closed
//! with a reason that makes it synchronise again. Behind a socket that takes no more, updates are merged and presence is kept as
//! the latest word of each client, so that falling behind takes long.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_crdt::{awareness, protocol};
use buildspaces_kernel::ids::ConnectionId;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use tokio::sync::Notify;

use crate::meters;

/// Bytes of presence that wait for one socket. Past it the oldest states are dropped: newer ones follow anyway.
const MAX_PRESENCE_BYTES: usize = 1 << 20;

/// What a frame that waits takes besides its body, about.
const FRAME_OVERHEAD: usize = 128;

/// Frames that leave in one system call.
const MAX_BATCH: usize = 64;

/// Slices of a frame: the transport's header, the address, the body.
const SLICES: usize = 3;

/// Slices of one system call where little waits, which is nearly always, and where much does. To clear room for many takes longer than all else
/// that is done for one frame.
const FEW_SLICES: usize = 2 * SLICES;
const MANY_SLICES: usize = MAX_BATCH * SLICES;

/// Bytes written to one socket before others have their turn. What a class joins a large document with would otherwise hold up everybody
/// else for as long as the sockets' buffers take to fill.
pub const FAIR_BYTES: usize = 64 << 10;

/// Updates of a document that are merged into one as soon as so many wait, which makes room for more. The work stays in proportion to
/// what comes, however long a reader is behind.
const MERGE_AT_ONCE: usize = 256;

/// Frames of other documents that are looked past for one to merge an update with.
const LOOK_BACK: usize = 8;

/// Why the server ends a document's connection. `gateway` chooses the close code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The client sent something that breaks the protocol.
    Malformed(String),
    /// The client reads more slowly than the document changes, or asks for more than it reads.
    TooSlow,
    /// What the client sent would make the document larger than it may be.
    TooLarge,
    /// What the client sent would keep the server busy for too long.
    TooMuch,
    /// The document was deleted.
    Gone,
    /// The document could not be stored or loaded; connecting again loads it anew.
    Failed,
    /// The server is stopping.
    Stopping,
}

/// What a transport puts before a message: at most 14 bytes, as WebSocket has.
#[derive(Clone, Copy, Default, Debug)]
pub struct Header {
    bytes: [u8; 14],
    len: u8,
}

impl Header {
    pub fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The sending half of a socket. Never blocks.
pub trait Wire: Send + Sync + 'static {
    /// What stands before a message of `len` bytes.
    fn header(&self, len: usize) -> Header;

    /// Writes a part of `slices`, in order, and returns how many bytes. [`io::ErrorKind::WouldBlock`]: nothing now.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// The queue is full, or the connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// What a connection's task has to look after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// It has to wait for the socket and then [`Outbox::drain`].
    pub is_blocked: bool,
    pub is_broken: bool,
    /// [`Outbox::take_closed`] has something.
    pub has_closed: bool,
}

/// What became of an [`Outbox::drain`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Nothing waits.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// There is more, but it is the others' turn.
    More,
    /// The socket is broken.
    Broken,
}

#[derive(Debug)]
enum Item {
    /// Updates that become one, as far as they fit into a frame, when the socket takes them.
    Updates(Waiting),
    Message(Bytes),
    /// A part of a document's state. Its bytes are shared with everyone who joins.
    State(Bytes),
    /// Written by the transport itself, header and all.
    Raw(Bytes),
}

/// Updates of one document, in their order. The first are merged ones.
#[derive(Debug, Default)]
struct Waiting {
    updates: SmallVec<[Bytes; 1]>,
    /// How many of them, at the end, were not merged yet.
    fresh: usize,
}

impl Waiting {
    /// Returns how much less waits after merging, if it came to that.
    fn push(&mut self, update: Bytes) -> usize {
        self.updates.push(update);
        self.fresh += 1;
        if self.fresh < MERGE_AT_ONCE {
            return 0;
        }
        self.fresh = 0;
        let first = self.updates.len() - MERGE_AT_ONCE;
        self.merge(first)
    }

    fn merge(&mut self, first: usize) -> usize {
        let parts = &self.updates[first..];
        let Some(merged) = protocol::merge_updates(parts) else { return 0 };
        let Some(freed) = parts.iter().map(weight).sum::<usize>().checked_sub(weight(&merged)) else { return 0 };
        self.updates.truncate(first);
        self.updates.push(merged);
        freed
    }

    /// What becomes the next frame.
    fn next(&mut self) -> SmallVec<[Bytes; 1]> {
        let mut bytes = 0;
        let fits = |update: &&Bytes| {
            bytes += update.len();
            bytes <= FAIR_BYTES
        };
        let count = self.updates.iter().take(MERGE_AT_ONCE).take_while(fits).count().max(1);
        self.fresh = self.fresh.min(self.updates.len() - count);
        self.updates.drain(..count).collect()
    }
}

#[derive(Debug)]
struct Queued {
    address: Bytes,
    item: Item,
}

/// A frame on its way.
#[derive(Debug)]
struct Frame {
    header: Header,
    address: Bytes,
    body: Bytes,
    /// It counts as a part of a document's state.
    is_state: bool,
}

/// The latest that one client said of itself, encoded.
#[derive(Debug)]
struct Spoken {
    address: Bytes,
    client: u64,
    entry: Bytes,
}

#[derive(Debug, Default)]
struct State {
    /// Frames that are being written, the first of them from `written` on.
    leaving: VecDeque<Frame>,
    written: usize,
    queue: VecDeque<Queued>,
    /// Oldest first. In use only while the socket takes nothing.
    presence: VecDeque<Spoken>,
    presence_bytes: usize,
    /// The weight of what waits in `queue` and `leaving`, apart from documents' states.
    bytes: usize,
    /// Parts of documents' states that wait.
    state_bytes: usize,
    /// The socket took no more: its own task goes on.
    blocked: bool,
    broken: bool,
    closed: Vec<(ConnectionId, CloseReason)>,
    /// Bytes that the socket has taken so far.
    sent: u64,
    /// What waited when that was measured last.
    measured: usize,
}

/// See the module.
pub struct Outbox {
    wire: Box<dyn Wire>,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Notify,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// One document's way into an [`Outbox`], owned by the document's actor. Dropped without a word it ends the document's connection as
/// [`CloseReason::Failed`]: the actor is gone.
#[derive(Debug)]
pub struct Lane {
    outbox: Arc<Outbox>,
    id: ConnectionId,
    address: Bytes,
    /// Somebody has said how it ends.
    has_ended: bool,
}

impl Outbox {
    /// `max_bytes`: what may wait before the reader counts as too slow. A single larger frame passes when nothing else waits.
    pub fn new(wire: Box<dyn Wire>, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { wire, max_bytes, state: Mutex::default(), changed: Notify::new() })
    }

    /// A document's lane. Its id names it in [`Outbox::take_closed`].
    pub fn lane(self: &Arc<Self>, address: Bytes) -> Lane {
        Lane { outbox: self.clone(), id: ConnectionId::new(), address, has_ended: false }
    }

    /// Sends a message of the transport's own, such as the answer to an authentication.
    pub fn message(&self, address: &Bytes, body: Bytes) {
        self.own(address.clone(), weight(&body), Item::Message(body));
    }

    /// Sends bytes that need no header.
    pub fn raw(&self, bytes: Bytes) {
        self.own(Bytes::new(), weight(&bytes), Item::Raw(bytes));
    }

    fn own(&self, address: Bytes, weight: usize, item: Item) {
        let mut state = self.lock();
        state.bytes += weight;
        state.queue.push_back(Queued { address, item });
        if state.bytes > self.max_bytes.saturating_mul(2) {
            // Somebody asks on and on and reads none of the answers.
            state.broken = true;
        }
        self.write(&mut state, usize::MAX);
    }

    /// Completes when the socket takes no more, broke, or a lane was closed. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the connection's task has to do.
    pub fn condition(&self) -> Condition {
        let state = self.lock();
        Condition { is_blocked: state.blocked, is_broken: state.broken, has_closed: !state.closed.is_empty() }
    }

    /// Bytes that the socket has taken so far. When it rises there is life.
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }

    /// Lanes that were closed since the last call, and why.
    pub fn take_closed(&self) -> Vec<(ConnectionId, CloseReason)> {
        std::mem::take(&mut self.lock().closed)
    }

    /// Forgets what waits, apart from the rest of a frame that has begun.
    pub fn abandon(&self) {
        let mut state = self.lock();
        let keep = usize::from(state.written > 0);
        state.leaving.truncate(keep);
        state.queue.clear();
        state.presence.clear();
        let (mut bytes, mut state_bytes) = (0, 0);
        for frame in &state.leaving {
            *(if frame.is_state { &mut state_bytes } else { &mut bytes }) += weight(&frame.body);
        }
        (state.bytes, state.state_bytes, state.presence_bytes) = (bytes, state_bytes, 0);
        state.measure();
    }

    /// Writes about `budget` bytes of what waits. Called by the connection's task once the socket takes more.
    pub fn drain(&self, budget: usize) -> Drained {
        let mut state = self.lock();
        state.blocked = false;
        self.write(&mut state, budget)
    }

    fn write(&self, state: &mut State, budget: usize) -> Drained {
        let drained = self.write_all(state, budget);
        state.measure();
        drained
    }

    fn write_all(&self, state: &mut State, mut budget: usize) -> Drained {
        loop {
            if state.broken {
                return Drained::Broken;
            }
            if state.blocked {
                return Drained::Blocked;
            }
            if state.leaving.is_empty() && !self.fill(state) {
                return Drained::Empty;
            }
            if budget == 0 {
                // The task goes on after the others had their turn.
                state.blocked = true;
                self.changed.notify_one();
                return Drained::More;
            }
            let result = match state.leaving.len() * SLICES {
                0..=FEW_SLICES => self.write_once::<FEW_SLICES>(state, budget),
                _ => self.write_once::<MANY_SLICES>(state, budget),
            };
            match result {
                Ok((written, all)) => {
                    budget = budget.saturating_sub(written);
                    if all {
                        continue;
                    }
                    state.blocked = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    state.broken = true;
                    state.queue.clear();
                    state.leaving.clear();
                    state.presence.clear();
                }
            }
            self.changed.notify_one();
        }
    }

    /// One system call, of at most `N` slices. Returns how many bytes the socket took, and whether that is all it was offered.
    fn write_once<const N: usize>(&self, state: &mut State, budget: usize) -> io::Result<(usize, bool)> {
        let mut slices = [IoSlice::new(&[]); N];
        let (mut count, mut offered, mut skip) = (0, 0, state.written);
        let frames = state.leaving.iter().take(N / SLICES);
        for part in frames.flat_map(|frame| [frame.header.as_slice(), &frame.address, &frame.body]) {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let part = &part[skip..];
            let part = &part[..part.len().min(budget - offered)];
            skip = 0;
            slices[count] = IoSlice::new(part);
            count += 1;
            offered += part.len();
            if offered == budget {
                break;
            }
        }
        let step = tracing::trace_span!(target: "keystroke", "write_once", bytes = offered);
        let written = step.in_scope(|| self.wire.try_write(&slices[..count]))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        state.took(written);
        meters::SENT_BYTES.increment(written as u64);
        Ok((written, written == offered))
    }

    /// Moves what waits into `leaving`. False if nothing waits.
    fn fill(&self, state: &mut State) -> bool {
        // Merging takes as long as there are bytes, and whoever queues waits meanwhile.
        let mut bytes = 0;
        while state.leaving.len() < MAX_BATCH && bytes < FAIR_BYTES {
            let Some(Queued { address, item }) = state.queue.pop_front() else { break };
            let before = state.leaving.len();
            match item {
                Item::Message(body) => self.leave(state, address, body, false),
                Item::State(body) => self.leave(state, address, body, true),
                Item::Raw(body) => {
                    let header = Header::default();
                    state.leaving.push_back(Frame { header, address, body, is_state: false });
                }
                Item::Updates(mut waiting) => {
                    let bodies = waiting.next();
                    if !waiting.updates.is_empty() {
                        let item = Item::Updates(waiting);
                        state.queue.push_front(Queued { address: address.clone(), item });
                    }
                    let merged = if bodies.len() > 1 { protocol::merge_updates(&bodies) } else { None };
                    match merged {
                        Some(merged) => {
                            state.bytes += weight(&merged);
                            state.bytes -= bodies.iter().map(weight).sum::<usize>();
                            self.leave(state, address, merged, false);
                        }
                        None => bodies.into_iter().for_each(|body| self.leave(state, address.clone(), body, false)),
                    }
                }
            }
            bytes += state.leaving.range(before..).map(|frame| frame.body.len()).sum::<usize>();
        }
        if state.leaving.is_empty() && !state.presence.is_empty() {
            self.fill_presence(state);
        }
        !state.leaving.is_empty()
    }

    fn fill_presence(&self, state: &mut State) {
        state.presence_bytes = 0;
        let mut spoken: Vec<Spoken> = state.presence.drain(..).collect();
        // By document; within one the order does not matter.
        spoken.sort_by(|a, b| a.address.cmp(&b.address));
        for group in spoken.chunk_by(|a, b| a.address == b.address) {
            let body = protocol::awareness(&awareness::join(group.iter().map(|spoken| &spoken.entry[..])));
            let address = group[0].address.clone();
            state.bytes += weight(&body);
            self.leave(state, address, body, false);
        }
    }

    fn leave(&self, state: &mut State, address: Bytes, body: Bytes, is_state: bool) {
        let header = self.wire.header(address.len() + body.len());
        state.leaving.push_back(Frame { header, address, body, is_state });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

impl State {
    /// Nothing waits.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.leaving.is_empty() && self.presence.is_empty()
    }

    /// Tells how much waits. That is nothing after nearly every write, and nothing new to tell then.
    fn measure(&mut self) {
        let waits = if self.broken { 0 } else { self.bytes + self.state_bytes + self.presence_bytes };
        if waits != self.measured {
            meters::OUTBOX_BYTES.increment(waits as f64 - self.measured as f64);
            self.measured = waits;
        }
    }

    /// The socket took `bytes` of what is leaving.
    fn took(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.written += bytes;
        while let Some(frame) = self.leaving.front() {
            let len = usize::from(frame.header.len) + frame.address.len() + frame.body.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            let counted = if frame.is_state { &mut self.state_bytes } else { &mut self.bytes };
            *counted -= weight(&frame.body);
            self.leaving.pop_front();
        }
    }

    fn speak(&mut self, address: &Bytes, client: u64, entry: Bytes) {
        let same = |spoken: &Spoken| spoken.client == client && spoken.address == *address;
        if let Some(at) = self.presence.iter().position(same) {
            let older = self.presence.remove(at).expect("it was found there");
            self.presence_bytes -= older.entry.len();
        }
        self.presence_bytes += entry.len();
        self.presence.push_back(Spoken { address: address.clone(), client, entry });
        while self.presence_bytes > MAX_PRESENCE_BYTES {
            let Some(oldest) = self.presence.pop_front() else { break };
            self.presence_bytes -= oldest.entry.len();
        }
    }
}

impl Lane {
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues an update message; it may be merged with others.
    pub(crate) fn update(&self, body: Bytes) -> Result<(), Full> {
        self.push(weight(&body), 0, |state| {
            if state.is_idle() {
                // It leaves at once, or is the first to wait.
                return self.outbox.leave(state, self.address.clone(), body, false);
            }
            // Only neighbours of one document may be merged; what lies between of other documents does not matter.
            let own = state.queue.iter_mut().rev().take(LOOK_BACK).find(|queued| queued.address == self.address);
            match own.map(|queued| &mut queued.item) {
                Some(Item::Updates(waiting)) => state.bytes -= waiting.push(body),
                _ => {
                    let item = Item::Updates(Waiting { updates: smallvec![body], fresh: 1 });
                    state.queue.push_back(Queued { address: self.address.clone(), item });
                }
            }
        })
    }

    /// Queues a message that keeps its place.
    pub(crate) fn message(&self, body: Bytes) -> Result<(), Full> {
        self.push(weight(&body), 0, |state| {
            state.queue.push_back(Queued { address: self.address.clone(), item: Item::Message(body) });
        })
    }

    /// Queues parts of the document's state, which others share. However large, one state passes when no other waits.
    pub(crate) fn state(&self, parts: impl Iterator<Item = Bytes>) -> Result<(), Full> {
        for (index, body) in parts.enumerate() {
            // The first part decides.
            let first = if index == 0 { weight(&body) } else { 0 };
            self.push(0, first, |state| {
                state.state_bytes += weight(&body) - first;
                state.queue.push_back(Queued { address: self.address.clone(), item: Item::State(body) });
            })?;
        }
        Ok(())
    }

    /// Queues an awareness message. While the socket takes nothing only the latest state of each client is kept.
    pub(crate) fn presence(&self, body: &Bytes) -> Result<(), Full> {
        if !self.outbox.condition().is_blocked {
            return self.message(body.clone());
        }
        let mut state = self.outbox.lock();
        if let Some(entries) = protocol::awareness_payload(body).and_then(|payload| awareness::split(&payload)) {
            for (client, entry) in entries {
                state.speak(&self.address, client, entry);
            }
        }
        Ok(())
    }

    /// Writes what is queued, as far as the socket takes it and up to [`FAIR_BYTES`]; the connection's task writes the rest.
    pub(crate) fn flush(&self) {
        let mut state = self.outbox.lock();
        self.outbox.write(&mut state, FAIR_BYTES);
    }

    /// Ends the document's connection; the connection's task says so to the client after what is queued was sent.
    pub fn close(mut self, reason: CloseReason) {
        self.end(reason);
    }

    /// The client has left the document.
    pub(crate) fn leave(mut self) {
        self.has_ended = true;
    }

    fn end(&mut self, reason: CloseReason) {
        self.has_ended = true;
        // What broke while it was locked has ended the connection's task too.
        if let Ok(mut state) = self.outbox.state.lock() {
            state.closed.push((self.id, reason));
            self.outbox.changed.notify_one();
        }
    }

    fn push(&self, weight: usize, state_weight: usize, queue: impl FnOnce(&mut State)) -> Result<(), Full> {
        let _step = tracing::trace_span!(target: "keystroke", "push", weight = weight + state_weight).entered();
        let mut state = self.outbox.lock();
        if state.broken {
            // The connection's task is about to end; until then there is nobody to send to.
            return Ok(());
        }
        let full = |waiting: usize, more: usize| more > 0 && waiting > 0 && waiting + more > self.outbox.max_bytes;
        if full(state.bytes, weight) || full(state.state_bytes, state_weight) {
            return Err(Full);
        }
        state.bytes += weight;
        state.state_bytes += state_weight;
        queue(&mut state);
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.measured > 0 {
            meters::OUTBOX_BYTES.decrement(self.measured as f64);
        }
    }
}

/// What a body counts for while it waits: small ones are mostly what holds them.
fn weight(body: &Bytes) -> usize {
    body.len() + FRAME_OVERHEAD
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(CloseReason::Failed);
        }
    }
}

#[cfg(test)]
mod tests;
