//! The connection to a server and the documents on it, as a state machine: [`RoomClient`].
//!
//! One socket carries all documents, as Hocuspocus frames them; each is let in by a token of its own. The loop of whoever owns the
//! client is:
//!
//! 1. do something with it: [`RoomClient::open`] a document, edit one and say so ([`RoomClient::edited`]), or hand it what happened
//!    ([`RoomClient::handle`]);
//! 2. perform [`RoomClient::take_effects`], in order;
//! 3. come back with [`Input::Tick`] at [`RoomClient::next_wake`], or earlier.
//!
//! **Invariant:** `unsaved` of a document counts the local changes of which the server has not said that they are durable. It is never
//! lowered by a guess: not when something was sent, and not when a connection ends.
//!
//! **Invariant:** a document takes nothing that the gate has not let in; one that the server sends and the gate refuses ends the
//! document's connection, because what builds on it could never be taken either.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use buildspaces_crdt::protocol::hocuspocus;
use buildspaces_crdt::protocol::hocuspocus::client;
use bytes::Bytes;

use crate::Document;
use crate::backoff::Backoff;
use crate::presence::Told;
use entry::{Entry, Stage};

/// Most documents that wait to be let in at one time; the others queue. The server ends a socket on which more than 100 do.
const MAX_OPENING: usize = 64;

/// As [`MAX_OPENING`], for a client that shares its socket with others: `ts/tabs.ts` lets twelve share one.
const MAX_OPENING_SHARED: usize = 8;

/// What a client is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The first and the longest pause between attempts to connect.
    pub first_pause_ms: u64,
    pub longest_pause_ms: u64,
    /// An attempt to connect that takes longer is given up.
    pub connect_ms: u64,
    /// A connection on which nothing came for so long is given up. The server speaks every 10 s.
    pub silence_ms: u64,
    /// Anything that differs between clients.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { first_pause_ms: 500, longest_pause_ms: 30_000, connect_ms: 15_000, silence_ms: 30_000, seed: 1 }
    }
}

/// A document of this client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DocumentId(pub u32);

/// How a document stands with the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// An attempt is under way.
    Connecting,
    /// The document is the server's; some changes of ours are not durable yet.
    Synced,
    /// The document is the server's, and every change of ours is durable.
    Saved,
    /// There is no connection; the next attempt is planned, or nobody asked for one.
    Offline,
    /// The server does not let us in. Nothing is tried until [`RoomClient::retry`].
    Denied,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The socket that [`Effect::Connect`] asked for is open.
    Opened,
    /// A binary message came.
    Frame(Bytes),
    /// The socket is closed, or could not be opened.
    Closed { code: u16, reason: String },
    /// The answer to [`Effect::WantToken`]. Empty for none.
    Token { document: DocumentId, token: String },
    /// There is no token: the document is denied, with this reason.
    NoToken { document: DocumentId, reason: String },
    /// The network is back: the next attempt need not wait.
    Online,
    /// It is later.
    Tick,
}

/// What is to be done outside, or to be known.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Open a socket. Whatever comes of an earlier one is of no interest any more.
    Connect,
    Send(Bytes),
    /// Close the socket. What still comes of it is of no interest.
    Disconnect,
    /// Get a token. `because` is why the last one was refused.
    WantToken {
        document: DocumentId,
        because: Option<String>,
    },
    State {
        document: DocumentId,
        state: State,
        reason: String,
    },
    /// How many changes are not durable.
    Unsaved {
        document: DocumentId,
        count: u64,
    },
    /// The document may have changes to take: [`Document::take_changes`].
    Changed {
        document: DocumentId,
    },
    /// An update came and is in the document: for a store on this machine. The sender is another client, or the server.
    Received {
        document: DocumentId,
        update: Bytes,
    },
    /// Local changes are in the document: for a store on this machine.
    Edited {
        document: DocumentId,
        update: Bytes,
    },
    Presence {
        document: DocumentId,
        told: Told,
    },
    Stateless {
        document: DocumentId,
        payload: String,
    },
    /// The server refused a change: it is in this document only.
    Refused {
        document: DocumentId,
    },
}

#[derive(Debug)]
enum Connection {
    /// Nobody asked for one, or there is no document.
    Off,
    Waiting {
        until: u64,
    },
    Connecting {
        since: u64,
    },
    Open {
        heard: u64,
    },
}

/// A client with its documents.
pub struct RoomClient {
    config: Config,
    backoff: Backoff,
    connection: Connection,
    is_wanted: bool,
    documents: BTreeMap<DocumentId, Entry>,
    addresses: HashMap<Bytes, DocumentId>,
    next: u32,
    effects: Vec<Effect>,
    session: Option<String>,
}

impl RoomClient {
    /// A client that does not connect before [`RoomClient::connect`].
    pub fn new(config: Config) -> Self {
        let backoff = Backoff::new(config.first_pause_ms, config.longest_pause_ms, config.seed);
        Self {
            config,
            backoff,
            connection: Connection::Off,
            is_wanted: false,
            documents: BTreeMap::new(),
            addresses: HashMap::new(),
            next: 0,
            effects: Vec::new(),
            session: None,
        }
    }

    /// What is to be done since the last call, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Connects now and whenever the connection is lost, until [`RoomClient::disconnect`].
    pub fn connect(&mut self, now: u64) {
        self.is_wanted = true;
        if matches!(self.connection, Connection::Off) {
            self.attempt(now);
        }
        self.tell_states();
    }

    /// Ends the connection and stays away.
    pub fn disconnect(&mut self) {
        self.is_wanted = false;
        self.drop_connection();
        self.connection = Connection::Off;
        self.tell_states();
    }

    /// Opens a document, or returns the one of this name that is open.
    pub fn open(&mut self, now: u64, name: &str) -> DocumentId {
        self.open_with(now, name, Document::new)
    }

    /// The same; `make` makes the document, which is empty, if none of this name is open.
    pub fn open_with(&mut self, now: u64, name: &str, make: impl FnOnce() -> Document) -> DocumentId {
        if let Some((id, _)) = self.documents.iter().find(|(_, entry)| entry.name == name) {
            return *id;
        }
        let address = self.address(name);
        let id = DocumentId(self.next);
        self.next += 1;
        self.addresses.insert(address.clone(), id);
        self.documents.insert(id, Entry::new(id, name.to_owned(), address, make()));
        if self.is_wanted {
            match self.connection {
                Connection::Off => self.attempt(now),
                Connection::Open { .. } => self.admit_next(),
                Connection::Waiting { .. } | Connection::Connecting { .. } => {}
            }
        }
        self.tell_states();
        id
    }

    /// Closes a document. What is not saved is lost to the server; a store on this machine has it.
    pub fn close(&mut self, id: DocumentId) {
        let Some(entry) = self.documents.remove(&id) else { return };
        self.addresses.remove(&entry.address);
        if entry.stage.is_known_to_server() && self.is_connected() {
            self.effects.push(Effect::Send(entry.frame(&client::leave())));
        }
        if self.documents.is_empty() && !matches!(self.connection, Connection::Off) {
            self.drop_connection();
            self.connection = Connection::Off;
        }
        self.admit_next();
    }

    /// The socket that is about to open is shared with other clients: `session` tells this one apart, in each address. It must be another one
    /// for each socket, so that what a server still says to an earlier one finds nobody. `None`: the socket is this client's alone.
    pub fn set_session(&mut self, session: Option<String>) {
        self.session = session;
        self.addresses.clear();
        let addresses: Vec<_> = self.documents.values().map(|entry| self.address(&entry.name)).collect();
        for ((id, entry), address) in self.documents.iter_mut().zip(addresses) {
            self.addresses.insert(address.clone(), *id);
            entry.address = address;
        }
    }

    fn address(&self, name: &str) -> Bytes {
        match &self.session {
            Some(session) => hocuspocus::address(&format!("{name}\0{session}")),
            None => hocuspocus::address(name),
        }
    }

    /// What an open document is called.
    pub fn name(&self, id: DocumentId) -> Option<&str> {
        self.documents.get(&id).map(|entry| entry.name.as_str())
    }

    pub fn document(&self, id: DocumentId) -> Option<&Document> {
        self.documents.get(&id).map(|entry| &entry.document)
    }

    /// To read it, and to edit it, which is to be followed by [`RoomClient::edited`].
    pub fn document_mut(&mut self, id: DocumentId) -> Option<&mut Document> {
        self.documents.get_mut(&id).map(|entry| &mut entry.document)
    }

    /// Sends what was changed in a document.
    pub fn edited(&mut self, id: DocumentId) {
        let Some(entry) = self.documents.get_mut(&id) else { return };
        entry.edited(&mut self.effects);
        entry.tell_state(&self.connection, &mut self.effects);
    }

    /// An update that came some other way is in a document now: the server is to have it too.
    pub fn imported(&mut self, id: DocumentId, update: Bytes) {
        let Some(entry) = self.documents.get_mut(&id) else { return };
        entry.changed_here(vec![update], &mut self.effects);
        self.effects.push(Effect::Changed { document: id });
        entry.tell_state(&self.connection, &mut self.effects);
    }

    /// A store on this machine had changes of which nobody knows whether the server has them: they count as one unsaved change.
    pub fn restored(&mut self, id: DocumentId) {
        let Some(entry) = self.documents.get_mut(&id) else { return };
        entry.restored(&mut self.effects);
        entry.tell_state(&self.connection, &mut self.effects);
    }

    pub fn state(&self, id: DocumentId) -> Option<State> {
        self.documents.get(&id).map(|entry| entry.state)
    }

    /// How many local changes are not durable yet.
    pub fn unsaved(&self, id: DocumentId) -> u64 {
        self.documents.get(&id).map_or(0, |entry| entry.unsaved)
    }

    /// Tries a denied document again.
    pub fn retry(&mut self, id: DocumentId) {
        if let Some(entry) = self.documents.get_mut(&id) {
            entry.retry();
        }
        self.admit_next();
        self.tell_states();
    }

    /// Sends a new token for a document that is open, or will be.
    pub fn renew_token(&mut self, id: DocumentId) {
        let is_open = matches!(self.connection, Connection::Open { .. });
        if let Some(entry) = self.documents.get(&id)
            && is_open
            && entry.stage == Stage::Open
        {
            self.effects.push(Effect::WantToken { document: id, because: None });
        }
    }

    /// Says something of oneself to all who have the document open: JSON, or `None` to be seen no more.
    pub fn set_presence(&mut self, now: u64, id: DocumentId, state: Option<String>) {
        let Some(entry) = self.documents.get_mut(&id) else { return };
        entry.presence.set(state);
        entry.announce(now, &mut self.effects);
    }

    /// The own state, if any, and those of the others.
    pub fn presence(&self, id: DocumentId) -> Option<(Option<&str>, impl Iterator<Item = (u64, &str)>)> {
        self.documents.get(&id).map(|entry| (entry.presence.own(), entry.presence.others()))
    }

    /// Sends an application's own message to all others in the document. False if there is no connection: it is not kept.
    pub fn send_stateless(&mut self, id: DocumentId, payload: &str) -> bool {
        match self.documents.get(&id) {
            Some(entry) if entry.stage == Stage::Open => {
                self.effects.push(Effect::Send(entry.frame(&client::stateless(payload))));
                true
            }
            _ => false,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: u64, input: Input) {
        match input {
            Input::Opened => {
                if matches!(self.connection, Connection::Connecting { .. }) {
                    self.connection = Connection::Open { heard: now };
                    self.admit_next();
                }
            }
            Input::Frame(frame) => self.received(now, &frame),
            Input::Closed { code, reason } => {
                if matches!(self.connection, Connection::Connecting { .. } | Connection::Open { .. }) {
                    self.lost(now, &closed(code, &reason));
                }
            }
            Input::Token { document, token } => self.token(document, &token),
            Input::NoToken { document, reason } => {
                if let Some(entry) = self.documents.get_mut(&document)
                    && entry.stage == Stage::Token
                {
                    entry.deny(reason);
                }
                self.admit_next();
            }
            Input::Online => {
                if matches!(self.connection, Connection::Waiting { .. }) {
                    self.attempt(now);
                }
            }
            Input::Tick => self.tick(now),
        }
        self.tell_states();
    }

    /// When [`Input::Tick`] is wanted at the latest, in the same milliseconds as `now`.
    pub fn next_wake(&self) -> Option<u64> {
        match self.connection {
            Connection::Off => None,
            Connection::Waiting { until } => Some(until),
            Connection::Connecting { since } => Some(since + self.config.connect_ms),
            Connection::Open { heard } => {
                let silence = heard + self.config.silence_ms;
                self.documents.values().filter_map(|entry| entry.next_wake()).chain([silence]).min()
            }
        }
    }

    fn tick(&mut self, now: u64) {
        match self.connection {
            Connection::Waiting { until } if now >= until => self.attempt(now),
            Connection::Connecting { since } if now >= since + self.config.connect_ms => {
                self.effects.push(Effect::Disconnect);
                self.lost(now, "the server did not answer in time");
            }
            Connection::Open { heard } if now >= heard + self.config.silence_ms => {
                self.effects.push(Effect::Disconnect);
                self.lost(now, "nothing was heard of the server any more");
            }
            Connection::Open { .. } => {
                for entry in self.documents.values_mut() {
                    entry.tick(now, &mut self.effects);
                }
            }
            _ => {}
        }
    }

    fn attempt(&mut self, now: u64) {
        if self.documents.is_empty() {
            self.connection = Connection::Off;
            return;
        }
        self.connection = Connection::Connecting { since: now };
        self.effects.push(Effect::Connect);
    }

    /// Lets documents ask to be let in, as many as may wait at one time.
    fn admit_next(&mut self) {
        if !self.is_connected() {
            return;
        }
        let waiting = self.documents.values().filter(|entry| entry.stage.is_opening()).count();
        let next = self.documents.values_mut().filter(|entry| entry.stage == Stage::Away);
        let most = if self.session.is_some() { MAX_OPENING_SHARED } else { MAX_OPENING };
        for entry in next.take(most.saturating_sub(waiting)) {
            entry.ask_token(&mut self.effects);
        }
    }

    fn token(&mut self, id: DocumentId, token: &str) {
        if !self.is_connected() {
            return;
        }
        if let Some(entry) = self.documents.get_mut(&id) {
            entry.token(token, &mut self.effects);
        }
    }

    fn received(&mut self, now: u64, frame: &Bytes) {
        let Connection::Open { heard } = &mut self.connection else { return };
        *heard = now;
        let answer = match client::decode_answer(frame) {
            Ok(answer) => answer,
            Err(error) => {
                self.effects.push(Effect::Disconnect);
                self.lost(now, &format!("the server said something that is no message: {error}"));
                return;
            }
        };
        // A document that was closed meanwhile has no more to hear.
        let Some(id) = self.addresses.get(&answer.address) else { return };
        let entry = self.documents.get_mut(id).expect("an address is that of a document");
        let was_opening = entry.stage.is_opening();
        entry.heard(now, answer.kind, &mut self.effects);
        if was_opening && !entry.stage.is_opening() {
            if entry.stage == Stage::Open {
                self.backoff.succeeded();
            }
            self.admit_next();
        }
    }

    /// The connection is gone, by whatever cause.
    fn lost(&mut self, now: u64, reason: &str) {
        self.forget_connection(reason);
        self.connection = Connection::Waiting { until: now + self.backoff.failed() };
    }

    fn drop_connection(&mut self) {
        if matches!(self.connection, Connection::Connecting { .. } | Connection::Open { .. }) {
            self.effects.push(Effect::Disconnect);
            self.forget_connection("");
        }
    }

    fn forget_connection(&mut self, reason: &str) {
        for entry in self.documents.values_mut() {
            entry.lost(reason, &mut self.effects);
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Open { .. })
    }

    fn tell_states(&mut self) {
        for entry in self.documents.values_mut() {
            entry.tell_state(&self.connection, &mut self.effects);
        }
    }
}

/// What is said of a close code to whoever asks why there is no connection.
fn closed(code: u16, reason: &str) -> String {
    match (code, reason) {
        (1006, "") => "the connection was lost, or there is no server".to_owned(),
        (code, "") => format!("the server closed the connection ({code})"),
        (code, reason) => format!("the server closed the connection: {reason} ({code})"),
    }
}
