//! One client with a document of its own, as the providers of Yjs are: it edits whether or not it is connected, comes back by itself, and then
//! both sides tell each other what they lack.
//!
//! It notes which of its updates were acknowledged, and whatever should not have happened.

use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use yrs::block::ClientID;
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Doc, GetString, Map, MapRef, OffsetKind, Options, ReadTxn, Snapshot, StateVector, Text, TextRef, Transact,
    TransactionMut, Update,
};

use super::presence::Presence;
use crate::frames::{self, FrameReader, Message};
use crate::updates::ROOT;
use crate::wire::{AckBy, Dialect, Event};

/// How long it waits before it comes in again.
const AGAIN: Duration = Duration::from_millis(20);

/// How long its goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// Longest head of an HTTP response.
const MAX_HEAD: usize = 16 << 10;

/// The map that keys are set in.
const MAP: &str = "map";

/// Close codes that a client may see although nobody did anything wrong: the connection broke, the server stops, the reader is slow.
const EXPECTED: [u16; 4] = [1005, 1006, 1012, 1013];

pub struct Editor {
    pub document: String,
    dialect: Dialect,
    address: SocketAddr,
    /// What is asked for behind the path: a token, where one is needed.
    query: String,
    /// Has presence of its own, and repeats what it hears of others.
    is_somebody: bool,
    doc: Doc,
    text: TextRef,
    map: MapRef,
    presence: RefCell<Presence>,
    link: RefCell<Link>,
    /// Updates that the server said are saved.
    acknowledged: RefCell<Vec<Vec<u8>>>,
    /// What should not have happened.
    trouble: RefCell<Vec<String>>,
    /// Something waits to be written.
    queued: Notify,
    task: Cell<Option<JoinHandle<()>>>,
}

/// What belongs to the present connection.
#[derive(Debug, Default)]
struct Link {
    is_open: bool,
    is_synced: bool,
    is_leaving: bool,
    out: Vec<u8>,
    /// What waits for its acknowledgement, in order, and the number of the last one.
    unacknowledged: VecDeque<Vec<u8>>,
    version: u64,
}

impl Editor {
    pub fn new(dialect: Dialect, document: &str, address: SocketAddr, client: u64) -> Rc<Self> {
        Self::with(dialect, document, address, client, "", true)
    }

    /// Only looks, and nobody sees it.
    pub fn looking(document: &str, address: SocketAddr, client: u64, token: &str) -> Rc<Self> {
        Self::with(Dialect::Buildspaces, document, address, client, token, false)
    }

    fn with(
        dialect: Dialect,
        document: &str,
        address: SocketAddr,
        client: u64,
        token: &str,
        is_somebody: bool,
    ) -> Rc<Self> {
        let doc = Doc::with_options(Options {
            client_id: ClientID::new(client),
            offset_kind: OffsetKind::Utf16,
            ..Options::default()
        });
        Rc::new(Self {
            document: document.to_owned(),
            dialect,
            address,
            query: if token.is_empty() { String::new() } else { format!("?token={token}") },
            is_somebody,
            text: doc.get_or_insert_text(ROOT),
            map: doc.get_or_insert_map(MAP),
            doc,
            presence: RefCell::new(Presence::new(client)),
            link: RefCell::default(),
            acknowledged: RefCell::default(),
            trouble: RefCell::default(),
            queued: Notify::new(),
            task: Cell::new(None),
        })
    }

    /// Who it is, for people.
    pub fn name(&self) -> String {
        format!("client {} ({:?})", self.doc.client_id().get(), self.dialect)
    }

    /// Comes in, and comes back whenever the connection ends. Does nothing if it is here.
    pub fn connect(self: &Rc<Self>) {
        if self.is_somebody {
            self.presence.borrow_mut().begin();
        }
        let running = self.task.take().filter(|task| !task.is_finished());
        let me = self.clone();
        self.task.set(Some(running.unwrap_or_else(|| tokio::task::spawn_local(me.run()))));
    }

    /// Goes without a word.
    pub fn vanish(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.disconnected();
    }

    /// Says goodbye and goes.
    pub async fn leave(&self) {
        let Some(task) = self.task.take() else { return };
        let entries = self.presence.borrow_mut().leave();
        if let Some(entries) = entries {
            self.send(&self.dialect.awareness(&self.document, &entries));
        }
        self.link.borrow_mut().is_leaving = true;
        self.queued.notify_one();
        let abort = task.abort_handle();
        if tokio::time::timeout(GOODBYE, task).await.is_err() {
            abort.abort();
        }
        self.disconnected();
    }

    pub fn insert(&self, at: u32, text: &str) {
        self.edit(|txn| {
            let chars: Vec<char> = self.text.get_string(txn).chars().collect();
            self.text.insert(txn, units(&chars[..share(chars.len(), at)]), text);
        });
    }

    pub fn delete(&self, at: u32, count: u32) {
        self.edit(|txn| {
            let chars: Vec<char> = self.text.get_string(txn).chars().collect();
            let from = share(chars.len(), at);
            let to = (from + count as usize).min(chars.len());
            let (start, end) = (units(&chars[..from]), units(&chars[..to]));
            if end > start {
                self.text.remove_range(txn, start, end - start);
            }
        });
    }

    pub fn set(&self, key: &str, value: i64) {
        self.edit(|txn| {
            self.map.insert(txn, key, value as f64);
        });
    }

    pub fn announce(&self) {
        let entries = self.presence.borrow_mut().announce();
        self.send(&self.dialect.awareness(&self.document, &entries));
    }

    /// Repeats its presence, as clients do every 15 s.
    pub fn renew(&self) {
        let entries = self.presence.borrow_mut().renew();
        if let Some(entries) = entries {
            self.send(&self.dialect.awareness(&self.document, &entries));
        }
    }

    /// Here, with everything exchanged and acknowledged.
    pub fn is_settled(&self) -> bool {
        let link = self.link.borrow();
        link.is_synced && link.unacknowledged.is_empty() && link.out.is_empty()
    }

    pub fn is_synced(&self) -> bool {
        self.link.borrow().is_synced
    }

    /// Connected, or on its way.
    pub fn is_here(&self) -> bool {
        let task = self.task.take();
        let is_here = task.as_ref().is_some_and(|task| !task.is_finished());
        self.task.set(task);
        is_here
    }

    pub fn is_open(&self) -> bool {
        self.link.borrow().is_open
    }

    pub fn snapshot(&self) -> Snapshot {
        self.doc.transact().snapshot()
    }

    pub fn presence(&self) -> Ref<'_, Presence> {
        self.presence.borrow()
    }

    /// Its text, and the map as JSON.
    pub fn content(&self) -> (String, String) {
        let txn = self.doc.transact();
        let map: serde_json::Value = serde_json::to_value(self.map.to_json(&txn)).unwrap_or_default();
        (self.text.get_string(&txn), map.to_string())
    }

    /// A root map of the document as JSON.
    pub fn root(&self, name: &str) -> serde_json::Value {
        let map = self.doc.get_or_insert_map(name);
        let txn = self.doc.transact();
        serde_json::to_value(map.to_json(&txn)).unwrap_or_default()
    }

    /// All it has, as one update.
    pub fn state(&self) -> Vec<u8> {
        self.doc.transact().encode_diff_v1(&StateVector::default())
    }

    /// True if it has all that these updates bring and take away.
    pub fn has_all<'a>(&self, updates: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let copy = Doc::new();
        let apply = |update: &[u8]| {
            let update = Update::decode_v1(update).expect("an update that was read before");
            copy.transact_mut().apply_update(update).is_ok()
        };
        if !apply(&self.state()) {
            return false;
        }
        let before = copy.transact().snapshot();
        let applied = updates.into_iter().all(apply);
        let txn = copy.transact();
        applied && !txn.has_missing_updates() && is_same(&txn.snapshot(), &before)
    }

    /// The updates that the server said are saved.
    pub fn acknowledged(&self) -> Vec<Vec<u8>> {
        self.acknowledged.borrow().clone()
    }

    pub fn trouble(&self) -> Vec<String> {
        self.trouble.borrow().clone()
    }

    fn edit(&self, edit: impl FnOnce(&mut TransactionMut<'_>)) {
        let mut txn = self.doc.transact_mut();
        edit(&mut txn);
        if !txn.has_changes() {
            return;
        }
        let update = txn.encode_update_v1();
        drop(txn);
        if self.link.borrow().is_open {
            self.submit(&self.dialect.update(&self.document, &update), update);
        }
    }

    /// Sends what will be acknowledged.
    fn submit(&self, message: &[u8], update: Vec<u8>) {
        let version = {
            let mut link = self.link.borrow_mut();
            link.unacknowledged.push_back(update);
            link.version += 1;
            link.version
        };
        self.send(message);
        if self.dialect.ack_by() == AckBy::SaveStatus {
            self.send(&self.dialect.save_status(version));
        }
    }

    fn send(&self, message: &[u8]) {
        let mut link = self.link.borrow_mut();
        if link.is_open {
            link.out.extend(frames::binary(message));
            self.queued.notify_one();
        }
    }

    fn disconnected(&self) {
        *self.link.borrow_mut() = Link::default();
        self.presence.borrow_mut().disconnected();
    }

    fn note(&self, trouble: String) {
        self.trouble.borrow_mut().push(trouble);
    }

    async fn run(self: Rc<Self>) {
        loop {
            // A connection that cannot be made or breaks is what this is about.
            let _ = self.connection().await;
            let is_leaving = self.link.borrow().is_leaving;
            self.disconnected();
            if is_leaving {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn connection(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {}{} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.dialect.path(&self.document),
            self.query,
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let early = read_head(&mut stream).await?;
        self.link.borrow_mut().is_open = true;
        let state_vector = self.doc.transact().state_vector().encode_v1();
        for message in self.dialect.greeting(&self.document, &state_vector) {
            self.send(&message);
        }
        let entries = self.presence.borrow().greeting();
        if let Some(entries) = entries {
            self.send(&self.dialect.awareness(&self.document, &entries));
        }
        let (read, write) = stream.into_split();
        tokio::select! {
            ended = self.read(read, early) => ended,
            ended = self.write(write) => ended,
        }
    }

    async fn write(&self, mut socket: OwnedWriteHalf) -> anyhow::Result<()> {
        loop {
            let (out, is_leaving) = {
                let mut link = self.link.borrow_mut();
                (std::mem::take(&mut link.out), link.is_leaving)
            };
            if !out.is_empty() {
                socket.write_all(&out).await?;
            } else if is_leaving {
                socket.shutdown().await?;
                return Ok(());
            } else {
                self.queued.notified().await;
            }
        }
    }

    async fn read(&self, mut socket: OwnedReadHalf, early: Vec<u8>) -> anyhow::Result<()> {
        let mut frames = FrameReader::new(usize::MAX);
        let mut buffer = vec![0; 64 << 10];
        self.take(&mut frames, &early)?;
        loop {
            let read = socket.read(&mut buffer).await?;
            ensure!(read > 0, "the connection ended");
            self.take(&mut frames, &buffer[..read])?;
        }
    }

    fn take(&self, frames: &mut FrameReader, bytes: &[u8]) -> anyhow::Result<()> {
        let mut closed = None;
        let fed = frames.feed(bytes, |message| match message {
            Message::Binary(frame) | Message::Large(frame, _) => {
                if let Err(error) = self.dialect.read(frame, true, |event| self.hear(event)) {
                    self.note(format!("the server sent what cannot be read: {error}"));
                }
            }
            Message::Ping(payload) => {
                self.link.borrow_mut().out.extend(frames::pong(payload));
                self.queued.notify_one();
            }
            Message::Close(code, reason) => closed = Some((code, reason)),
        });
        fed.context("reading frames").inspect_err(|error| self.note(format!("{error:#}")))?;
        if let Some((code, reason)) = closed {
            if !EXPECTED.contains(&code) {
                self.note(format!("the server closed the connection with {code} {reason}"));
            }
            bail!("closed");
        }
        Ok(())
    }

    fn hear(&self, event: Event<'_>) {
        match event {
            Event::Step1(state_vector) => match StateVector::decode_v1(state_vector) {
                Ok(state_vector) => {
                    let lacking = self.doc.transact().encode_diff_v1(&state_vector);
                    self.submit(&self.dialect.step2(&self.document, &lacking), lacking);
                }
                Err(error) => self.note(format!("the server sent no state vector: {error}")),
            },
            Event::Step2(update) => {
                self.link.borrow_mut().is_synced = true;
                self.apply(update);
            }
            Event::Update(update) => self.apply(update),
            Event::Awareness(entries) => {
                let heard = self.presence.borrow_mut().hear(entries);
                match heard {
                    Ok(Some(repeated)) if self.is_somebody => {
                        self.send(&self.dialect.awareness(&self.document, &repeated))
                    }
                    Ok(_) => {}
                    Err(error) => self.note(format!("the server sent no awareness: {error}")),
                }
            }
            Event::SaveStatus(version) => {
                let newer = self.link.borrow().version.checked_sub(version);
                self.acknowledge(|waiting| newer.map_or(0, |newer| waiting.saturating_sub(newer as usize)));
            }
            Event::SyncStatus(true) => self.acknowledge(|_| 1),
            Event::SyncStatus(false) => self.note("the server refused an update".to_owned()),
            Event::Denied => self.note("the server refused access".to_owned()),
            Event::Authenticated | Event::Other => {}
        }
    }

    /// So many of the updates that wait are saved.
    fn acknowledge(&self, count: impl FnOnce(usize) -> usize) {
        let waiting = &mut self.link.borrow_mut().unacknowledged;
        let count = count(waiting.len());
        if count == 0 || count > waiting.len() {
            return self.note("the server acknowledged what was not sent, or did so twice".to_owned());
        }
        self.acknowledged.borrow_mut().extend(waiting.drain(..count));
    }

    fn apply(&self, update: &[u8]) {
        let applied = Update::decode_v1(update)
            .map_err(|error| error.to_string())
            .and_then(|update| self.doc.transact_mut().apply_update(update).map_err(|error| error.to_string()));
        if let Err(error) = applied {
            self.note(format!("the server sent an update that does not apply: {error}"));
        }
        // Before the answer to what it lacks, what others do meanwhile may build on something it lacks.
        if self.is_synced() && self.doc.transact().has_missing_updates() {
            self.note("the server sent an update with a gap".to_owned());
        }
    }
}

/// Both have the same elements, and the same of them deleted.
pub fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    one.state_map == other.state_map
        && one.delete_set.diff(&other.delete_set).is_empty()
        && other.delete_set.diff(&one.delete_set).is_empty()
}

/// A share of a length, in thousandths.
fn share(len: usize, at: u32) -> usize {
    (len * at as usize / 1000).min(len)
}

/// How many UTF-16 units so many characters are.
fn units(chars: &[char]) -> u32 {
    chars.iter().map(|char| char.len_utf16() as u32).sum()
}

/// Reads the answer to the upgrade, and returns what came behind it.
async fn read_head(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        ensure!(stream.read_buf(&mut head).await? > 0, "the server hung up during the upgrade");
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            ensure!(head.starts_with(b"HTTP/1.1 101"), "the upgrade was refused");
            return Ok(head.split_off(end + 4));
        }
        ensure!(head.len() < MAX_HEAD, "the answer to the upgrade has no end");
    }
}
