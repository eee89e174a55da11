//! One document on a connection: how it is let in, what it has sent, and what of that is durable.

use std::collections::VecDeque;

use buildspaces_crdt::protocol::hocuspocus::client::{self, Said};
use buildspaces_crdt::protocol::{self, Message};
use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{awareness, update};
use bytes::Bytes;

use super::{Connection, DocumentId, Effect, State};
use crate::Document;
use crate::presence::Presence;

/// A state vector up to this size is sent with the token, which saves a round trip. The server keeps what comes before a token only
/// within bounds.
const EARLY_BYTES: usize = 4096;

/// What the server lacks is sent in parts of about this size, because it takes no frame above its limit.
const PART_BYTES: usize = 1 << 20;

/// How a document is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It has not asked on this connection.
    Away,
    /// It waits for a token from outside.
    Token,
    /// Its token is with the server.
    Asked,
    Open,
    Denied,
}

impl Stage {
    pub(super) fn is_opening(self) -> bool {
        matches!(self, Self::Token | Self::Asked)
    }

    pub(super) fn is_known_to_server(self) -> bool {
        matches!(self, Self::Asked | Self::Open)
    }
}

pub(super) struct Entry {
    id: DocumentId,
    pub(super) name: String,
    pub(super) address: Bytes,
    pub(super) document: Document,
    pub(super) presence: Presence,
    pub(super) stage: Stage,
    pub(super) state: State,
    reason: String,
    pub(super) unsaved: u64,
    /// What was sent on this connection and not answered: for each message, how many changes it makes durable. As long as the
    /// server takes to answer; the changes themselves are in the document, so this holds numbers only.
    in_flight: VecDeque<u64>,
    /// The server said on this connection what it has, and got the rest.
    has_told: bool,
    /// The server's state is in the document.
    is_synced: bool,
    /// We asked for what is missing and have no answer yet.
    has_asked: bool,
    /// The first SyncStep1 went with the token.
    is_early: bool,
    /// A token was refused and another one asked for; the next refusal counts.
    is_second_token: bool,
    /// The last number of unsaved changes that was told.
    told_unsaved: u64,
}

impl Entry {
    pub(super) fn new(id: DocumentId, name: String, address: Bytes, document: Document) -> Self {
        let presence = Presence::new(document.client_id());
        Self {
            id,
            name,
            address,
            document,
            presence,
            stage: Stage::Away,
            state: State::Offline,
            reason: String::new(),
            unsaved: 0,
            in_flight: VecDeque::new(),
            has_told: false,
            is_synced: false,
            has_asked: false,
            is_early: false,
            is_second_token: false,
            told_unsaved: 0,
        }
    }

    /// A message behind this document's address.
    pub(super) fn frame(&self, body: &[u8]) -> Bytes {
        [&self.address, body].concat().into()
    }

    fn send(&self, body: &[u8], effects: &mut Vec<Effect>) {
        effects.push(Effect::Send(self.frame(body)));
    }

    pub(super) fn ask_token(&mut self, effects: &mut Vec<Effect>) {
        self.stage = Stage::Token;
        effects.push(Effect::WantToken { document: self.id, because: None });
    }

    /// A token came from outside: to be let in, or to stay.
    pub(super) fn token(&mut self, token: &str, effects: &mut Vec<Effect>) {
        match self.stage {
            Stage::Token => {
                self.stage = Stage::Asked;
                self.send(&client::token(token), effects);
                let state_vector = self.document.state_vector();
                self.is_early = state_vector.len() <= EARLY_BYTES;
                if self.is_early {
                    self.send(&protocol::sync_step_1(&state_vector), effects);
                    self.has_asked = true;
                }
            }
            Stage::Open => self.send(&client::token(token), effects),
            Stage::Away | Stage::Asked | Stage::Denied => {}
        }
    }

    pub(super) fn deny(&mut self, reason: String) {
        self.stage = Stage::Denied;
        self.reason = reason;
        self.has_told = false;
        self.is_synced = false;
        self.has_asked = false;
        self.in_flight.clear();
    }

    pub(super) fn retry(&mut self) {
        if self.stage == Stage::Denied {
            self.stage = Stage::Away;
            self.is_second_token = false;
            self.reason.clear();
        }
    }

    /// The connection is gone. What was sent and not answered stays unsaved: the next connection will send what the server lacks.
    pub(super) fn lost(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        if self.stage != Stage::Denied {
            self.stage = Stage::Away;
            self.reason = reason.to_owned();
        }
        self.has_told = false;
        self.is_synced = false;
        self.has_asked = false;
        self.is_second_token = false;
        self.in_flight.clear();
        self.left(effects);
    }

    /// Nobody is known to be here.
    fn left(&mut self, effects: &mut Vec<Effect>) {
        let told = self.presence.forget();
        if !told.is_empty() {
            effects.push(Effect::Presence { document: self.id, told });
        }
    }

    pub(super) fn tell_state(&mut self, connection: &Connection, effects: &mut Vec<Effect>) {
        let state = match (self.stage, connection) {
            (Stage::Denied, _) => State::Denied,
            (Stage::Open, Connection::Open { .. }) if self.is_synced && self.unsaved == 0 => State::Saved,
            (Stage::Open, Connection::Open { .. }) if self.is_synced => State::Synced,
            (_, Connection::Off | Connection::Waiting { .. }) => State::Offline,
            _ => State::Connecting,
        };
        if state != self.state {
            self.state = state;
            let keeps_reason = matches!(state, State::Offline | State::Denied);
            let reason = if keeps_reason { self.reason.clone() } else { String::new() };
            effects.push(Effect::State { document: self.id, state, reason });
        }
    }

    fn tell_unsaved(&mut self, effects: &mut Vec<Effect>) {
        if self.unsaved != self.told_unsaved {
            self.told_unsaved = self.unsaved;
            effects.push(Effect::Unsaved { document: self.id, count: self.unsaved });
        }
    }

    /// Sends local changes, if the server has all that came before them.
    pub(super) fn edited(&mut self, effects: &mut Vec<Effect>) {
        let updates = self.document.take_updates();
        if !updates.is_empty() {
            self.changed_here(updates.into_iter().map(Bytes::from).collect(), effects);
        }
    }

    /// Changes of an earlier day are in the document, of which nobody knows whether the server has them.
    pub(super) fn restored(&mut self, effects: &mut Vec<Effect>) {
        self.unsaved += 1;
        self.tell_unsaved(effects);
        if self.has_told {
            // The server says what it has before it answers, and is sent the rest.
            self.ask(effects);
        }
    }

    /// Sends changes that did not come from the server.
    pub(super) fn changed_here(&mut self, updates: Vec<Bytes>, effects: &mut Vec<Effect>) {
        self.unsaved += updates.len() as u64;
        for update in updates {
            if self.has_told {
                self.send(&protocol::update(&update), effects);
                self.in_flight.push_back(1);
            }
            effects.push(Effect::Edited { document: self.id, update });
        }
        self.tell_unsaved(effects);
    }

    pub(super) fn announce(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Open {
            let update = self.presence.announce(now);
            self.send(&protocol::awareness(&update), effects);
        }
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        if self.stage == Stage::Open { self.presence.next_wake() } else { None }
    }

    pub(super) fn tick(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if self.stage != Stage::Open {
            return;
        }
        if self.presence.is_due(now) {
            self.announce(now, effects);
        }
        let told = self.presence.expire(now);
        if !told.is_empty() {
            effects.push(Effect::Presence { document: self.id, told });
        }
    }

    pub(super) fn heard(&mut self, now: u64, said: Said, effects: &mut Vec<Effect>) {
        match said {
            Said::Granted { may_write } => self.granted(now, may_write, effects),
            Said::Denied(reason) => self.denied(reason, effects),
            Said::TokenWanted => effects.push(Effect::WantToken { document: self.id, because: None }),
            Said::Closed(reason) => {
                if self.stage.is_known_to_server() {
                    self.deny(reason);
                    self.left(effects);
                }
            }
            Said::Status { taken } => self.answered(taken, effects),
            Said::Stateless(payload) => {
                let payload = String::from_utf8_lossy(&payload).into_owned();
                effects.push(Effect::Stateless { document: self.id, payload });
            }
            Said::Document(message) if self.stage == Stage::Open => self.document_said(now, message, effects),
            Said::Document(_) | Said::Unknown => {}
        }
    }

    fn granted(&mut self, now: u64, may_write: bool, effects: &mut Vec<Effect>) {
        self.document.set_read_only(!may_write);
        self.is_second_token = false;
        if self.stage != Stage::Asked {
            return;
        }
        self.stage = Stage::Open;
        self.reason.clear();
        if !self.is_early {
            self.ask(effects);
        }
        if self.presence.own().is_some() {
            self.announce(now, effects);
        }
    }

    /// A token may have ended while it waited, so one refusal leads to another token, the second is the answer.
    fn denied(&mut self, reason: String, effects: &mut Vec<Effect>) {
        if !self.stage.is_known_to_server() {
            return;
        }
        let is_final = self.is_second_token;
        self.deny(reason.clone());
        self.left(effects);
        if !is_final {
            self.is_second_token = true;
            self.stage = Stage::Token;
            effects.push(Effect::WantToken { document: self.id, because: Some(reason) });
        }
    }

    fn document_said(&mut self, now: u64, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::SyncStep1(state_vector) => self.tell(&state_vector, effects),
            Message::SyncStep2(update) => {
                self.has_asked = false;
                if self.take(update, effects) {
                    self.is_synced = true;
                }
            }
            Message::Update(update) => {
                self.take(update, effects);
            }
            Message::Awareness(bytes) => {
                // One that cannot be read says nothing, and nothing depends on it.
                let told = awareness::decode(&bytes).map(|entries| self.presence.heard(now, entries));
                if let Ok(told) = told
                    && !told.is_empty()
                {
                    effects.push(Effect::Presence { document: self.id, told });
                }
            }
            Message::QueryAwareness => {
                if self.presence.own().is_some() {
                    self.announce(now, effects);
                }
            }
            Message::SaveStatus(_) => {}
        }
    }

    /// Asks for what is missing here.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        self.send(&protocol::sync_step_1(&self.document.state_vector()), effects);
        self.has_asked = true;
    }

    /// Sends what the server lacks. It makes every change durable that is not on its way already.
    fn tell(&mut self, state_vector: &[u8], effects: &mut Vec<Effect>) {
        let Ok(lacks) = self.document.diff(state_vector) else {
            self.give_up("the server asked for something that is no state", effects);
            return;
        };
        let covered = self.unsaved - self.in_flight.iter().sum::<u64>();
        let mut parts = match update::split(&lacks, PART_BYTES) {
            Ok(parts) => parts,
            Err(_) => vec![lacks],
        };
        let last = parts.pop().unwrap_or_else(|| vec![0, 0]);
        for part in parts {
            self.send(&protocol::update(&part), effects);
            self.in_flight.push_back(0);
        }
        self.send(&protocol::sync_step_2(&last), effects);
        self.in_flight.push_back(covered);
        self.has_told = true;
    }

    /// The server answered the oldest message that it has not answered.
    fn answered(&mut self, taken: bool, effects: &mut Vec<Effect>) {
        let Some(covered) = self.in_flight.pop_front() else { return };
        if taken {
            self.unsaved -= covered;
            self.tell_unsaved(effects);
        } else {
            effects.push(Effect::Refused { document: self.id });
        }
    }

    /// Applies an update of the server. False if it could not be.
    fn take(&mut self, update: Bytes, effects: &mut Vec<Effect>) -> bool {
        match self.document.apply(&update) {
            Ok(Applied::Changed) => {
                effects.push(Effect::Received { document: self.id, update });
                effects.push(Effect::Changed { document: self.id });
                true
            }
            Ok(Applied::Nothing) => true,
            Ok(Applied::Missing) => {
                if !self.has_asked {
                    self.ask(effects);
                }
                false
            }
            Err(error) => {
                self.give_up(&format!("the server sent a change that this client cannot take: {error}"), effects);
                false
            }
        }
    }

    fn give_up(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        self.send(&client::leave(), effects);
        self.deny(reason.to_owned());
        self.left(effects);
    }
}
