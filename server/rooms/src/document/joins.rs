//! What those who join are answered: everything for who has nothing, and else what they lack.
//!
//! The whole state is written once and shared by all who join until it has changed much; a large one goes out in parts.

use std::sync::Arc;
use std::time::Instant;

use buildspaces_crdt::protocol::{self, Message};
use buildspaces_crdt::update;
use buildspaces_kernel::ids::ConnectionId;
use bytes::Bytes;

use super::{Access, Document, Effect, Waiting, malformed};

/// Size of the parts in which a large state is sent.
pub(super) const STATE_PART_BYTES: usize = 256 << 10;

/// What a change behind a kept state costs those who join, beside its bytes.
const CHANGE_WEIGHT: usize = 1 << 10;

/// The state vector of who has nothing.
const NOTHING: &[u8] = &[0];

impl Document {
    /// A client wants what it lacks.
    pub(super) fn asked(&mut self, now: Instant, from: ConnectionId, state_vector: Bytes, effects: &mut Vec<Effect>) {
        let is_newcomer = &state_vector[..] == NOTHING;
        if !is_newcomer && !self.reads.take(now, from, self.size.bytes) {
            self.reads.put_off(from, state_vector);
            return;
        }
        match self.answer(&state_vector) {
            // A newcomer must not see a projected change before it is durable either.
            Ok(frames) if self.access == Access::Projected => {
                self.when_durable(Waiting::SendState { to: from, frames }, effects);
            }
            Ok(frames) => effects.push(Effect::SendState { to: from, frames }),
            Err(error) => malformed(from, error, effects),
        }
    }

    /// All of the document, if newcomers are sent it as one update.
    pub(crate) fn state_of_newcomers(&self) -> Option<Bytes> {
        let FullState { frames, since, .. } = self.full_state.as_ref()?;
        let [frame] = &frames[..] else { return None };
        match protocol::decode(frame).as_deref() {
            Ok([Message::SyncStep2(state)]) if since.is_empty() => Some(state.clone()),
            _ => None,
        }
    }

    /// The answer to a SyncStep1.
    fn answer(&mut self, state_vector: &[u8]) -> Result<Arc<[Bytes]>, buildspaces_crdt::Malformed> {
        if state_vector != NOTHING {
            let update = self.replica.diff(state_vector)?;
            return Ok(parts(&update).into());
        }
        let full_state = self.full_state.get_or_insert_with(|| FullState::new(&self.replica.state()));
        Ok(full_state.frames())
    }
}

/// The answer to a newcomer who has nothing, shared by a storm of joins. While a large document is edited it is not written anew for
/// each newcomer: what was changed since goes behind it.
#[derive(Debug)]
pub(super) struct FullState {
    /// The last is a SyncStep2: with it the client has everything but `since`.
    frames: Vec<Bytes>,
    since: Vec<Bytes>,
    /// Bytes that may still be added before it is better written anew.
    room: usize,
}

impl FullState {
    pub(super) fn new(state: &[u8]) -> Self {
        let frames = parts(state);
        // A state of one part is written anew as quickly.
        let room = if frames.len() > 1 { state.len() / 8 } else { 0 };
        Self { frames, since: Vec::new(), room }
    }

    /// With `update` behind it; `None` if that is too much.
    pub(super) fn with(mut self, update: &Bytes) -> Option<Self> {
        self.room = self.room.checked_sub(update.len() + CHANGE_WEIGHT)?;
        self.since.push(update.clone());
        Some(self)
    }

    fn frames(&mut self) -> Arc<[Bytes]> {
        if !self.since.is_empty() {
            let since = update::merge(&std::mem::take(&mut self.since)).expect("what was accepted is well-formed");
            let last = self.frames.pop().expect("there is at least one");
            match protocol::decode(&last).as_deref() {
                Ok([Message::SyncStep2(last)]) => self.frames.push(protocol::update(last)),
                other => unreachable!("{other:?} is not what was put there"),
            }
            self.frames.push(protocol::sync_step_2(&since));
        }
        self.frames.as_slice().into()
    }
}

/// A large state in parts, so that a client on a slow link hears something before it gives up, and others are not kept waiting.
/// The last part is the SyncStep2: with it the client has everything.
fn parts(state: &[u8]) -> Vec<Bytes> {
    if state.len() <= STATE_PART_BYTES {
        return vec![protocol::sync_step_2(state)];
    }
    match update::split(state, STATE_PART_BYTES) {
        Ok(mut parts) if parts.len() > 1 => {
            let last = parts.pop().expect("there are several");
            let first = parts.iter().map(|part| protocol::update(part));
            first.chain([protocol::sync_step_2(&last)]).collect()
        }
        _ => vec![protocol::sync_step_2(state)],
    }
}
