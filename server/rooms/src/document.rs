//! One document as a pure state machine: input and `now` in, effects out.
//!
//! It decides what happens to every message: what is applied, who hears of it, what is logged and when
//! that may be acknowledged. It has no socket, disk, clock or task; [`crate::actor`] owns it and performs
//! its effects, in order.
//!
//! **Invariant:** an acknowledgement (an echo to the sender, a save-status, a [`Effect::Done`]) is emitted only after
//! the update it covers is durable.
//! **Invariant:** a projected document's change is broadcast only after it is durable (see `docs/architecture.md`).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use buildspaces_crdt::protocol::{self, Message};
use buildspaces_crdt::replica::{self, Applied};
use buildspaces_crdt::{Replica, awareness};
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_policy::{Authority, Capability, Principal};
use bytes::Bytes;
use serde_json::Value;

use crate::outbox::CloseReason;
use crate::ports::StoredDocument;
use crate::presence::Presence;

/// Who may write a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everyone who may edit.
    Shared,
    /// The server alone.
    Projected,
}

/// Names a request of this process that waits for its update to be durable.
pub type Ticket = u64;

/// Something that happens to a document.
#[derive(Debug)]
pub enum Input {
    /// `stamp`: the server knows who this is and says so in awareness.
    Connected {
        peer: ConnectionId,
        authority: Authority,
        stamp: bool,
    },
    Received {
        peer: ConnectionId,
        message: Message,
    },
    Disconnected {
        peer: ConnectionId,
    },
    /// An update made in this process (workspace mirror).
    Submitted {
        by: Principal,
        update: Bytes,
        ticket: Ticket,
    },
    /// The text becomes another one, by few edits.
    Replaced {
        by: Principal,
        text: String,
        ticket: Ticket,
    },
    /// The server sets (`Some`) and removes (`None`) keys of a map.
    Projected {
        map: &'static str,
        entries: Vec<(String, Option<Value>)>,
        ticket: Ticket,
    },
    /// The log holds every update up to `seq`.
    Durable {
        seq: u64,
    },
    /// Time passed.
    Tick,
}

/// What must be done, in this order.
#[derive(PartialEq, Eq, Debug)]
pub enum Effect {
    Send {
        to: ConnectionId,
        frame: Bytes,
    },
    Broadcast {
        except: Option<ConnectionId>,
        frame: Bytes,
    },
    /// Append to the log. Numbers rise by one.
    Append {
        seq: u64,
        by: Principal,
        update: Bytes,
    },
    Close {
        peer: ConnectionId,
        reason: CloseReason,
    },
    /// Somebody changed the document.
    Edited {
        by: Principal,
    },
    Done {
        ticket: Ticket,
        result: Result<(), Refused>,
    },
    /// The replica is not to be trusted any more: load the document again.
    Broken {
        cause: String,
    },
}

/// Why an update of this process was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    Malformed(String),
    /// It builds on something this document has not seen.
    Missing,
}

#[derive(Debug)]
struct Peer {
    authority: Authority,
    stamp: bool,
    /// We asked for what this peer has and nothing of it could be applied since. Asking again would only
    /// repeat the answer.
    asked: bool,
    /// The last save-status that came while `asked`: it covers what could not be applied yet.
    held: Option<Bytes>,
}

#[derive(Debug)]
enum Waiting {
    Send { to: ConnectionId, frame: Bytes },
    Broadcast(Bytes),
    Done(Ticket),
}

/// The state machine.
#[derive(Debug)]
pub struct Document {
    access: Access,
    replica: Replica,
    presence: Presence,
    peers: HashMap<ConnectionId, Peer>,
    /// Number of the last update that was handed to the log.
    seq: u64,
    /// Number of the last update that is durable.
    durable: u64,
    /// What is held back until the log has reached a number.
    waiting: VecDeque<(u64, Waiting)>,
    /// The answer to a newcomer who has nothing, as it was at a number: shared by a storm of joins.
    full_state: Option<(u64, Bytes)>,
}

impl Document {
    /// Rebuilds a document from what is stored.
    pub fn load(access: Access, stored: &StoredDocument) -> Result<Self, String> {
        let mut replica = Replica::new();
        let snapshot = stored.snapshot.iter().map(|(_, state)| state);
        for update in snapshot.chain(&stored.updates) {
            match replica.apply(update) {
                Ok(Applied::Changed | Applied::Nothing) => {}
                Ok(Applied::Missing) => return Err("an update of the log builds on one that is not there".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Self {
            access,
            replica,
            presence: Presence::default(),
            peers: HashMap::new(),
            seq: stored.seq,
            durable: stored.seq,
            waiting: VecDeque::new(),
            full_state: None,
        })
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Number of the last update that was handed to the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// True if nobody is connected and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.peers.is_empty() && self.waiting.is_empty() && self.seq == self.durable
    }

    /// Takes one input and appends what must be done to `effects`.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Connected { peer, authority, stamp } => self.connected(peer, authority, stamp, effects),
            Input::Received { peer, message } => self.received(now, peer, message, effects),
            Input::Disconnected { peer } => {
                self.peers.remove(&peer);
                let gone = self.presence.disconnect(peer);
                self.tell(&gone, effects);
            }
            Input::Submitted { by, update, ticket } => self.submitted(by, update, ticket, effects),
            Input::Replaced { by, text, ticket } => {
                if let Some(update) = self.replica.set_text(buildspaces_crdt::text::ROOT, &text) {
                    self.accepted(by, update.into(), effects);
                }
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Input::Projected { map, entries, ticket } => {
                if let Some(update) = self.replica.set_map(map, &entries) {
                    let update = Bytes::from(update);
                    let frame = protocol::update(&update);
                    self.append(Principal::system(), update, effects);
                    self.waiting.push_back((self.seq, Waiting::Broadcast(frame)));
                }
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Input::Durable { seq } => {
                self.durable = self.durable.max(seq);
                while self.waiting.front().is_some_and(|(at, _)| *at <= self.durable) {
                    let (_, waiting) = self.waiting.pop_front().expect("the front was there");
                    effects.push(waiting.into_effect());
                }
            }
            Input::Tick => {
                let gone = self.presence.expire(now);
                self.tell(&gone, effects);
            }
        }
    }

    fn connected(&mut self, peer: ConnectionId, authority: Authority, stamp: bool, effects: &mut Vec<Effect>) {
        self.peers.insert(peer, Peer { authority, stamp, asked: false, held: None });
        effects.push(Effect::Send { to: peer, frame: protocol::sync_step_1(&self.replica.state_vector()) });
        let present = self.presence.all();
        if !present.is_empty() {
            effects.push(Effect::Send { to: peer, frame: awareness_frame(&present) });
        }
    }

    fn received(&mut self, now: Instant, peer: ConnectionId, message: Message, effects: &mut Vec<Effect>) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        match message {
            Message::SyncStep1(state_vector) => match self.answer(&state_vector) {
                Ok(frame) => effects.push(Effect::Send { to: peer, frame }),
                Err(error) => effects.push(malformed(peer, error.to_string())),
            },
            Message::SyncStep2(update) => self.edited(peer, update, true, effects),
            Message::Update(update) => self.edited(peer, update, false, effects),
            Message::Awareness(bytes) => match awareness::decode(&bytes) {
                Ok(entries) => {
                    let Peer { authority, stamp, .. } = &self.peers[&peer];
                    let told = self.presence.announce(now, peer, &authority.principal, *stamp, entries);
                    self.tell(&told, effects);
                }
                Err(error) => effects.push(malformed(peer, error.to_string())),
            },
            Message::QueryAwareness => {
                effects.push(Effect::Send { to: peer, frame: awareness_frame(&self.presence.all()) });
            }
            Message::SaveStatus(payload) => {
                let may_write = self.may_write(peer);
                let state = self.peers.get_mut(&peer).expect("looked above");
                if state.asked {
                    state.held = Some(payload);
                } else if may_write {
                    let frame = protocol::save_status(&payload);
                    self.when_durable(Waiting::Send { to: peer, frame }, effects);
                }
            }
        }
    }

    /// An update from a connected client.
    fn edited(&mut self, from: ConnectionId, update: Bytes, is_answer: bool, effects: &mut Vec<Effect>) {
        if !self.may_write(from) {
            // Every client answers our SyncStep1 with all it has; that alone is no attempt to write.
            if !is_answer {
                let reason = match self.access {
                    Access::Projected => "this document is written by the server; use the API to change it",
                    Access::Shared => "your role may read this document, not change it",
                };
                effects.push(Effect::Send { to: from, frame: protocol::permission_denied(reason) });
            }
            return;
        }
        let peer = self.peers.get_mut(&from).expect("the caller looked");
        match self.replica.apply_foreign(&update) {
            Ok(Applied::Changed) => {
                peer.asked = false;
                let held = peer.held.take();
                let by = peer.authority.principal.clone();
                let frame = protocol::update(&update);
                effects.push(Effect::Broadcast { except: Some(from), frame: frame.clone() });
                self.append(by.clone(), update, effects);
                self.waiting.push_back((self.seq, Waiting::Send { to: from, frame }));
                self.acknowledge_held(from, held, effects);
                effects.push(Effect::Edited { by });
            }
            Ok(Applied::Nothing) => {
                peer.asked = false;
                let held = peer.held.take();
                self.acknowledge_held(from, held, effects);
                if !is_answer {
                    // Known already, for instance sent twice around a reconnect. It still wants its echo.
                    let frame = protocol::update(&update);
                    self.when_durable(Waiting::Send { to: from, frame }, effects);
                }
            }
            Ok(Applied::Missing) => {
                if !peer.asked {
                    peer.asked = true;
                    let frame = protocol::sync_step_1(&self.replica.state_vector());
                    effects.push(Effect::Send { to: from, frame });
                }
            }
            Err(replica::Error::Malformed(error)) => effects.push(malformed(from, error.to_string())),
            Err(replica::Error::Broken(cause)) => {
                effects.push(malformed(from, "an update that cannot be integrated".to_owned()));
                effects.push(Effect::Broken { cause });
            }
        }
    }

    fn submitted(&mut self, by: Principal, update: Bytes, ticket: Ticket, effects: &mut Vec<Effect>) {
        let refused = |refused| Effect::Done { ticket, result: Err(refused) };
        match self.replica.apply(&update) {
            Ok(Applied::Changed) => {
                self.accepted(by, update, effects);
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Ok(Applied::Nothing) => self.when_durable(Waiting::Done(ticket), effects),
            Ok(Applied::Missing) => effects.push(refused(Refused::Missing)),
            Err(replica::Error::Malformed(error)) => effects.push(refused(Refused::Malformed(error.to_string()))),
            Err(replica::Error::Broken(cause)) => {
                effects.push(refused(Refused::Malformed(cause.clone())));
                effects.push(Effect::Broken { cause });
            }
        }
    }

    fn may_write(&self, peer: ConnectionId) -> bool {
        self.access == Access::Shared
            && self.peers.get(&peer).is_some_and(|peer| peer.authority.check(Capability::EditDocuments).is_ok())
    }

    fn acknowledge_held(&mut self, to: ConnectionId, held: Option<Bytes>, effects: &mut Vec<Effect>) {
        if let Some(payload) = held {
            self.when_durable(Waiting::Send { to, frame: protocol::save_status(&payload) }, effects);
        }
    }

    /// An update of this process took effect.
    fn accepted(&mut self, by: Principal, update: Bytes, effects: &mut Vec<Effect>) {
        effects.push(Effect::Broadcast { except: None, frame: protocol::update(&update) });
        self.append(by.clone(), update, effects);
        effects.push(Effect::Edited { by });
    }

    fn append(&mut self, by: Principal, update: Bytes, effects: &mut Vec<Effect>) {
        self.seq += 1;
        effects.push(Effect::Append { seq: self.seq, by, update });
    }

    /// Emits `waiting` once everything so far is durable, which may be now.
    fn when_durable(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        if self.durable == self.seq {
            effects.push(waiting.into_effect());
        } else {
            self.waiting.push_back((self.seq, waiting));
        }
    }

    fn tell(&self, entries: &[awareness::Entry], effects: &mut Vec<Effect>) {
        if !entries.is_empty() {
            effects.push(Effect::Broadcast { except: None, frame: awareness_frame(entries) });
        }
    }

    /// The answer to a SyncStep1.
    fn answer(&mut self, state_vector: &[u8]) -> Result<Bytes, buildspaces_crdt::Malformed> {
        const NOTHING: &[u8] = &[0];
        if state_vector != NOTHING {
            return self.replica.diff(state_vector).map(|update| protocol::sync_step_2(&update));
        }
        match &self.full_state {
            Some((seq, frame)) if *seq == self.seq => Ok(frame.clone()),
            _ => {
                let frame = protocol::sync_step_2(&self.replica.state());
                self.full_state = Some((self.seq, frame.clone()));
                Ok(frame)
            }
        }
    }
}

impl Waiting {
    fn into_effect(self) -> Effect {
        match self {
            Self::Send { to, frame } => Effect::Send { to, frame },
            Self::Broadcast(frame) => Effect::Broadcast { except: None, frame },
            Self::Done(ticket) => Effect::Done { ticket, result: Ok(()) },
        }
    }
}

fn awareness_frame(entries: &[awareness::Entry]) -> Bytes {
    protocol::awareness(&awareness::encode(entries.iter()))
}

fn malformed(peer: ConnectionId, reason: String) -> Effect {
    Effect::Close { peer, reason: CloseReason::Malformed(reason) }
}

#[cfg(test)]
mod tests;
