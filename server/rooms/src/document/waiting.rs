//! What is held back until the log has reached a number.

use std::sync::Arc;

use buildspaces_kernel::ids::ConnectionId;
use bytes::Bytes;

use super::{Effect, Recipients, Ticket};

#[derive(Debug)]
pub(super) enum Waiting {
    Send {
        to: ConnectionId,
        frame: Bytes,
    },
    /// A save-status.
    Saved {
        to: ConnectionId,
        frame: Bytes,
    },
    SendUpdate {
        to: ConnectionId,
        frame: Bytes,
    },
    SendState {
        to: ConnectionId,
        frames: Arc<[Bytes]>,
    },
    Broadcast(Bytes),
    Done(Ticket),
}

impl Waiting {
    pub(super) fn is_for(&self, peer: ConnectionId) -> bool {
        match self {
            Self::Send { to, .. }
            | Self::Saved { to, .. }
            | Self::SendUpdate { to, .. }
            | Self::SendState { to, .. } => *to == peer,
            Self::Broadcast(_) | Self::Done(_) => false,
        }
    }

    /// What it holds that is its own.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Send { frame, .. }
            | Self::Saved { frame, .. }
            | Self::SendUpdate { frame, .. }
            | Self::Broadcast(frame) => size_of::<Self>() + frame.len(),
            // Its frames are everybody's.
            Self::SendState { .. } | Self::Done(_) => size_of::<Self>(),
        }
    }

    pub(super) fn into_effect(self) -> Effect {
        match self {
            Self::Send { to, frame } | Self::Saved { to, frame } => Effect::Send { to, frame },
            Self::SendUpdate { to, frame } => Effect::SendUpdate { to, frame },
            Self::SendState { to, frames } => Effect::SendState { to, frames },
            Self::Broadcast(frame) => Effect::Broadcast { to: Recipients::All, frame },
            Self::Done(ticket) => Effect::Done { ticket, result: Ok(()) },
        }
    }
}
