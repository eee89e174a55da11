//! One document as a pure state machine: input and `now` in, effects out.
//!
//! It decides what happens to every message: what is applied, who hears of it, what is logged and when
//! that may be acknowledged. It has no socket, disk, clock or task; [`crate::actor`] owns it and performs
//! its effects, in order.
//!
//! Inputs come in *turns*. What a turn's updates lead to is emitted at its end ([`Document::end_turn`], in [`turn`]): one broadcast and few
//! records, however many updates there were. An idle document's turn is one input, so nothing waits.
//!
//! **Invariant:** an acknowledgement (an echo to the sender, a save-status, a SyncStatus, a [`Effect::Done`]) is emitted only after
//! the update it covers is durable.
//! **Invariant:** a projected document's change is broadcast only after it is durable (see `docs/architecture.md`).

mod joins;
mod reads;
mod size;
mod turn;
mod waiting;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_crdt::protocol::{self, Message, hocuspocus};
use buildspaces_crdt::replica::{self, Applied};
use buildspaces_crdt::{Malformed, Replica, awareness};
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_policy::{Authority, Capability, Principal};
use bytes::Bytes;
use serde_json::Value;

use crate::outbox::CloseReason;
use crate::ports::StoredDocument;
use crate::presence::Presence;
use joins::FullState;
use reads::Reads;
use size::Size;
use turn::Turn;
use waiting::Waiting;

/// Presence messages may take this part of a core: a pause follows each that is as many times longer than it took.
const PRESENCE_SHARE: u32 = 5;

/// What sending one frame to one receiver takes, about.
const SEND_COST: Duration = Duration::from_micros(10);

/// How often one client may ask who is here, when that is much.
const QUERY_EVERY: Duration = Duration::from_secs(1);
const MUCH_PRESENCE: usize = 16 << 10;

/// So few receivers hear of presence at once.
const FEW_RECEIVERS: usize = 8;

/// Clients of whom others are told at once, unless more are there.
const MOST_UNTOLD: usize = 4096;

/// Who may write a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everyone who may edit.
    Shared,
    /// The server alone.
    Projected,
}

/// What a client expects besides the messages that all protocols share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// An update comes back to its sender: its acknowledgement.
    YWebsocket,
    /// The client asks with message 102.
    YSweet,
    /// Each update is answered with one SyncStatus. The client speaks first.
    Hocuspocus,
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
        dialect: Dialect,
    },
    /// The same connection under another authority: a token was renewed.
    Authorized {
        peer: ConnectionId,
        authority: Authority,
    },
    Received {
        peer: ConnectionId,
        message: Message,
    },
    /// A message of the application's own to everyone else; Hocuspocus clients alone have these.
    Stateless {
        peer: ConnectionId,
        payload: Bytes,
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
    /// An update from outside that did not come over a connection (REST).
    Proposed {
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
    /// The log takes no more: its disk is full, or too much waits for it. Until it does again, documents are only read.
    LogStuck(bool),
    /// Time passed.
    Tick,
}

/// Whom a frame is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipients {
    All,
    AllBut(Vec<ConnectionId>),
    /// Those of one dialect, without the one who sent it.
    Others {
        dialect: Dialect,
        than: ConnectionId,
    },
}

/// What must be done, in this order.
#[derive(PartialEq, Eq, Debug)]
pub enum Effect {
    Send {
        to: ConnectionId,
        frame: Bytes,
    },
    /// The document's whole state, in parts that everyone who joins shares.
    SendState {
        to: ConnectionId,
        frames: Arc<[Bytes]>,
    },
    /// An update for one: several that wait are merged.
    SendUpdate {
        to: ConnectionId,
        frame: Bytes,
    },
    /// An update for many.
    Broadcast {
        to: Recipients,
        frame: Bytes,
    },
    /// A message for many that keeps its place.
    Announce {
        to: Recipients,
        frame: Bytes,
    },
    /// Who is where: only the latest counts.
    Presence {
        frame: Bytes,
    },
    /// An update did not take effect; why, in a word for whoever counts.
    Refused(&'static str),
    /// The same, because what was sent breaks this rule.
    BrokeRule(&'static str),
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
    /// The log takes no more.
    Unsaved,
    /// The document would be larger than it may be.
    TooLarge,
}

#[derive(Debug)]
struct Peer {
    authority: Authority,
    stamp: bool,
    dialect: Dialect,
    behind: Behind,
    /// The last save-status that came while we are `behind`: it covers what could not be applied yet.
    held: Option<Bytes>,
    /// Updates that could not be applied yet and are owed a SyncStatus each.
    owed: u32,
    /// What somebody who may not write tried; unknown until they answered the server's SyncStep1.
    writes: Option<Writes>,
    /// When it asked last who is here.
    queried: Option<Instant>,
}

/// Whether we lack something that a peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Behind {
    No,
    /// We asked for what this peer has. Asking again would only repeat the answer, and that brings everything sent before it.
    Asked,
    /// Its answer builds on something that it lacks itself, when the document stood at this number. Somebody else may bring that.
    Gap(u64),
    /// What it sent came while the log takes no more; we ask once it does.
    Later,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writes {
    None,
    /// What they wrote is not saved and never will be, so nothing says that it is.
    Refused,
}

/// The state machine.
#[derive(Debug)]
pub struct Document {
    access: Access,
    replica: Replica,
    presence: Presence,
    /// What others must be told of presence, and when that was done last.
    untold: BTreeMap<u64, awareness::Entry>,
    told: Option<Instant>,
    peers: HashMap<ConnectionId, Peer>,
    turn: Turn,
    /// Number of the last update that was handed to the log, or will be at the turn's end.
    seq: u64,
    /// Number of the last update that is durable.
    durable: u64,
    /// What is held back until the log has reached a number.
    waiting: VecDeque<(u64, Waiting)>,
    waiting_bytes: usize,
    full_state: Option<FullState>,
    reads: Reads,
    is_log_stuck: bool,
    size: Size,
}

impl Document {
    /// Rebuilds a document from what is stored.
    pub fn load(access: Access, stored: &StoredDocument) -> Result<Self, String> {
        let snapshot = stored.snapshot.as_ref().map(|(_, state)| state);
        let replica = Replica::load(snapshot, &stored.updates).map_err(|error| error.to_string())?;
        // With nothing behind it the snapshot is what a newcomer gets.
        let full_state = snapshot.filter(|_| stored.updates.is_empty()).map(|state| FullState::new(state));
        Ok(Self {
            access,
            replica,
            presence: Presence::default(),
            untold: BTreeMap::new(),
            told: None,
            peers: HashMap::new(),
            turn: Turn::default(),
            seq: stored.seq,
            durable: stored.seq,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            full_state,
            reads: Reads::default(),
            is_log_stuck: false,
            size: Size::new(stored.bytes()),
        })
    }

    /// The same, which does not grow past so many bytes by what comes from outside.
    pub fn with_limit(mut self, max_bytes: usize) -> Self {
        self.size.max = max_bytes;
        self
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Number of the last update that was handed to the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn dialect(&self, peer: ConnectionId) -> Option<Dialect> {
        self.peers.get(&peer).map(|peer| peer.dialect)
    }

    /// True while clients' updates are left with them, see [`Input::LogStuck`].
    pub(crate) fn is_log_stuck(&self) -> bool {
        self.is_log_stuck
    }

    /// What it has, at most, as an update that brings all of it.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size.bytes
    }

    /// What is held back until the log has it, in bytes.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// True if the end of a turn may read all of the document.
    pub(crate) fn has_questions(&self) -> bool {
        self.reads.has_put_off()
    }

    /// True if nobody is connected and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.peers.is_empty() && self.waiting.is_empty() && self.seq == self.durable
    }

    /// Takes one input and appends what must be done to `effects`. What follows from updates comes with [`Document::end_turn`].
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Connected { peer, authority, stamp, dialect } => {
                self.connected(peer, authority, stamp, dialect, effects);
            }
            Input::Authorized { peer, authority } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.authority = authority;
                }
            }
            Input::Received { peer, message } => self.received(now, peer, message, effects),
            Input::Stateless { peer, payload } => {
                if self.may_write(peer) {
                    let to = Recipients::Others { dialect: Dialect::Hocuspocus, than: peer };
                    effects.push(Effect::Announce { to, frame: hocuspocus::stateless(&payload) });
                }
            }
            Input::Disconnected { peer } => {
                self.peers.remove(&peer);
                self.reads.forget(peer);
                self.no_longer_waits(|_, waiting| waiting.is_for(peer));
                let gone = self.presence.disconnect(now, peer);
                self.tell(gone);
            }
            Input::Submitted { by, update, ticket } => {
                let applied = self.replica.apply(&update);
                self.submitted(applied, by, update, ticket, effects);
            }
            Input::Proposed { ticket, .. } | Input::Replaced { ticket, .. } if self.is_log_stuck => {
                effects.push(Effect::Refused("unsaved"));
                effects.push(Effect::Done { ticket, result: Err(Refused::Unsaved) });
            }
            Input::Proposed { update, ticket, .. } if !self.has_room_for(now, &update) => {
                effects.push(Effect::Refused("too_large"));
                effects.push(Effect::Done { ticket, result: Err(Refused::TooLarge) });
            }
            Input::Proposed { by, update, ticket } => {
                // What a document begins with may be all of another one.
                let is_first = self.replica.is_empty();
                let replica = &mut self.replica;
                let applied = if is_first { replica.apply_whole(&update) } else { replica.apply_foreign(&update) };
                self.submitted(applied, by, update, ticket, effects);
            }
            Input::Replaced { by, text, ticket } => {
                if let Some(update) = self.replica.set_text(buildspaces_crdt::text::ROOT, &text) {
                    self.accepted(None, by, update.into(), effects);
                }
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Input::Projected { map, entries, ticket } => {
                if let Some(update) = self.replica.set_map(map, &entries) {
                    self.end_updates(effects);
                    let update = Bytes::from(update);
                    let frame = protocol::update(&update);
                    self.seq += 1;
                    self.changed(&update);
                    effects.push(Effect::Append { seq: self.seq, by: Principal::system(), update });
                    self.wait(Waiting::Broadcast(frame));
                }
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Input::Durable { seq } => {
                let _step = tracing::trace_span!(target: "keystroke", "Durable", seq).entered();
                self.durable = self.durable.max(seq);
                while self.waiting.front().is_some_and(|(at, _)| *at <= self.durable) {
                    let (_, waiting) = self.waiting.pop_front().expect("the front was there");
                    self.waiting_bytes -= waiting.bytes();
                    effects.push(waiting.into_effect());
                }
            }
            Input::LogStuck(is_stuck) => {
                self.is_log_stuck = is_stuck;
                if !is_stuck {
                    self.ask_for_the_rest(effects);
                }
            }
            Input::Tick => {
                let gone = self.presence.expire(now);
                self.tell(gone);
                self.reads.tick(now);
                self.replica.rest();
                self.ask_again(effects);
            }
        }
    }

    /// Emits what the inputs since the last call lead to.
    pub fn end_turn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.end_updates(effects);
        for (peer, state_vector) in self.reads.due(now) {
            self.asked(now, peer, state_vector, effects);
        }
        if !self.untold.is_empty() && self.presence_due().is_none_or(|due| due <= now) {
            self.told = Some(now);
            let entries: Vec<awareness::Entry> = std::mem::take(&mut self.untold).into_values().collect();
            effects.push(Effect::Presence { frame: awareness_frame(&entries) });
        }
    }

    /// When the document wants to end a turn even if nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        let presence = if self.untold.is_empty() { None } else { self.presence_due() };
        [presence, self.reads.wake_at()].into_iter().flatten().min()
    }

    /// When others may be told of presence again; `None`: at once.
    fn presence_due(&self) -> Option<Instant> {
        let receivers = self.peers.len();
        if receivers <= FEW_RECEIVERS {
            return None;
        }
        let took = SEND_COST.saturating_mul(receivers as u32);
        self.told.map(|told| told + took.saturating_mul(PRESENCE_SHARE))
    }

    fn connected(
        &mut self,
        peer: ConnectionId,
        authority: Authority,
        stamp: bool,
        dialect: Dialect,
        effects: &mut Vec<Effect>,
    ) {
        let new =
            Peer { authority, stamp, dialect, behind: Behind::No, held: None, owed: 0, writes: None, queried: None };
        self.peers.insert(peer, new);
        if dialect != Dialect::Hocuspocus {
            effects.push(Effect::Send { to: peer, frame: protocol::sync_step_1(&self.replica.state_vector()) });
        }
        let present = self.presence.all();
        if !present.is_empty() {
            effects.push(Effect::Send { to: peer, frame: awareness_frame(&present) });
        }
    }

    fn received(&mut self, now: Instant, peer: ConnectionId, message: Message, effects: &mut Vec<Effect>) {
        let Some(known) = self.peers.get(&peer) else { return };
        match message {
            Message::SyncStep1(state_vector) => {
                if known.dialect == Dialect::Hocuspocus {
                    effects.push(Effect::Send { to: peer, frame: protocol::sync_step_1(&self.replica.state_vector()) });
                }
                self.asked(now, peer, state_vector, effects);
            }
            Message::SyncStep2(update) => self.edited(now, peer, update, true, effects),
            Message::Update(update) => self.edited(now, peer, update, false, effects),
            Message::Awareness(bytes) => match awareness::decode(&bytes) {
                Ok(entries) => {
                    let told = self.presence.announce(now, peer, &known.authority.principal, known.stamp, entries);
                    self.tell(told);
                }
                Err(error) => malformed(peer, error, effects),
            },
            Message::QueryAwareness => {
                let is_soon = known.queried.is_some_and(|at| now < at + QUERY_EVERY);
                // Whoever asks again is told of changes anyway.
                if !is_soon || self.presence.bytes() < MUCH_PRESENCE {
                    effects.push(Effect::Send { to: peer, frame: awareness_frame(&self.presence.all()) });
                    self.peers.get_mut(&peer).expect("looked above").queried = Some(now);
                }
            }
            Message::SaveStatus(payload) => {
                let may_write = self.may_write(peer);
                let state = self.peers.get_mut(&peer).expect("looked above");
                if state.behind != Behind::No {
                    state.held = Some(payload);
                } else if may_write || state.writes == Some(Writes::None) {
                    // While nothing is saved, a later one brings an earlier one too.
                    let seq = self.seq;
                    self.no_longer_waits(|at, waiting| {
                        at == seq && matches!(waiting, Waiting::Saved { to, .. } if *to == peer)
                    });
                    let frame = protocol::save_status(&payload);
                    self.when_durable(Waiting::Saved { to: peer, frame }, effects);
                }
            }
        }
    }

    /// An update from a connected client.
    fn edited(&mut self, now: Instant, from: ConnectionId, update: Bytes, is_answer: bool, effects: &mut Vec<Effect>) {
        if !tracing::trace_span!(target: "keystroke", "check").in_scope(|| self.may_write(from)) {
            self.refuse(now, from, &update, is_answer, effects);
            return;
        }
        let _step = tracing::trace_span!(target: "keystroke", "edited").entered();
        if self.is_log_stuck {
            effects.push(Effect::Refused("unsaved"));
            self.peers.get_mut(&from).expect("the caller looked").lacks(Behind::Later);
            return;
        }
        if !self.has_room_for(now, &update) {
            effects.push(Effect::Refused("too_large"));
            effects.push(Effect::Close { peer: from, reason: CloseReason::TooLarge });
            return;
        }
        let step = tracing::trace_span!(target: "keystroke", "apply", bytes = update.len());
        let applied = step.in_scope(|| self.replica.apply_foreign(&update));
        let peer = self.peers.get_mut(&from).expect("the caller looked");
        match applied {
            Ok(Applied::Changed) => {
                let by = peer.authority.principal.clone();
                self.accepted(Some(from), by, update, effects);
                self.acknowledge(from, is_answer, effects);
            }
            Ok(Applied::Nothing) => {
                let wants_echo = peer.dialect == Dialect::YWebsocket && !is_answer;
                self.acknowledge(from, is_answer, effects);
                if wants_echo {
                    // Known already, for instance sent twice around a reconnect. It still wants its echo.
                    let frame = protocol::update(&update);
                    self.when_durable(Waiting::SendUpdate { to: from, frame }, effects);
                }
            }
            Ok(Applied::Missing) => {
                effects.push(Effect::Refused("missing"));
                if is_answer && peer.behind == Behind::Asked {
                    peer.lacks(Behind::Gap(self.seq));
                } else if peer.lacks(Behind::Asked) {
                    let frame = protocol::sync_step_1(&self.replica.state_vector());
                    effects.push(Effect::Send { to: from, frame });
                }
            }
            Err(replica::Error::Malformed(error)) => malformed(from, error, effects),
            Err(replica::Error::TooMuch) => {
                effects.push(Effect::Refused("too_much"));
                effects.push(Effect::Close { peer: from, reason: CloseReason::TooMuch });
            }
            Err(replica::Error::Broken(cause)) => {
                let reason = CloseReason::Malformed("an update that cannot be integrated".to_owned());
                effects.push(Effect::Refused("broken"));
                effects.push(Effect::Close { peer: from, reason });
                effects.push(Effect::Broken { cause });
            }
        }
    }

    /// Answers an update of somebody who may not write.
    fn refuse(&mut self, now: Instant, from: ConnectionId, update: &Bytes, is_answer: bool, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        // Every client answers our SyncStep1 with all it has; that alone is no attempt to write. It does so once.
        let may_look = peer.writes.is_none() || self.reads.take(now, from, self.size.bytes);
        let is_attempt = !(is_answer && may_look && self.replica.knows(update));
        if is_attempt {
            peer.writes = Some(Writes::Refused);
            effects.push(Effect::Refused("read_only"));
        } else {
            peer.writes.get_or_insert(Writes::None);
        }
        let frame = match peer.dialect {
            Dialect::Hocuspocus => hocuspocus::sync_status(!is_attempt),
            _ if is_answer && !is_attempt => return,
            Dialect::YWebsocket | Dialect::YSweet => protocol::permission_denied(match self.access {
                Access::Projected => "this document is written by the server; use the API to change it",
                Access::Shared => "your role may read this document, not change it",
            }),
        };
        effects.push(Effect::Send { to: from, frame });
    }

    fn submitted(
        &mut self,
        applied: Result<Applied, replica::Error>,
        by: Principal,
        update: Bytes,
        ticket: Ticket,
        effects: &mut Vec<Effect>,
    ) {
        let refused = |refused| Effect::Done { ticket, result: Err(refused) };
        match applied {
            Ok(Applied::Changed) => {
                self.accepted(None, by, update, effects);
                self.when_durable(Waiting::Done(ticket), effects);
            }
            Ok(Applied::Nothing) => self.when_durable(Waiting::Done(ticket), effects),
            Ok(Applied::Missing) => {
                effects.push(Effect::Refused("missing"));
                effects.push(refused(Refused::Missing));
            }
            Err(error @ (replica::Error::Malformed(_) | replica::Error::TooMuch)) => {
                effects.push(match error {
                    replica::Error::Malformed(Malformed(rule)) => Effect::BrokeRule(rule),
                    _ => Effect::Refused("too_much"),
                });
                effects.push(refused(Refused::Malformed(error.to_string())));
            }
            Err(replica::Error::Broken(cause)) => {
                effects.push(Effect::Refused("broken"));
                effects.push(refused(Refused::Malformed(cause.clone())));
                effects.push(Effect::Broken { cause });
            }
        }
    }

    fn may_write(&self, peer: ConnectionId) -> bool {
        self.access == Access::Shared
            && self.peers.get(&peer).is_some_and(|peer| peer.authority.check(Capability::EditDocuments).is_ok())
    }

    /// Asks everyone whose updates could not be taken for what we lack.
    fn ask_for_the_rest(&mut self, effects: &mut Vec<Effect>) {
        let frame = protocol::sync_step_1(&self.replica.state_vector());
        for (to, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.behind == Behind::Later) {
            peer.behind = Behind::Asked;
            effects.push(Effect::Send { to: *to, frame: frame.clone() });
        }
    }

    /// Asks those again whose answer had a gap that may be filled now.
    fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        for (to, peer) in &mut self.peers {
            if matches!(peer.behind, Behind::Gap(at) if at != self.seq) {
                peer.behind = Behind::Asked;
                effects.push(Effect::Send { to: *to, frame: protocol::sync_step_1(&self.replica.state_vector()) });
            }
        }
    }

    /// What `to` sent has taken effect: says so once it is durable. An answer brings what we lacked; anything else may, for instance a
    /// deletion, without a word of that.
    fn acknowledge(&mut self, to: ConnectionId, is_answer: bool, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let (held, owed) = if is_answer || peer.behind == Behind::No {
            peer.behind = Behind::No;
            (peer.held.take(), std::mem::take(&mut peer.owed))
        } else {
            (None, 0)
        };
        let statuses = if peer.dialect == Dialect::Hocuspocus { owed + 1 } else { 0 };
        for _ in 0..statuses {
            self.when_durable(Waiting::Send { to, frame: hocuspocus::sync_status(true) }, effects);
        }
        if let Some(payload) = held {
            self.when_durable(Waiting::Saved { to, frame: protocol::save_status(&payload) }, effects);
        }
    }

    /// Emits `waiting` once everything so far is durable, which may be now.
    fn when_durable(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        if self.durable == self.seq {
            effects.push(waiting.into_effect());
        } else {
            self.wait(waiting);
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.bytes();
        self.waiting.push_back((self.seq, waiting));
    }

    fn no_longer_waits(&mut self, which: impl Fn(u64, &Waiting) -> bool) {
        let bytes = &mut self.waiting_bytes;
        self.waiting.retain(|(at, waiting)| {
            let goes = which(*at, waiting);
            *bytes -= if goes { waiting.bytes() } else { 0 };
            !goes
        });
    }

    fn tell(&mut self, entries: Vec<awareness::Entry>) {
        self.untold.extend(entries.into_iter().map(|entry| (entry.client, entry)));
        // Who comes and goes under more and more ids does not fill the next message: clients forget who is silent for 30 s.
        if self.untold.len() > MOST_UNTOLD.max(2 * self.presence.clients()) {
            self.untold.retain(|_, entry| entry.state.is_some());
        }
    }

    /// Remembers a change for the next newcomer.
    fn changed(&mut self, update: &Bytes) {
        self.size.grown(update);
        self.full_state = self.full_state.take().and_then(|state| state.with(update));
    }
}

impl Peer {
    /// Something that it sent could not be applied. True if nothing was lacking before.
    fn lacks(&mut self, behind: Behind) -> bool {
        self.owed += u32::from(self.dialect == Dialect::Hocuspocus);
        let is_first = self.behind == Behind::No;
        if is_first || matches!(behind, Behind::Later | Behind::Gap(_)) {
            self.behind = behind;
        }
        is_first
    }
}

fn awareness_frame(entries: &[awareness::Entry]) -> Bytes {
    protocol::awareness(&awareness::encode(entries.iter()))
}

/// Ends the connection of whoever sent what breaks a rule.
fn malformed(peer: ConnectionId, error: Malformed, effects: &mut Vec<Effect>) {
    effects.push(Effect::BrokeRule(error.0));
    effects.push(Effect::Close { peer, reason: CloseReason::Malformed(error.to_string()) });
}

#[cfg(test)]
mod tests;
