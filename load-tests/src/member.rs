//! One client of a document: connects, synchronises, sends what was prepared, and takes note of what arrives and when.
//!
//! Everything runs on one thread. A member keeps no document: that every keystroke arrived is known from clocks, and that the server's
//! document is right is checked by a fresh client with yrs (`verify.rs`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, ready};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Nanos};
use crate::frames::{self, FrameReader, Message};
use crate::room::Room;
use crate::seen::Seen;
use crate::tally::Tally;
use crate::updates::{self, Reader};
use crate::wire::{AckBy, Dialect, Event};

/// What is looked into unless a plan says otherwise: a document's state may be larger, but then only its arrival counts.
const LONGEST: usize = 1 << 20;

/// What of a message is thrown away in the kernel, without copying it: from this size on.
const DISCARD: u64 = 64 << 10;

/// Most that one system call throws away.
const DISCARD_AT_ONCE: usize = 8 << 20;

/// Longest head of an HTTP response.
const MAX_HEAD: usize = 16 << 10;

/// The buffer that all sockets are read into, one after the other.
pub type ReadBuffer = Rc<RefCell<Box<[u8]>>>;

/// A buffer of the size at which one read of a busy socket takes everything.
pub fn read_buffer() -> ReadBuffer {
    Rc::new(RefCell::new(vec![0; 128 << 10].into_boxed_slice()))
}

/// Where a server listens and how it is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub dialect: Dialect,
}

/// Who a member is.
pub struct Plan {
    pub room: Rc<Room>,
    pub tally: Rc<Tally>,
    /// Number among the room's writers.
    pub writer: Option<usize>,
    /// Longest message that is looked into as a whole; of longer ones the beginning is read and the rest thrown away.
    pub longest: usize,
    /// Keeps what it receives in [`Member::received`].
    pub keeps: bool,
    /// Looks into presence.
    pub watches_presence: bool,
    /// Bytes that the kernel keeps for it; a slow reader has few.
    pub receive_buffer: Option<u32>,
}

impl Plan {
    pub fn reader(room: &Rc<Room>, tally: &Rc<Tally>) -> Self {
        Self {
            room: room.clone(),
            tally: tally.clone(),
            writer: None,
            longest: LONGEST,
            keeps: false,
            watches_presence: false,
            receive_buffer: None,
        }
    }

    pub fn writer(room: &Rc<Room>, tally: &Rc<Tally>, writer: usize) -> Self {
        Self { writer: Some(writer), ..Self::reader(room, tally) }
    }
}

pub struct Member {
    me: Weak<Self>,
    clock: Clock,
    dialect: Dialect,
    plan: Plan,
    socket: OwnedWriteHalf,
    /// What the socket did not take yet. A client's own queue: it grows while the server does not read, and that time counts.
    backlog: RefCell<Vec<u8>>,
    frames: RefCell<FrameReader>,
    seen: RefCell<Vec<Seen>>,
    presence_seen: RefCell<Vec<u32>>,
    /// Updates that wait for their acknowledgement, in order; none for what is not counted.
    unacknowledged: RefCell<VecDeque<Option<Nanos>>>,
    /// Keystrokes of this member that the server acknowledged.
    pub acknowledged: Cell<u32>,
    synced: Cell<bool>,
    /// Bytes of the first answer, in however many messages it came.
    pub state_bytes: Cell<u64>,
    closed: RefCell<Option<(u16, String)>>,
    changed: Notify,
    paused: Cell<bool>,
    /// Updates in the order they came, if the plan says so.
    pub received: RefCell<Vec<Vec<u8>>>,
    reading: Cell<Option<JoinHandle<()>>>,
}

impl Member {
    /// Connects and asks for the document; [`Member::synced`] waits for the answer.
    pub async fn connect(clock: Clock, buffer: &ReadBuffer, target: Target, plan: Plan) -> anyhow::Result<Rc<Self>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = plan.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut stream = socket.connect(target.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            target.dialect.path(&plan.room.document),
            target.address
        );
        stream.write_all(request.as_bytes()).await?;
        let (mut read, write) = stream.into_split();
        let early = read_head(&mut read, buffer).await?;
        let member = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            clock,
            dialect: target.dialect,
            socket: write,
            backlog: RefCell::default(),
            frames: RefCell::new(FrameReader::new(plan.longest)),
            seen: RefCell::default(),
            presence_seen: RefCell::default(),
            unacknowledged: RefCell::default(),
            acknowledged: Cell::new(0),
            synced: Cell::new(false),
            state_bytes: Cell::new(0),
            closed: RefCell::default(),
            changed: Notify::new(),
            paused: Cell::new(false),
            received: RefCell::default(),
            reading: Cell::new(None),
            plan,
        });
        for message in member.dialect.greeting(&member.plan.room.document, &[0]) {
            member.send(&frames::binary(&message));
        }
        member.take(&early);
        let reading = tokio::task::spawn_local(member.clone().read(read, buffer.clone()));
        member.reading.set(Some(reading));
        Ok(member)
    }

    /// Waits until the server sent what this member lacked.
    pub async fn synced(&self) -> anyhow::Result<()> {
        self.until(|| self.synced.get()).await
    }

    pub fn is_synced(&self) -> bool {
        self.synced.get()
    }

    /// Waits until so many of its keystrokes are acknowledged.
    pub async fn acknowledged(&self, count: u32) -> anyhow::Result<()> {
        self.until(|| self.acknowledged.get() >= count).await
    }

    async fn until(&self, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        while !condition() {
            if let Some((code, reason)) = &*self.closed.borrow() {
                bail!("the server closed the connection: {code} {reason}");
            }
            self.changed.notified().await;
        }
        Ok(())
    }

    /// Why the server ended the connection, if it did. 1006: without a word.
    pub fn closed(&self) -> Option<(u16, String)> {
        self.closed.borrow().clone()
    }

    /// Stops to read, like a client that hangs; or goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.set(paused);
        self.changed.notify_waiters();
    }

    /// Ends the connection without a word, as a network does.
    pub fn disconnect(&self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }

    /// Keystrokes of a writer that arrived here.
    pub fn has(&self, writer: usize) -> u64 {
        self.seen.borrow().get(writer).map_or(0, Seen::count)
    }

    /// Sends the next keystrokes of a writer; `planned` is when they were to leave.
    pub fn strike(&self, frames: &[u8], count: usize, planned: Nanos) {
        let writer = self.plan.writer.expect("only writers strike");
        let now = self.clock.now();
        for _ in 0..count {
            let counts_from = self.plan.room.note(writer, planned, now);
            self.unacknowledged.borrow_mut().push_back(Some(counts_from));
        }
        self.send(frames);
    }

    /// Sends an update of any kind, whose acknowledgement is counted.
    pub fn submit(&self, update: &[u8]) {
        let mut frame = frames::binary(&self.dialect.update(&self.plan.room.document, update));
        if self.dialect.ack_by() == AckBy::SaveStatus {
            frame.extend(frames::binary(&self.dialect.save_status(self.sent() + 1)));
        }
        self.unacknowledged.borrow_mut().push_back(Some(self.clock.now()));
        self.send(&frame);
    }

    /// Announces the next state of somebody's presence.
    pub fn announce(&self, number: usize, frame: &[u8], planned: Nanos) {
        self.plan.room.note_presence(number, planned, self.clock.now());
        self.send(frame);
    }

    /// Sends WebSocket frames.
    pub fn send(&self, bytes: &[u8]) {
        let mut backlog = self.backlog.borrow_mut();
        if !backlog.is_empty() {
            backlog.extend_from_slice(bytes);
            return;
        }
        let written = match self.socket.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.end(1006, "the connection broke".to_owned()),
        };
        if written < bytes.len() {
            backlog.extend_from_slice(&bytes[written..]);
            if let Some(me) = self.me.upgrade() {
                tokio::task::spawn_local(me.flush());
            }
        }
    }

    /// Bytes that wait for the server to read.
    pub fn waiting(&self) -> usize {
        self.backlog.borrow().len()
    }

    /// Updates whose acknowledgement came or is waited for.
    fn sent(&self) -> u64 {
        u64::from(self.acknowledged.get()) + self.unacknowledged() as u64
    }

    /// Updates that wait for their acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.borrow().len()
    }

    async fn flush(self: Rc<Self>) {
        loop {
            if self.socket.writable().await.is_err() {
                return self.end(1006, "the connection broke".to_owned());
            }
            let mut backlog = self.backlog.borrow_mut();
            match self.socket.try_write(&backlog) {
                Ok(written) => drop(backlog.drain(..written)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    backlog.clear();
                    drop(backlog);
                    return self.end(1006, "the connection broke".to_owned());
                }
            }
            if backlog.is_empty() {
                return;
            }
        }
    }

    async fn read(self: Rc<Self>, mut socket: OwnedReadHalf, buffer: ReadBuffer) {
        loop {
            while self.paused.get() {
                self.changed.notified().await;
            }
            if self.frames.borrow().rest_of_large() >= DISCARD {
                if !self.discard(&socket).await {
                    return self.end(1006, "the connection broke".to_owned());
                }
                continue;
            }
            let open = poll_fn(|cx| {
                let mut buffer = buffer.borrow_mut();
                let mut into = ReadBuf::new(&mut buffer);
                let read = ready!(Pin::new(&mut socket).poll_read(cx, &mut into));
                let open = read.is_ok() && !into.filled().is_empty();
                if open {
                    self.take(into.filled());
                }
                Poll::Ready(open)
            })
            .await;
            if !open {
                return self.end(1006, "the connection ended without a close".to_owned());
            }
        }
    }

    /// Lets the kernel throw away what of a large message has arrived: copying a storm's documents would cost the generator its core.
    /// False if the connection ended.
    async fn discard(&self, socket: &OwnedReadHalf) -> bool {
        let socket: &TcpStream = socket.as_ref();
        if socket.readable().await.is_err() {
            return false;
        }
        let mut frames = self.frames.borrow_mut();
        // The last byte is read as usual, so that the message is finished where all are.
        let most = usize::try_from(frames.rest_of_large() - 1).unwrap_or(usize::MAX).min(DISCARD_AT_ONCE);
        let thrown = socket.try_io(tokio::io::Interest::READABLE, || {
            // Zeroed memory that is never written costs no memory.
            let mut nowhere = vec![0; most];
            Ok(rustix::net::recv(socket, &mut nowhere[..], rustix::net::RecvFlags::TRUNC)?)
        });
        match thrown {
            Ok((_, 0)) => false,
            Ok((_, len)) => {
                frames.skip(len as u64);
                Tally::add(&self.plan.tally.bytes, len as u64);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    fn end(&self, code: u16, reason: String) {
        self.closed.borrow_mut().get_or_insert((code, reason));
        self.changed.notify_waiters();
    }

    fn take(&self, bytes: &[u8]) {
        let now = self.clock.now();
        Tally::add(&self.plan.tally.bytes, bytes.len() as u64);
        let fed = self.frames.borrow_mut().feed(bytes, |message| {
            let read = match message {
                Message::Binary(frame) => self.frame(now, frame, frame.len() as u64, true),
                Message::Large(head, len) => self.frame(now, head, len, false),
                Message::Ping(payload) => {
                    self.send(&frames::pong(payload));
                    Ok(())
                }
                Message::Close(code, reason) => {
                    self.end(code, reason);
                    Ok(())
                }
            };
            if let Err(error) = read {
                self.plan.tally.trouble(error.to_string());
            }
        });
        if let Err(error) = fed {
            self.plan.tally.trouble(error.to_string());
            self.end(1002, error.to_string());
        }
    }

    fn frame(&self, now: Nanos, frame: &[u8], len: u64, whole: bool) -> Result<(), updates::Malformed> {
        Tally::add(&self.plan.tally.frames, 1);
        let mut result = Ok(());
        self.dialect.read(frame, whole, |event| {
            if let Err(error) = self.event(now, event, len, whole) {
                result = Err(error);
            }
        })?;
        result
    }

    fn event(&self, now: Nanos, event: Event<'_>, len: u64, whole: bool) -> Result<(), updates::Malformed> {
        if !self.synced.get() && matches!(event, Event::Step2(_) | Event::Update(_)) {
            Tally::add(&self.state_bytes, len);
        }
        match event {
            Event::Step1(_) => {
                self.send(&frames::binary(&self.dialect.nothing(&self.plan.room.document)));
                if self.dialect.ack_by() == AckBy::SyncStatus {
                    self.unacknowledged.borrow_mut().push_back(None);
                }
                if self.synced.get() && self.acknowledged.get() > 0 {
                    self.plan.tally.trouble("the server asked again for what was sent");
                }
            }
            Event::Step2(update) => {
                if whole {
                    self.update(now, update, self.synced.get())?;
                }
                if !self.synced.replace(true) {
                    self.changed.notify_waiters();
                }
            }
            Event::Update(update) if whole => self.update(now, update, true)?,
            Event::Update(_) | Event::Authenticated | Event::Other => {}
            Event::Awareness(entries) => {
                if self.plan.watches_presence {
                    self.presence(now, entries)?;
                }
            }
            Event::Denied => {
                self.plan.tally.trouble("access refused");
                self.end(4403, "access refused".to_owned());
            }
            Event::SaveStatus(version) => {
                if self.dialect.ack_by() == AckBy::SaveStatus {
                    let before = u64::from(self.acknowledged.get());
                    for _ in before..version.min(self.sent()) {
                        self.acknowledge(now);
                    }
                }
            }
            Event::SyncStatus(true) => self.acknowledge(now),
            Event::SyncStatus(false) => self.plan.tally.trouble("an update was refused"),
        }
        Ok(())
    }

    fn acknowledge(&self, now: Nanos) {
        if let Some(Some(sent)) = self.unacknowledged.borrow_mut().pop_front() {
            self.acknowledged.set(self.acknowledged.get() + 1);
            let tally = &self.plan.tally;
            if sent >= tally.from.get() {
                Tally::add(&tally.acks, 1);
                tally.ack_latency.borrow_mut().record(now - sent);
            }
            self.changed.notify_waiters();
        }
    }

    fn update(&self, now: Nanos, update: &[u8], counts: bool) -> Result<(), updates::Malformed> {
        let Plan { room, tally, writer, keeps, .. } = &self.plan;
        let mut own = 0;
        let mut seen = self.seen.borrow_mut();
        updates::ranges(update, |client, start, end| {
            let Some((from, start, end)) = room.locate(client, start, end) else { return };
            if Some(from) == *writer {
                own += end - start;
                return;
            }
            if seen.len() <= from {
                seen.resize_with(from + 1, Seen::default);
            }
            let sent = room.sent(from);
            seen[from].arrived(start, end, |start, end| {
                if counts {
                    let mut latency = tally.latency.borrow_mut();
                    // An uploaded history has no moments of its own.
                    for sent in sent.get(start as usize..end as usize).unwrap_or_default() {
                        if *sent >= tally.from.get() {
                            Tally::add(&tally.delivered, 1);
                            latency.record(now.saturating_sub(*sent));
                        }
                    }
                }
            });
        })?;
        if own > 0 && counts && self.dialect.ack_by() == AckBy::Echo {
            for _ in 0..own {
                self.acknowledge(now);
            }
        }
        if *keeps {
            self.received.borrow_mut().push(update.to_vec());
        }
        Ok(())
    }

    fn presence(&self, now: Nanos, entries: &[u8]) -> Result<(), updates::Malformed> {
        let Plan { room, tally, .. } = &self.plan;
        let mut reader = Reader(entries);
        let mut seen = self.presence_seen.borrow_mut();
        for _ in 0..reader.var_uint()? {
            let (client, clock) = (reader.var_uint()?, reader.var_uint()? as u32);
            let state = reader.var_bytes()?;
            let Some(member) = room.presence_member(client) else { continue };
            if state == b"null" {
                continue;
            }
            if seen.len() <= member {
                seen.resize(member + 1, 0);
            }
            if clock <= seen[member] {
                continue;
            }
            seen[member] = clock;
            if let Some(sent) = room.presence_sent(member, clock).filter(|sent| *sent >= tally.from.get()) {
                Tally::add(&tally.states, 1);
                tally.state_age.borrow_mut().record(now.saturating_sub(sent));
            }
        }
        Ok(())
    }
}

/// Reads the answer to the upgrade, and returns what came behind it.
async fn read_head(socket: &mut OwnedReadHalf, buffer: &ReadBuffer) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let read = poll_fn(|cx| {
            let mut buffer = buffer.borrow_mut();
            let mut into = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut into));
            head.extend_from_slice(into.filled());
            Poll::Ready(read.map(|()| into.filled().len()))
        });
        ensure!(read.await.context("reading the answer to the upgrade")? > 0, "the server hung up during the upgrade");
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let status = String::from_utf8_lossy(&head[..head.len().min(40)]).into_owned();
            ensure!(
                head.starts_with(b"HTTP/1.1 101"),
                "the upgrade was refused: {}",
                status.lines().next().unwrap_or("")
            );
            return Ok(head.split_off(end + 4));
        }
        ensure!(head.len() < MAX_HEAD, "the answer to the upgrade has no end");
    }
}
